"""Bringing a job's source to `code/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from houndsight.errors import HoundsightError
from houndsight.jobs.container.archives import extract
from houndsight.jobs.container.channels.view import ChannelView
from houndsight.jobs.container.clone import clone_tree
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.host import Host
from houndsight.jobs.objects import split_uri

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["fetch_source"]

MAX_SOURCE_BYTES = 5_000_000_000
DATA = "/opt/ml/input/data/"


def fetch_source(
    hosts: list[Host], objects: ObjectStore, views: Mapping[tuple[str, str], ChannelView]
) -> None:
    """Unpack `sagemaker_submit_directory` into every host's `code/`; nothing if there is none.

    Raises:
        ContainerError: there is no such archive, or it is refused.
    """
    uri = hosts[0].submit_directory
    if not uri or hosts[0].spec.entrypoint:
        return
    if not uri.startswith("s3://"):
        for host in hosts:
            _copy_inside(host, uri, views)
        return
    first = hosts[0].folder.ml / "code"
    archive = _open_archive(uri, objects)
    extract(archive, first, name=uri, max_bytes=MAX_SOURCE_BYTES)
    for host in hosts[1:]:
        clone_tree(first, host.folder.ml / "code")


def _open_archive(uri: str, objects: ObjectStore) -> Path:
    try:
        bucket, key = split_uri(uri)
        objects.head(bucket, key)
        return objects.path(bucket, key)
    except HoundsightError as error:
        raise ContainerError(f"The source {uri} cannot be fetched: {error}") from error


def _copy_inside(host: Host, uri: str, views: Mapping[tuple[str, str], ChannelView]) -> None:
    """A folder or archive that a channel brings, such as `/opt/ml/input/data/code`."""
    folder, _, rest = uri.removeprefix(DATA).strip("/").partition("/")
    view = views.get((host.name, folder)) if uri.startswith(DATA) else None
    if view is None or ".." in rest.split("/") or not (view.source / rest).exists():
        raise ContainerError(
            f"sagemaker_submit_directory is {uri!r}; it must be the s3:// URI of a tar.gz, or a"
            " path that a channel brings."
        )
    source = view.source / rest
    if source.is_dir():
        clone_tree(source, host.folder.ml / "code")
    else:
        extract(source, host.folder.ml / "code", name=uri, max_bytes=MAX_SOURCE_BYTES)
