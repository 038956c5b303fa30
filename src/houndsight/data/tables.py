"""The photos that a label table names: a CSV or Parquet file of `path,label[,split][,group]`.

Paths are relative to the table. Rows that cannot be used are left out, counted and named.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from houndsight.data.grouping import GroupBy
from houndsight.data.listing import SPLIT_NAMES, SPLITS, LeftOut, Listing, sorted_listing
from houndsight.data.rows_left_out import rows_left_out
from houndsight.data.safe_names import inside_parts
from houndsight.data.table_files import TableFormatError, read_columns
from houndsight.errors import DataError

__all__ = ["TABLE_ENDINGS", "TableFormatError", "list_table"]

TABLE_ENDINGS = (".csv", ".tsv", ".parquet")

_CHUNK = 65_536
_EXAMPLES = 20
_THERE, _MISSING, _OUTSIDE = range(3)

Mask = npt.NDArray[np.bool_]


def list_table(path: Path, *, by: GroupBy | None = None, contained: bool = False) -> Listing:
    """The photos that a label table names.

    Args:
        path: the table; its folder is the root of the photos.
        by: with `column`, the column that holds the groups.
        contained: leave out paths that lead out of the table's folder. A person's own table may
            name photos anywhere; one that came from somewhere else may not.

    Raises:
        TableFormatError: the file is not such a table.
        DataError: no row can be used.
    """
    columns = read_columns(path, by.value if by and by.kind == "column" else None)
    rows = _Rows(columns.rows, path)
    rows.left_out["TornRows"].add_many(columns.torn_examples, columns.torn_rows)
    rows.drop(
        _mask(pc.is_null(rows.table["path"])) | _mask(pc.is_null(rows.table["label"])), "BlankRows"
    )
    _read_splits(rows)
    _locate(rows, path.parent, contained)
    _drop_repeated(rows)
    rows.require_any()
    return _listing(rows, path.parent)


class _Rows:
    """The rows of a table on their way to photos; each step leaves some out."""

    def __init__(self, table: Any, source: Path) -> None:
        self.table = table.append_column("split_code", pa.array(np.full(len(table), -1, np.int8)))
        self.source = source
        self.named = len(table)
        self.left_out: dict[str, LeftOut] = rows_left_out(source.name)

    def drop(self, mask: Mask, rule: str) -> None:
        """Leave out the rows where the mask holds."""
        if not mask.any():
            return
        examples = self.table["path"].take(pa.array(np.flatnonzero(mask)[:_EXAMPLES]))
        shown = [path or "a row without a path" for path in examples.to_pylist()]
        self.left_out[rule].add_many(shown, int(mask.sum()))
        self.table = self.table.filter(pa.array(~mask))

    def replace(self, name: str, values: Any) -> None:
        """Give a column other values."""
        self.table = self.table.set_column(self.table.schema.get_field_index(name), name, values)

    def require_any(self) -> None:
        """Stop when nothing is left, with the reason that took the most rows."""
        if len(self.table):
            return
        most = max(self.left_out.values(), key=lambda reason: reason.count)
        why = f" {most.findings()[0].title} First: {most.examples[0]}." if most.count else ""
        raise DataError(f"{self.source} names no photo that can be used: {self.named:,} rows.{why}")


def _read_splits(rows: _Rows) -> None:
    """Set the split codes, where the table has splits at all."""
    if rows.table["split"].null_count == len(rows.table):
        return
    encoded = pc.coalesce(rows.table["split"], "").combine_chunks().dictionary_encode()
    codes = [
        SPLITS.index(SPLIT_NAMES[name.lower()]) if name.lower() in SPLIT_NAMES else -1
        for name in encoded.dictionary.to_pylist()
    ]
    found = np.array(codes, np.int8)[encoded.indices.to_numpy()]
    rows.replace("split_code", pa.array(found))
    rows.drop(found < 0, "UnknownSplits")


def _locate(rows: _Rows, root: Path, contained: bool) -> None:
    """Make the paths relative to the root, with `/`, and leave out what is not there."""
    chunks, status = [pa.array([], pa.string())], [np.empty(0, np.int8)]
    for batch in rows.table.select(["path"]).to_batches(max_chunksize=_CHUNK):
        found = [_find(root, path, contained) for path in batch.column("path").to_pylist()]
        chunks.append(pa.array([path for path, _ in found], pa.string()))
        status.append(np.array([code for _, code in found], np.int8))
    codes = np.concatenate(status)
    rows.table = rows.table.append_column("found", pa.chunked_array(chunks))
    rows.drop(codes == _OUTSIDE, "PathsOutside")
    rows.drop(codes[codes != _OUTSIDE] == _MISSING, "MissingFiles")
    rows.replace("path", rows.table["found"])


def _find(root: Path, path: str, contained: bool) -> tuple[str, int]:
    """The path below the root, or as it stands, and whether a file is there."""
    parts = inside_parts(path)
    if contained and parts is None:
        return path, _OUTSIDE
    if parts is None:
        found = posixpath.relpath(posixpath.join(root, path), root)
        found = posixpath.join(root, path) if found.startswith("../") else found
    else:
        # A backslash may be part of a name on Linux, or a separator written on Windows.
        literal = "\\" in path and _is_file(root, posixpath.normpath(path))
        found = posixpath.normpath(path) if literal else "/".join(parts)
    return found, _THERE if found and _is_file(root, found) else _MISSING


def _is_file(root: Path, path: str) -> bool:
    try:
        return os.path.isfile(os.path.join(root, path))  # noqa: PTH113, PTH118 - a million times
    except ValueError:
        return False


def _drop_repeated(rows: _Rows) -> None:
    """Keep one row a photo; a photo with two labels is left out whole."""
    rows.replace("label", pc.utf8_normalize(rows.table["label"], form="NFC"))
    paths = _codes(rows.table["path"])
    if not len(paths) or paths.max() + 1 == len(paths):
        return
    labels = _codes(rows.table["label"])
    first_label = np.full(paths.max() + 1, -1, np.int64)
    first_label[paths[::-1]] = labels[::-1]
    contradicted = np.unique(paths[labels != first_label[paths]])
    torn = np.isin(paths, contradicted)
    rows.drop(torn, "ContradictoryLabels")
    paths, splits = paths[~torn], rows.table["split_code"].to_numpy()
    # Of a photo on several sides the row that tests it is kept.
    order = np.lexsort((-splits, paths))
    keep = np.zeros(len(paths), bool)
    keep[order[np.diff(paths[order], prepend=-1) > 0]] = True
    rows.drop(~keep, "RepeatedRows")


def _codes(column: Any) -> npt.NDArray[np.int64]:
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), np.int64)


def _mask(column: Any) -> Mask:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)


def _listing(rows: _Rows, root: Path) -> Listing:
    labels = rows.table["label"].combine_chunks().dictionary_encode()
    splits = rows.table["split_code"].to_numpy()
    if (splits >= 0).any() and not (splits == 0).any():
        raise DataError(
            f"{rows.source} has no usable row with the split train; its splits must be called "
            "train, valid and test."
        )
    groups = rows.table["group"].combine_chunks()
    return sorted_listing(
        Listing(
            root=root,
            paths=rows.table["path"].combine_chunks(),
            labels=labels.indices.to_numpy().astype(np.int32),
            originals=tuple(labels.dictionary.to_pylist()),
            splits=splits if (splits > 0).any() else None,
            groups=None if groups.null_count == len(groups) else groups,
            findings=tuple(f for reason in rows.left_out.values() for f in reason.findings()),
        )
    )
