"""One segment of a tensor log: an Arrow IPC stream of rows, read however it ends.

Groups, statistics and modes stand in it as small numbers, whose meaning is in the schema's
metadata; names stand as the number of a list in the log's `names.jsonl`.
"""

from __future__ import annotations

import json
import os
import struct
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from houndsight.debugger.blocks import Block, ExamplesBlock
from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.errors import RunError

__all__ = [
    "CODES",
    "FORMAT_VERSION",
    "SCHEMA",
    "SegmentFile",
    "Selection",
    "encode",
    "read_batches",
    "rows_of",
    "sums_of",
]

FORMAT_VERSION = 1
CODES: Mapping[str, tuple[str, ...]] = {
    "mode": tuple(Mode),
    "group": tuple(Group),
    "statistic": tuple(Statistic),
}
SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("forward", pa.int64()),
        ("time", pa.float64()),
        ("mode", pa.int8()),
        ("group", pa.int8()),
        ("statistic", pa.int8()),
        ("names", pa.int32()),
        ("exact", pa.bool_()),
        ("integral", pa.bool_()),
        ("values", pa.list_(pa.float32())),
        ("integers", pa.list_(pa.int64())),
    ],
    metadata={"houndsight": json.dumps({"v": FORMAT_VERSION, "codes": CODES})},
)
NO_NAMES = -1
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
SUM = struct.Struct("<QQ")
"""A piece's end in the file, and its CRC-32."""
DAMAGE = (StopIteration, pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError)
"""What reading a torn or damaged stream may raise."""
Array = npt.NDArray[Any]
AnyBlock = Block | ExamplesBlock


@dataclass(frozen=True)
class Selection:
    """Which rows are wanted; None leaves nothing out."""

    first_step: int | None = None
    last_step: int | None = None
    modes: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    statistics: frozenset[str] | None = None
    names: tuple[str, ...] | None = None

    def may_hold(self, index: Mapping[str, Any]) -> bool:
        """Whether a segment with this index can have a wanted row."""
        low, high = index["steps"]
        if self.first_step is not None and high < self.first_step:
            return False
        if self.last_step is not None and low > self.last_step:
            return False
        groups: Mapping[str, Sequence[str]] = index["groups"]
        kept = [set(s) for group, s in groups.items() if self._wants(self.groups, group)]
        if not any(self.statistics is None or s & self.statistics for s in kept):
            return False
        return self.modes is None or bool(self.modes & set(index["modes"]))

    @staticmethod
    def _wants(chosen: frozenset[str] | None, value: str) -> bool:
        return chosen is None or value in chosen

    def mask(self, columns: Mapping[str, Array], codes: Mapping[str, Sequence[str]]) -> Array:
        """(rows,) which rows of a batch are wanted, names apart; unknown codes never are."""
        wanted = np.ones(len(columns["step"]), bool)
        if self.first_step is not None:
            wanted &= columns["step"] >= self.first_step
        if self.last_step is not None:
            wanted &= columns["step"] <= self.last_step
        for column, chosen, known in (
            ("mode", self.modes, CODES["mode"]),
            ("group", self.groups, CODES["group"]),
            ("statistic", self.statistics, CODES["statistic"]),
        ):
            fits = [name in known and self._wants(chosen, name) for name in codes[column]]
            lookup = np.zeros(256, bool)
            lookup[: len(fits)] = fits
            wanted &= lookup[columns[column].astype(np.uint8)]
        return wanted


