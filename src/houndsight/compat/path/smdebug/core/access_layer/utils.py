"""Whether a path is in S3."""

from __future__ import annotations

from ..utils import is_s3

__all__ = ["is_s3"]
