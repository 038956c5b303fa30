"""What the store tells about buckets, objects and uploads. Times are epoch seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "DEFAULT_CONTENT_TYPE",
    "BucketInfo",
    "Condition",
    "Listing",
    "ObjectInfo",
    "PartInfo",
    "Properties",
    "UploadInfo",
]

DEFAULT_CONTENT_TYPE = "binary/octet-stream"


@dataclass(frozen=True)
class BucketInfo:
    """A bucket."""

    name: str
    created: float
    region: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Properties:
    """What stands beside an object's bytes."""

    content_type: str = DEFAULT_CONTENT_TYPE
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The client's own, `x-amz-meta-` without that prefix; names in lower case."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Other headers that are given back: `cache-control`, `content-encoding` …, in lower case."""
    tags: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Base64 by algorithm: `crc32`, `crc32c`, `crc64nvme`, `sha1`, `sha256`."""
    checksum_type: str = "FULL_OBJECT"
    """Or `COMPOSITE`: of the parts' checksums."""
    part_sizes: tuple[int, ...] = ()
    """Of an object that came in parts, bytes."""

    def to_json(self) -> str:
        """As stored: what differs from the default."""
        default = Properties()
        row = {k: v for k, v in vars(self).items() if v != getattr(default, k)}
        return json.dumps(row) if row else ""

    @classmethod
    def from_json(cls, text: str) -> Properties:
        """What `to_json` made."""
        if not text:
            return cls()
        row: dict[str, Any] = json.loads(text)
        row["part_sizes"] = tuple(row.get("part_sizes", ()))
        return cls(**row)


@dataclass(frozen=True)
class ObjectInfo:
    """An object without its bytes. `etag` has no quotes."""

    bucket: str
    key: str
    size: int
    etag: str
    modified: float
    properties: Properties
    blob: str = ""
    """The name of the file that holds the bytes."""

    @property
    def content_type(self) -> str:
        """As sent."""
        return self.properties.content_type

    @property
    def metadata(self) -> Mapping[str, str]:
        """The client's own, without `x-amz-meta-`."""
        return self.properties.metadata

    @property
    def uri(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Condition:
    """What must hold of the object that a write replaces."""

    if_match: str | None = None
    """Its ETag, or `*`: there is one."""
    if_none_match: bool = False
    """There is none."""


@dataclass(frozen=True)
class Listing:
    """One page of a listing, in the order of the keys' UTF-8 bytes."""

    objects: Sequence[ObjectInfo]
    prefixes: Sequence[str]
    """What objects between prefix and delimiter have in common."""
    next: str | None
    """The last key or prefix of this page when there are more: `after` of the next one."""


@dataclass(frozen=True)
class UploadInfo:
    """A multipart upload that is not complete."""

    id: str
    bucket: str
    key: str
    created: float
    properties: Properties
    checksum: str = ""
    """The algorithm that the client announced."""
    blob: str = ""
    """The file that parts of one size are written into, each at its place."""
    part_size: int = 0
    """That size: the first part's; 0 before it came."""


@dataclass(frozen=True)
class PartInfo:
    """A part of an upload: `size` bytes of `blob` from `offset` on."""

    number: int
    size: int
    etag: str
    modified: float
    blob: str
    offset: int = 0
    checksums: Mapping[str, str] = field(default_factory=dict)