def encode(
    blocks: Sequence[AnyBlock], number: Callable[[tuple[str, ...]], int]
) -> pa.RecordBatch | None:
    """All rows of the blocks; `number` gives a list of names its number. None without rows."""
    blocks = [block for block in blocks if len(block)]
    if not blocks:
        return None
    columns: dict[str, list[Array]] = {name: [] for name in SCHEMA.names}
    counts: dict[str, list[Array]] = {"values": [], "integers": []}
    for block in blocks:
        _encode_places(block, number, columns)
        _encode_values(block, columns, counts)
    arrays = []
    for field in SCHEMA:
        flat = np.concatenate(columns[field.name]) if columns[field.name] else np.empty(0)
        if field.name in counts:
            offsets = np.zeros(sum(map(len, counts[field.name])) + 1, np.int32)
            np.cumsum(np.concatenate(counts[field.name]), out=offsets[1:])
            values = _column(flat, field.type.value_type)
            arrays.append(pa.ListArray.from_arrays(_column(offsets, pa.int32()), values))
        else:
            arrays.append(_column(flat, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _column(values: Array, kind: pa.DataType) -> pa.Array:
    """Values as Arrow holds them.

    `pa.array` would import pandas into the training, which costs half a second, and when it
    happens at the script's end hides that Ctrl-C ended it.
    """
    if kind == pa.bool_():
        held = np.packbits(values.astype(bool), bitorder="little")
    else:
        held = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(held)])


def _encode_places(
    block: AnyBlock, number: Callable[[tuple[str, ...]], int], columns: dict[str, list[Array]]
) -> None:
    statistics, rows = len(block.statistics), len(block)
    for name, values in (
        ("step", block.steps),
        ("forward", block.forwards),
        ("time", block.times),
    ):
        columns[name].append(np.repeat(values, statistics))
    codes = np.array([CODES["statistic"].index(s) for s in block.statistics], np.int8)
    columns["statistic"].append(np.tile(codes, len(block.steps)))
    names = number(block.names) if block.names else NO_NAMES
    columns["mode"].append(np.full(rows, CODES["mode"].index(block.mode), np.int8))
    columns["group"].append(np.full(rows, CODES["group"].index(block.group), np.int8))
    columns["names"].append(np.full(rows, names, np.int32))
    columns["exact"].append(np.full(rows, block.exact))


def _encode_values(
    block: AnyBlock, columns: dict[str, list[Array]], counts: dict[str, list[Array]]
) -> None:
    rows, integral = len(block), isinstance(block, ExamplesBlock) and block.integral
    if isinstance(block, Block):
        flat: Array = np.asarray(block.values, np.float32).reshape(-1)
        lengths = np.full(rows, len(block.names), np.int32)
    else:
        kind = np.int64 if integral else np.float32
        flat = np.concatenate([np.asarray(v, kind).reshape(-1) for v in block.values])
        lengths = np.array([np.size(v) for v in block.values], np.int32)
    assert flat.size == lengths.sum(), f"{block.group} has not a value for each name"
    here, other = ("integers", "values") if integral else ("values", "integers")
    columns[here].append(flat)
    counts[here].append(lengths)
    counts[other].append(np.zeros(rows, np.int32))
    columns["integral"].append(np.full(rows, integral))


class SegmentFile:
    """A segment being written: the stream, and beside it a checksum of each piece flushed.

    pyarrow trusts what it reads: a damaged stream can take the process down. So a piece is only
    given to it when its sum, in `segment-000001.sums`, agrees.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._stream_file, self._sums_file = path.open("xb"), sums_of(path).open("wb")
        # Writers that nobody closes are as good as killed ones: all they wrote is there.
        weakref.finalize(self, self._stream_file.close)
        weakref.finalize(self, self._sums_file.close)
        self._append(SCHEMA.serialize())

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch and flush it to the operating system."""
        self._append(batch.serialize())

    def close(self) -> None:
        """End the stream."""
        self._append(END_OF_STREAM)
        self._stream_file.close()
        self._sums_file.close()

    def _append(self, piece: bytes | pa.Buffer) -> None:
        """Write a whole message of the stream, then its sum."""
        self._stream_file.write(piece)
        self._stream_file.flush()
        self.size += len(piece)
        self._sums_file.write(SUM.pack(self.size, zlib.crc32(piece)))
        self._sums_file.flush()


def sums_of(path: Path) -> Path:
    """Where the checksums of a segment stand."""
    return path.with_suffix(".sums")


