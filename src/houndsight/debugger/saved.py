"""Tensors saved by step and mode, under SageMaker Debugger's names, beside a tensor log's rows.

A folder `saved/` in that of a process (`tensors/rank-0`) holds `saved.json`, `collections.json`,
`steps.jsonl` with a line for each saved step, and a safetensors file for each step that saved
more than single figures. A step here is a call of the root module, counted over all modes and in
its own: what SageMaker Debugger calls a step. NumPy reads it; PyTorch is not needed.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from houndsight.errors import RunError
from houndsight.files import append_json_line, write_atomic

__all__ = ["Files", "LocalFiles", "SavedReader", "SavedStep", "SavedWriter"]

FORMAT_VERSION = 1
INLINE = 8
"""Tensors of at most this many elements stand in the line itself."""
Array = npt.NDArray[Any]
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(kw_only=True)
class SavedStep:
    """What was saved of one step."""

    step: int
    """Over all modes."""
    mode: str
    """`TRAIN`, `EVAL`, `PREDICT` or `GLOBAL`."""
    mode_step: int
    time: float = 0.0
    tensors: dict[str, Array] = field(default_factory=dict)
    reductions: dict[str, dict[str, float]] = field(default_factory=dict)
    """By tensor, then by name: `mean`, `abs_max`, `l2` …"""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    examples: dict[str, int] = field(default_factory=dict)
    """Of a tensor of which only the first examples are kept: how many there were."""

    def __len__(self) -> int:
        return len(self.tensors) + len(self.reductions) + len(self.shapes)


class SavedWriter:
    """Appends steps to the folder `saved/` of a process."""

    def __init__(self, folder: Path, *, worker: str = "worker_0", workers: int = 1) -> None:
        self.folder = folder
        self.bytes_written = 0
        folder.mkdir(parents=True, exist_ok=True)
        about = {"v": FORMAT_VERSION, "worker": worker, "workers": workers}
        write_atomic(folder / "saved.json", json.dumps(about).encode())

    def write_collections(self, collections: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace what is known of the collections: expressions and names of each."""
        record = {"v": FORMAT_VERSION, "collections": collections}
        write_atomic(self.folder / "collections.json", json.dumps(record).encode())

    def write(self, saved: SavedStep) -> None:
        """Append a step: its file first, then the line that makes it count."""
        small = {n: a for n, a in saved.tensors.items() if a.size <= INLINE}
        large = {n: np.ascontiguousarray(a) for n, a in saved.tensors.items() if a.size > INLINE}
        row: dict[str, Any] = {
            "step": saved.step,
            "mode": saved.mode,
            "mode_step": saved.mode_step,
            "time": saved.time,
            "values": {n: _inline(a) for n, a in small.items()},
        }
        if large:
            row |= {"file": self._write_file(saved.step, large), "tensors": list(large)}
        if saved.reductions:
            row["reductions"] = {
                name: {kind: _number(v) for kind, v in values.items()}
                for name, values in saved.reductions.items()
            }
        if saved.shapes:
            row["shapes"] = {name: list(shape) for name, shape in saved.shapes.items()}
        if saved.examples:
            row["examples"] = saved.examples
        append_json_line(self.folder / "steps.jsonl", row)

    def end(self) -> None:
        """Say that no more steps will come."""
        write_atomic(self.folder / "ended.json", b"{}\n")

    def _write_file(self, step: int, tensors: Mapping[str, Array]) -> str:
        from safetensors.numpy import save_file

        name = f"step-{step:012d}.safetensors"
        aside = self.folder / f".{name}.{os.getpid()}"
        save_file(dict(tensors), aside)
        self.bytes_written += aside.stat().st_size
        aside.replace(self.folder / name)
        return name


class Files(Protocol):
    """Where a reader finds the files of a `saved/` folder: a disk, or an object store."""

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file; FileNotFoundError when it is not there."""
        ...


class LocalFiles:
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See `Files`."""
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)


class SavedReader:
    """Reads a `saved/` folder, live or afterwards.

    Raises:
        FileNotFoundError: there is none.
        RunError: it is damaged, or a newer version wrote it.
    """

    def __init__(self, files: Files, where: str = "saved") -> None:
        self.files, self.where = files, where
        about = self._json("saved.json")
        if int(about.get("v", 0)) > FORMAT_VERSION:
            raise RunError(
                f"{where} has format {about['v']}, newer than this version reads "
                f"({FORMAT_VERSION}); upgrade houndsight."
            )
        self.worker = str(about.get("worker", "worker_0"))
        self.workers = int(about.get("workers", 1))
        self._headers: dict[str, tuple[int, dict[str, Any]]] = {}

    @property
    def ended(self) -> bool:
        """Whether the training said that no more steps will come."""
        try:
            self.files.read("ended.json")
        except FileNotFoundError:
            return False
        return True

    def collections(self) -> dict[str, dict[str, Any]]:
        """Expressions and names of each collection; none while nothing was written."""
        try:
            found = self._json("collections.json").get("collections")
        except FileNotFoundError:
            return {}
        return found if isinstance(found, dict) else {}

    def rows(self) -> list[dict[str, Any]]:
        """The lines of the steps, in order; a torn one is left out."""
        try:
            content = self.files.read("steps.jsonl")
        except FileNotFoundError:
            return []
        return list(_rows(content))

    def tensor(self, row: Mapping[str, Any], name: str) -> Array | None:
        """A saved tensor of a row; None where it was not saved whole."""
        inline = (row.get("values") or {}).get(name)
        if inline is not None:
            shape, values, kind = inline
            return np.array([float(v) for v in values]).astype(kind).reshape(shape)
        if name not in (row.get("tensors") or ()):
            return None
        return self._from_file(str(row["file"]), name)

    def _from_file(self, file: str, name: str) -> Array:
        start, header = self._header(file)
        entry = header[name]
        low, high = entry["data_offsets"]
        content = self.files.read(file, start + low, high - low)
        return np.frombuffer(content, DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()

    def _header(self, file: str) -> tuple[int, dict[str, Any]]:
        """Where the tensors begin in a safetensors file, and what its header says of each."""
        if file not in self._headers:
            (length,) = struct.unpack("<Q", self.files.read(file, 0, 8))
            self._headers[file] = (8 + length, json.loads(self.files.read(file, 8, length)))
        return self._headers[file]

    def _json(self, name: str) -> dict[str, Any]:
        try:
            record = json.loads(self.files.read(name))
        except ValueError as error:
            raise RunError(f"{self.where}/{name} is damaged: {error}.") from error
        if not isinstance(record, dict):
            raise RunError(f"{self.where}/{name} is damaged: it holds no object.")
        return record


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        try:
            row = json.loads(line)
            row["step"], row["mode_step"] = int(row["step"]), int(row["mode_step"])
            row["mode"] = str(row["mode"])
        except (ValueError, KeyError, TypeError):
            continue
        yield row


def _inline(array: Array) -> list[Any]:
    return [list(array.shape), [_number(v) for v in array.reshape(-1)], str(array.dtype)]


def _number(value: Any) -> float | str:
    """As it stands in JSON, which has no NaN."""
    number = float(value)
    return number if math.isfinite(number) else str(number)
