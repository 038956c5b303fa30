"""Reads the columns of a CSV or Parquet label table as text."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from houndsight.data.listing import LAYOUT_HINT
from houndsight.errors import DataError

__all__ = ["Columns", "TableFormatError", "read_columns"]

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "photo"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "group_id"),
}
"""What the columns may be called, in lower case; the first that is there is taken."""

_MAX_HEADER_CHARACTERS = 1 << 20
_BLOCK_BYTES = 16 << 20
_EXAMPLES = 20


class TableFormatError(DataError):
    """A file is not a label table."""


@dataclass
class Columns:
    """`rows` has the string columns path, label, split and group; null where nothing stands."""

    rows: Any
    torn_rows: int = 0
    """Rows of a CSV whose number of fields differs from the header's."""
    torn_examples: list[str] = field(default_factory=list)


def read_columns(path: Path, group_column: str | None = None) -> Columns:
    """Read a label table.

    Args:
        path: a `.parquet` file, or text separated by comma, semicolon or tab, in UTF-8.
        group_column: the column of the groups, when a person named one.

    Raises:
        TableFormatError: it cannot be read, or lacks a column.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(path, group_column)
        return _read_csv(path, group_column)
    except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        hint = "" if path.suffix.lower() == ".parquet" else " It must be CSV in UTF-8."
        raise TableFormatError(f"{path} cannot be read as a label table: {error}.{hint}") from error
    except OSError as error:
        raise TableFormatError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_parquet(path: Path, group_column: str | None) -> Columns:
    file = pq.ParquetFile(path)
    chosen = _choose(path, file.schema_arrow.names, group_column)
    table = file.read(columns=list(chosen.values()))
    return Columns(_as_text(table, chosen))


def _read_csv(path: Path, group_column: str | None) -> Columns:
    _check_encoding(path)
    header, delimiter = _header(path)
    chosen = _choose(path, header, group_column)
    columns = Columns(None)

    def torn(row: pa_csv.InvalidRow) -> str:
        columns.torn_rows += 1
        if len(columns.torn_examples) < _EXAMPLES:
            columns.torn_examples.append(str(row.text)[:200])
        return "skip"

    table = pa_csv.read_csv(
        path,
        # One thread, as several would call `torn` at once and in any order.
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=torn
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(chosen.values()),
            column_types=dict.fromkeys(chosen.values(), pa.string()),
        ),
    )
    columns.rows = _as_text(table, chosen)
    return columns


def _check_encoding(path: Path) -> None:
    """Read the file once: pyarrow swallows an error in a row that is also torn.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            decoder.decode(block)
    decoder.decode(b"", final=True)


def _header(path: Path) -> tuple[list[str], str]:
    """The names in the first line and what separates them."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = file.readline(_MAX_HEADER_CHARACTERS)
    delimiter = max(",;\t", key=line.count)
    return next(csv.reader([line], delimiter=delimiter), []), delimiter


def _choose(path: Path, names: Sequence[str], group_column: str | None) -> dict[str, str]:
    """Which of the table's columns plays which part."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    chosen = {
        part: by_name[alias]
        for part, aliases in _ALIASES.items()
        for alias in reversed(aliases)
        if alias in by_name
    }
    if group_column is not None:
        if group_column not in names:
            raise DataError(
                f"data.group is column:{group_column}, but {path} has no such column; "
                f"it has {_shown(names)}."
            )
        chosen["group"] = group_column
    missing = [part for part in ("path", "label") if part not in chosen]
    if missing:
        raise TableFormatError(
            f"{path} has no column {' and no column '.join(missing)}; its first line has "
            f"{_shown(names)}. {LAYOUT_HINT}"
        )
    return chosen


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:12])
    return shown + (f" and {len(names) - 12:,} more" if len(names) > 12 else "") or "nothing"


def _as_text(table: Any, chosen: Mapping[str, str]) -> Any:
    """The chosen columns as trimmed strings, blank ones null."""
    columns = {}
    for part in _ALIASES:
        if part not in chosen:
            columns[part] = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
            continue
        text = pc.utf8_trim_whitespace(table[chosen[part]].cast(pa.string()))
        columns[part] = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    return pa.table(columns)