def read_batches(path: Path, begin: int = 0) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The whole record batches of a segment with the position in the file after each.

    A torn or damaged piece is left out, for its writer was killed. Reading goes on from
    `begin`, such a position.

    Raises:
        RunError: a newer version wrote it.
        FileNotFoundError: it is gone, for it was thinned meanwhile.
    """
    sums = sums_of(path).read_bytes()
    with path.open("rb") as file:
        start, schema, size = 0, None, os.fstat(file.fileno()).st_size
        for end, checksum in SUM.iter_unpack(sums[: len(sums) // SUM.size * SUM.size]):
            if not start < end <= size:
                return
            # The first piece is the schema, which every other one needs.
            if schema is None or end > begin:
                file.seek(start)
                piece = file.read(end - start)
                whole = zlib.crc32(piece) == checksum
                if schema is None:
                    schema = _schema(piece, path) if whole else None
                    if schema is None:
                        return
                elif whole:
                    yield from ((batch, end) for batch in _batches(piece, schema))
            start = end


def _schema(piece: bytes, path: Path) -> pa.Schema | None:
    try:
        schema = pa.ipc.read_schema(pa.BufferReader(piece))
        _codes(schema, path)
    except DAMAGE:
        return None
    return schema if schema.types[: len(SCHEMA)] == SCHEMA.types else None


def _batches(piece: bytes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if piece == END_OF_STREAM:
        return
    try:
        yield pa.ipc.read_record_batch(pa.ipc.read_message(piece), schema)
    except DAMAGE:
        return


def _codes(schema: pa.Schema, path: Path) -> Mapping[str, Sequence[str]]:
    about = json.loads((schema.metadata or {})[b"houndsight"])
    if int(about["v"]) > FORMAT_VERSION:
        raise RunError(
            f"{path} has format {about['v']}, newer than this version reads "
            f"({FORMAT_VERSION}); upgrade houndsight."
        )
    codes = about["codes"]
    return {name: [str(value) for value in codes[name]] for name in CODES}


def rows_of(
    batch: pa.RecordBatch, names: Mapping[int, tuple[str, ...]], wanted: Selection, path: Path
) -> Iterator[Row]:
    """The wanted rows of a batch, in its order."""
    codes = _codes(batch.schema, path)
    columns = {
        field.name: batch.column(i).to_numpy(zero_copy_only=False)
        for i, field in enumerate(SCHEMA)
        if field.name not in ("values", "integers")
    }
    lists = {name: batch.column(SCHEMA.get_field_index(name)) for name in ("values", "integers")}
    flat = {name: array.values.to_numpy(zero_copy_only=False) for name, array in lists.items()}
    starts = {name: array.offsets.to_numpy() for name, array in lists.items()}
    modes = [Mode(c) if c in CODES["mode"] else None for c in codes["mode"]]
    groups = [Group(c) if c in CODES["group"] else None for c in codes["group"]]
    statistics = [Statistic(c) if c in CODES["statistic"] else None for c in codes["statistic"]]
    for i in np.flatnonzero(wanted.mask(columns, codes)):
        mode, group = modes[columns["mode"][i]], groups[columns["group"][i]]
        statistic = statistics[columns["statistic"][i]]
        assert mode is not None
        assert group is not None
        assert statistic is not None
        integral = bool(columns["integral"][i])
        which = "integers" if integral else "values"
        values = flat[which][starts[which][i] : starts[which][i + 1]]
        listed = names.get(int(columns["names"][i]), ())
        if listed and len(listed) != len(values):
            continue
        if wanted.names is not None:
            chosen = [listed.index(name) for name in wanted.names if name in listed]
            if not chosen:
                continue
            listed, values = tuple(listed[c] for c in chosen), values[chosen]
        yield Row(
            step=int(columns["step"][i]),
            forward=int(columns["forward"][i]),
            mode=mode,
            group=group,
            statistic=statistic,
            names=listed,
            values=np.empty(0, np.float32) if integral else values,
            exact=bool(columns["exact"][i]),
            integers=values if integral else None,
            time=float(columns["time"][i]),
        )
