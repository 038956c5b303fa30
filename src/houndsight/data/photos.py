"""`photos.parquet`: the photos of a run as a file, and the fingerprint of the data."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from houndsight.data.listing import LAYOUT_HINT
from houndsight.data.names import ClassName
from houndsight.errors import DataError

__all__ = ["LAYOUT_HINT", "fingerprint", "read_photos", "write_photos"]

FORMAT_VERSION = 1
_META = b"houndsight"
_CHUNK = 65_536
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "path": pa.string(),
        "class_index": pa.int32(),
        "split": pa.string(),
        "group": pa.string(),
        "hash": pa.string(),
        "together": pa.int64(),
    }
)


def fingerprint(root: Path, table: Any, classes: tuple[ClassName, ...]) -> str:
    """BLAKE2b-128, in hex, over (path, hash or else size, class, split), ordered by path."""
    digest = hashlib.blake2b(digest_size=16)
    ordered = table.select(["path", "hash", "class_index", "split"]).sort_by("path")
    for batch in ordered.to_batches(max_chunksize=_CHUNK):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            path, content, label, split = row
            known = content if content is not None else _size(root / path)
            line = json.dumps([path, known, classes[label].original, split])
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def write_photos(
    path: Path, table: Any, classes: tuple[ClassName, ...], splits_given: bool
) -> None:
    """Write the table with its classes; a reader sees the old file or the new, never a part."""
    meta = {
        "v": FORMAT_VERSION,
        "splits_given": splits_given,
        "classes": [[c.name, c.original] for c in classes],
    }
    described = table.cast(SCHEMA).replace_schema_metadata({_META: json.dumps(meta)})
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        pq.write_table(described, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read_photos(path: Path) -> tuple[Any, tuple[ClassName, ...], bool]:
    """Table, classes and whether the splits were given.

    Raises:
        DataError: the file is missing, damaged or from a newer version.
    """
    try:
        table = pq.read_table(path)
        meta = json.loads((table.schema.metadata or {})[_META])
        version = int(meta["v"])
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there.") from error
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a table of photos that Houndsight wrote.") from error
    if version > FORMAT_VERSION:
        raise DataError(
            f"{path} has format {version}, newer than this version reads ({FORMAT_VERSION}); "
            "upgrade houndsight."
        )
    classes = tuple(ClassName(name, original) for name, original in meta["classes"])
    if "together" not in table.column_names:
        table = table.append_column("together", pa.nulls(len(table), pa.int64()))
    return table.replace_schema_metadata(None).cast(SCHEMA), classes, bool(meta["splits_given"])
