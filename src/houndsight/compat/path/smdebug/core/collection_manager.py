"""All collections of a hook, or of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..exceptions import SMDebugTypeError
from .collection import DEFAULT_PYTORCH_COLLECTIONS, Collection

__all__ = ["CollectionManager"]


class CollectionManager:
    """Collections by name; those of PyTorch are there from the start."""

    def __init__(self, create_default: bool = True) -> None:
        self.collections: dict[str, Collection] = {}
        if create_default:
            for name, patterns in DEFAULT_PYTORCH_COLLECTIONS.items():
                self.collections[name] = Collection(name, patterns)

    def add(self, arg: Collection | str) -> None:
        """Add one."""
        if not isinstance(arg, Collection | str):
            raise SMDebugTypeError(f"{arg!r} must be a Collection or a name")
        collection = Collection(arg) if isinstance(arg, str) else arg
        self.collections[collection.name] = collection

    def get(self, name: str, create: bool = True) -> Collection:
        """The one of that name; made where there is none and `create`.

        Raises:
            KeyError: there is none.
        """
        if name not in self.collections:
            if not create:
                raise KeyError(f"Collection {name} does not exist")
            self.collections[name] = Collection(name)
        return self.collections[name]

    def get_collections(self) -> dict[str, Collection]:
        """All of them."""
        return self.collections

    def to_json_dict(self) -> dict[str, dict[str, Any]]:
        """Plain values, as the store keeps them."""
        return {name: c.to_json_dict() for name, c in self.collections.items()}

    @classmethod
    def from_json_dict(cls, record: Mapping[str, Mapping[str, Any]]) -> CollectionManager:
        """From those."""
        manager = cls()
        for name, plain in record.items():
            manager.add(Collection(name, plain.get("include_regex"), plain.get("tensor_names")))
        return manager
