"""A trial in S3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from houndsight.debugger.saved import Files

from ..exceptions import IndexReaderException
from .trial import Trial

__all__ = ["S3Files", "S3Trial", "s3_client"]

SAVED = "/saved/saved.json"
MISSING = ("NoSuchKey", "404", "NoSuchBucket")


def s3_client() -> Any:
    """boto3's client, by the environment's endpoint and key."""
    import boto3

    return boto3.client("s3")


class S3Files:
    """The files under a prefix of a bucket. Small ones that never change are read once."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self.client, self.bucket, self.prefix = client, bucket, prefix.rstrip("/")

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See `houndsight.debugger.saved.Files`."""
        from botocore.exceptions import ClientError

        options = {}
        if start or length is not None:
            last = "" if length is None else start + length - 1
            options["Range"] = f"bytes={start}-{last}"
        try:
            answer = self.client.get_object(
                Bucket=self.bucket, Key=f"{self.prefix}/{name}", **options
            )
            content: bytes = answer["Body"].read()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in MISSING:
                raise FileNotFoundError(f"s3://{self.bucket}/{self.prefix}/{name}") from error
            raise
        return content


class S3Trial(Trial):
    """A trial in S3: what a training job left under `…/debug-output`."""

    def __init__(self, name: str, bucket_name: str, prefix_name: str, **options: Any) -> None:
        self.bucket_name, self.prefix_name = bucket_name, prefix_name.rstrip("/")
        self._client = s3_client()
        super().__init__(name, path=f"s3://{bucket_name}/{self.prefix_name}", **options)

    def _find(self) -> Mapping[str, Files]:
        keys = [key for key in self._keys() if key.endswith(SAVED)]
        folders = [key.removesuffix("/saved.json") for key in sorted(keys)]
        return {folder: S3Files(self._client, self.bucket_name, folder) for folder in folders}

    def _has_end_marker(self) -> bool:
        return any(key.endswith("training_job_end.ts") for key in self._keys())

    def _keys(self) -> list[str]:
        from botocore.exceptions import ClientError

        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket_name, Prefix=f"{self.prefix_name}/" if self.prefix_name else ""
        )
        try:
            return [item["Key"] for page in pages for item in page.get("Contents", ())]
        except ClientError as error:
            raise IndexReaderException(f"{self.path} cannot be listed: {error}") from error
