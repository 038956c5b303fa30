"""Where the profiler's files lie: a folder, or S3."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from ..core.utils import is_s3

__all__ = ["LocalMetricsFiles", "MetricsFiles", "S3MetricsFiles"]


class MetricsFiles(Protocol):
    """Files under a prefix."""

    def names(self, under: str) -> Iterable[str]:
        """Their paths under a folder, from the root."""
        ...

    def read(self, name: str) -> bytes:
        """One of them."""
        ...


class LocalMetricsFiles:
    """Those in a folder."""

    def __init__(self, root: str) -> None:
        self.root = Path(root).expanduser()

    def names(self, under: str) -> Iterable[str]:
        """See `MetricsFiles`."""
        found = sorted((self.root / under).rglob("*.json"))
        return [path.relative_to(self.root).as_posix() for path in found]

    def read(self, name: str) -> bytes:
        """See `MetricsFiles`."""
        return (self.root / name).read_bytes()


class S3MetricsFiles:
    """Those under an S3 URI, through boto3 with the environment's endpoint.

    Raises:
        ValueError: it is no S3 URI.
    """

    def __init__(self, uri: str, client: Any = None) -> None:
        in_s3, bucket, prefix = is_s3(uri)
        if not in_s3:
            raise ValueError(f"{uri!r} is no S3 path, such as s3://bucket_name/trial_folder")
        self.bucket, self.prefix = str(bucket), str(prefix).rstrip("/")
        if client is None:
            import boto3

            client = boto3.client("s3")
        self.client = client

    def names(self, under: str) -> Iterable[str]:
        """See `MetricsFiles`."""
        base = f"{self.prefix}/" if self.prefix else ""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{base}{under}/"
        )
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sorted(key.removeprefix(base) for key in keys if key.endswith(".json"))

    def read(self, name: str) -> bytes:
        """See `MetricsFiles`."""
        key = f"{self.prefix}/{name}" if self.prefix else name
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content
