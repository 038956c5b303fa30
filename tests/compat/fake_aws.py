# ruff: noqa: N803 (the names are boto3's)
"""boto3's clients over an object store of the test, without a wire."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from houndsight.jobs.objects import ObjectError, ObjectStore

__all__ = ["FakeAws"]


class FakeAws:
    """`boto3.client` for S3 and SageMaker."""

    def __init__(self, objects: ObjectStore, described: dict[str, Any] | None = None) -> None:
        self.objects, self.described = objects, described or {}
        self.got: list[str] = []

    def __call__(self, service: str, **options: Any) -> FakeAws:
        assert service in ("s3", "sagemaker")
        return self

    # -- s3 -----------------------------------------------------------------------------------

    def get_object(self, *, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:
        self.got.append(Key)
        try:
            with self.objects.open(Bucket, Key) as file:
                content = file.read()
        except ObjectError as error:
            raise ClientError({"Error": {"Code": error.code}}, "GetObject") from error
        if Range:
            first, _, last = Range.removeprefix("bytes=").partition("-")
            content = content[int(first) : int(last) + 1 if last else None]
        return {"Body": io.BytesIO(content)}

    def get_paginator(self, operation: str) -> FakeAws:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        try:
            found = [{"Key": info.key} for info in self.objects.iterate(Bucket, Prefix)]
        except ObjectError as error:
            raise ClientError({"Error": {"Code": error.code}}, "ListObjectsV2") from error
        for first in range(0, max(len(found), 1), 3):
            yield {"Contents": found[first : first + 3]} if found else {}

    # -- sagemaker ----------------------------------------------------------------------------

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        return {"TrainingJobName": TrainingJobName, **self.described}
