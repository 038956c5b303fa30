"""Collections, under PyTorch's name."""

from __future__ import annotations

from ..core.collection import DEFAULT_PYTORCH_COLLECTIONS, Collection, CollectionKeys
from ..core.collection_manager import CollectionManager

__all__ = ["DEFAULT_PYTORCH_COLLECTIONS", "Collection", "CollectionKeys", "CollectionManager"]
