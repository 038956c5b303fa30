"""Which objects a channel holds, and under which path the script finds each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from houndsight.errors import HoundsightError
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.objects import split_uri
from houndsight.jobs.spec import Channel

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["Item", "select", "shard"]

MAX_MANIFEST_BYTES = 64_000_000
MAX_NAME_BYTES = 255


@dataclass(frozen=True)
class Item:
    """One object of a channel and its path below the channel's folder."""

    bucket: str
    key: str
    path: str
    size: int
    etag: str


def select(channel: Channel, objects: ObjectStore) -> list[Item]:
    """The channel's objects, sorted by key.

    Raises:
        ContainerError: there are none, the channel's kind is not supported, or two of them or one
            by itself cannot be a file below a folder; the sentence names the channel and the key.
    """
    if channel.input_mode == "Pipe":
        raise ContainerError(
            f"Channel {channel.name} asks for Pipe mode, which Houndsight does not have: use"
            " input_mode='File' or 'FastFile'."
        )
    readers = {"S3Prefix": _prefix_items, "ManifestFile": _manifest_items}
    if channel.data_type not in readers:
        raise ContainerError(
            f"Channel {channel.name} is an {channel.data_type}, which SageMaker streams in Pipe"
            " mode and Houndsight does not read: give the photos' folder as S3Prefix, or a"
            " ManifestFile that lists them."
        )
    items = readers[channel.data_type](channel, objects)
    _check_paths(channel, items)
    return items


def shard(items: Sequence[Item], hosts: int, index: int) -> list[Item]:
    """The part of `ShardedByS3Key` that belongs to host `index` of `hosts`."""
    return list(items[index::hosts])


def _prefix_items(channel: Channel, objects: ObjectStore) -> list[Item]:
    bucket, prefix = split_uri(channel.s3_uri)
    try:
        found = sorted(objects.iterate(bucket, prefix), key=lambda info: info.key)
    except HoundsightError as error:
        raise _nothing(channel, f"{error}") from error
    items = []
    for info in found:
        path = _path_below(info.key, prefix)
        if path and not info.key.endswith("/"):
            items.append(Item(bucket, info.key, path, info.size, info.etag))
    if not items:
        raise _nothing(channel, _what_is_there(objects, bucket))
    return items


def _path_below(key: str, prefix: str) -> str:
    """What of `key` follows the folder that `prefix` names, or its own name.

    `a/b` holds `a/b/c.jpg` as `c.jpg`, itself as `b`, and `a/bc/d.jpg` as `bc/d.jpg`: a prefix
    need not end where a folder does.
    """
    if prefix.endswith("/") or not prefix:
        return key[len(prefix) :]
    if key.startswith(prefix + "/"):
        return key[len(prefix) + 1 :]
    return key[prefix.rfind("/") + 1 :]


def _manifest_items(channel: Channel, objects: ObjectStore) -> list[Item]:
    prefix, names = _read_manifest(channel, objects)
    bucket, folder = split_uri(prefix)
    items = []
    for name in names:
        key = folder + name
        try:
            info = objects.head(bucket, key)
        except HoundsightError as error:
            raise ContainerError(
                f"Channel {channel.name}: the manifest {channel.s3_uri} lists {name!r}, but there"
                f" is no s3://{bucket}/{key}."
            ) from error
        items.append(Item(bucket, key, name, info.size, info.etag))
    if not items:
        raise _nothing(channel, "the manifest lists no object")
    return sorted(items, key=lambda item: item.key)


def _read_manifest(channel: Channel, objects: ObjectStore) -> tuple[str, list[str]]:
    bucket, key = split_uri(channel.s3_uri)
    expected = 'a JSON list such as [{"prefix": "s3://bucket/folder/"}, "a.jpg", "b.jpg"]'
    try:
        if objects.head(bucket, key).size > MAX_MANIFEST_BYTES:
            raise ValueError("it is too large")
        with objects.open(bucket, key) as file:
            rows: Any = json.loads(file.read())
        prefix, names = rows[0]["prefix"], rows[1:]
        if not isinstance(prefix, str) or not all(isinstance(name, str) for name in names):
            raise TypeError("not all are names")
    except HoundsightError as error:
        raise _nothing(channel, str(error)) from error
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ContainerError(
            f"Channel {channel.name}: {channel.s3_uri} is no manifest ({error}); it must be"
            f" {expected}."
        ) from error
    return prefix, names


def _check_paths(channel: Channel, items: Iterable[Item]) -> None:
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for item in items:
        parts = item.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in item.path:
            raise _unusable(channel, item, "its parts cannot be names of files")
        if any(len(part.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES for part in parts):
            raise _unusable(channel, item, f"a part is longer than {MAX_NAME_BYTES} bytes")
        if item.path in files:
            raise _unusable(channel, item, f"{files[item.path]!r} would be the same file")
        files[item.path] = item.key
        for depth in range(1, len(parts)):
            folders.setdefault("/".join(parts[:depth]), item.key)
    for path, key in files.items():
        if path in folders:
            raise ContainerError(
                f"Channel {channel.name}: key {key!r} would be a file and, for"
                f" {folders[path]!r}, a folder. Move one of them to another prefix."
            )


def _unusable(channel: Channel, item: Item, why: str) -> ContainerError:
    return ContainerError(
        f"Channel {channel.name}: key {item.key[:300]!r} in bucket {item.bucket} cannot be a file"
        f" of the channel: {why}. Copy it to another key."
    )


def _nothing(channel: Channel, what_is: str) -> ContainerError:
    return ContainerError(
        f"ClientError: Data download failed: No S3 objects found under S3 URL"
        f' "{channel.s3_uri}" given for channel {channel.name}: {what_is.rstrip(".")}.'
    )


def _what_is_there(objects: ObjectStore, bucket: str) -> str:
    listing = objects.list(bucket, "", delimiter="/", limit=6)
    names = [*listing.prefixes, *(info.key for info in listing.objects)]
    if not names:
        return f"bucket {bucket} is empty"
    return f"bucket {bucket} holds {', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}"
