"""Bringing a model and its handlers from S3 to `/opt/ml/model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from houndsight.errors import HoundsightError
from houndsight.jobs.container.archives import extract
from houndsight.jobs.container.clone import clone_file
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.endpoints.spec import ModelSpec
from houndsight.jobs.layout import VariantFolder
from houndsight.jobs.objects import split_uri

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["fetch_code", "fetch_model"]

INSIDE = "/opt/ml/model/code"


def fetch_model(model: ModelSpec, folder: VariantFolder, objects: ObjectStore) -> None:
    """Unpack the model's archive, or copy its loose objects, into `model/`.

    Raises:
        ContainerError: there is no such archive, or it is refused.
    """
    folder.model.mkdir(parents=True, exist_ok=True)
    if not model.data_uri:
        return
    if model.is_prefix:
        _copy_prefix(model.data_uri, folder.model, objects)
        return
    extract(_stored(model.data_uri, objects, "model data"), folder.model, name=model.data_uri)


def fetch_code(model: ModelSpec, folder: VariantFolder, objects: ObjectStore) -> None:
    """Unpack `SAGEMAKER_SUBMIT_DIRECTORY` into `model/code/` where it names an archive in S3.

    Raises:
        ContainerError: there is no such archive, it is refused, or it is a folder elsewhere.
    """
    named = model.environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "").removeprefix("file://")
    if named.startswith("s3://"):
        extract(_stored(named, objects, "source"), folder.code, name=named)
    elif named and named.rstrip("/") not in (INSIDE, "/opt/ml/code"):
        raise ContainerError(
            f"SAGEMAKER_SUBMIT_DIRECTORY is {named!r}; it must be {INSIDE} or the s3:// URI of a"
            " tar.gz."
        )


def _stored(uri: str, objects: ObjectStore, what: str) -> Path:
    try:
        bucket, key = split_uri(uri)
        objects.head(bucket, key)
        return objects.path(bucket, key)
    except HoundsightError as error:
        raise ContainerError(
            f'Failed to download {what} for container "primary" from URL: "{uri}". {error} Please'
            " ensure that there is an object located at the URL."
        ) from error


def _copy_prefix(uri: str, target: Path, objects: ObjectStore) -> None:
    try:
        bucket, prefix = split_uri(uri)
        found = list(objects.iterate(bucket, prefix))
    except HoundsightError as error:
        raise ContainerError(f"Failed to download model data from {uri}: {error}") from error
    if not found:
        raise ContainerError(f"Failed to download model data: there is no object below {uri}.")
    for info in found:
        relative = info.key[len(prefix) :].lstrip("/") or info.key.rpartition("/")[2]
        parts = relative.split("/")
        if relative.endswith("/"):
            continue
        if not relative or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise ContainerError(f"s3://{bucket}/{info.key} cannot be the name of a file; refused.")
        path = target.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            clone_file(objects.path(bucket, info.key), path)
        except OSError as error:
            raise ContainerError(
                f"s3://{bucket}/{info.key} cannot be copied: {error.strerror or error}."
            ) from error
