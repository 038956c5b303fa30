"""The finished file of a bulk prediction: Parquet, or CSV for who opens it in a spreadsheet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from houndsight.errors import SettingError
from houndsight.serving.journal import Journal
from houndsight.serving.photos import PhotoPaths

__all__ = ["check_ending", "errors_of_all", "parquet_metadata", "read_finished", "write_rows"]

PARQUET, CSV = (".parquet", ".pq"), (".csv",)
_META = b"houndsight"
_GROUP_BYTES = 64_000_000


def check_ending(out: Path) -> None:
    """Refuse a name that promises another kind of file than can be written.

    Raises:
        SettingError: it does not end in .parquet, .pq or .csv.
    """
    if out.suffix.lower() not in PARQUET + CSV:
        raise SettingError(
            f"{out} does not say what kind of file it is to be; predictions are written as "
            f"Parquet or CSV: name it {out.stem}.parquet or {out.stem}.csv."
        )


def parquet_metadata(facts: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The metadata of a Parquet file with these facts."""
    return {_META: json.dumps(facts, ensure_ascii=False).encode()}


def read_finished(out: Path, facts: Mapping[str, Any]) -> Iterator[pa.RecordBatch] | None:
    """The rows of `out` if it is a finished Parquet file with these facts, else None."""
    if not out.is_file() or out.suffix.lower() not in PARQUET:
        return None
    try:
        if (pq.read_schema(out).metadata or {}).get(_META) != parquet_metadata(facts)[_META]:
            return None
    except (OSError, pa.ArrowException):
        return None
    return _rows(out)


def errors_of_all(out: Path, photos: PhotoPaths) -> int:
    """How many rows of a finished `out` are errors, or -1 if it is not of exactly `photos`."""
    table = pq.read_table(out, columns=["path", "error"])
    names = photos.shown()
    same = len(names) == len(table) and pc.all(pc.is_in(names, table["path"])).as_py()
    return len(table) - table["error"].null_count if same else -1


def write_rows(
    out: Path, journal: Journal, present: pa.Array, facts: Mapping[str, Any]
) -> tuple[int, int]:
    """Turn the journal into `out`, by rename; returns how many errors and how many rows.

    Photos that are not among the names `present` have gone since and are left out.
    """
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    group = max(1024, _GROUP_BYTES // (4 * len(facts["classes"])))
    errors = count = 0
    try:
        with aside.open("wb") as file:
            with _writer(out, file, journal.schema, facts) as write:
                for table in _grouped(journal, present, group):
                    errors += len(table) - table["error"].null_count
                    count += len(table)
                    write(table)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return errors, count


class _Parquet:
    """Writes tables as row groups."""

    def __init__(self, file: Any, schema: pa.Schema, facts: Mapping[str, Any]) -> None:
        self._schema = schema.with_metadata(parquet_metadata(facts))
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def __enter__(self) -> Any:
        return lambda table: self._writer.write_table(
            table.cast(self._schema), row_group_size=len(table)
        )

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class _Csv:
    """Writes tables as lines, with a column for each class's probability."""

    def __init__(self, file: Any, _: pa.Schema, facts: Mapping[str, Any]) -> None:
        readable = [name for name, _ in facts["classes"]]
        originals = [original for _, original in facts["classes"]]
        # Two folders may read the same; then only the originals tell them apart.
        self._names = readable if len(set(readable)) == len(readable) else originals
        titles = ["path", "class", "confidence", *(f"p({n})" for n in self._names), "error"]
        texts = ("path", "class", "error")
        self._schema = pa.schema([(t, pa.string() if t in texts else pa.float32()) for t in titles])
        self._writer = pyarrow.csv.CSVWriter(file, self._schema)

    def __enter__(self) -> Any:
        return lambda table: self._writer.write_table(self._flat(table))

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def _flat(self, table: pa.Table) -> pa.Table:
        every = table["probabilities"]
        shares = [pc.list_element(every, index) for index in range(len(self._names))]
        columns = [table["path"], table["class"], table["confidence"], *shares, table["error"]]
        return pa.table(columns, schema=self._schema)


def _writer(out: Path, file: Any, schema: pa.Schema, facts: Mapping[str, Any]) -> _Parquet | _Csv:
    kind = _Csv if out.suffix.lower() in CSV else _Parquet
    return kind(file, schema, facts)


def _rows(out: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(out) as file:
        yield from file.iter_batches(8192)


def _grouped(journal: Journal, present: pa.Array, group: int) -> Iterator[pa.Table]:
    """The journal's rows in tables of about `group`, without photos that have gone since."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in journal.batches():
        batch = batch.filter(pc.is_in(batch["path"], present))
        waiting.append(batch)
        rows += len(batch)
        if rows >= group:
            yield pa.Table.from_batches(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.Table.from_batches(waiting)
