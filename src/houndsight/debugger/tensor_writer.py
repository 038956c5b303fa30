"""Writes a tensor log: segments with an index each, names once, old steps thinned."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.blocks import Block, ExamplesBlock, block_of
from houndsight.debugger.record import Row
from houndsight.debugger.segment import FORMAT_VERSION, SegmentFile, encode, read_batches
from houndsight.debugger.tensor_log import TensorLog, segment_number
from houndsight.errors import RunError
from houndsight.files import append_json_line, write_atomic

__all__ = ["TensorWriter"]

SEGMENT_BYTES = 64 * 1024**2
LIMIT_BYTES = 1024**3


class TensorWriter:
    """Appends rows to the log in `folder`, going on after whatever is there.

    Args:
        folder: that of the process, such as `run/tensors/rank-0`.
        rank: the process's number in a distributed training.
        segment_bytes: after how much a segment is closed and the next one begun.
        limit_bytes: above this, steps of older segments are thinned.
        kept_steps: gives the steps that thinning keeps, those of findings.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rank: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
        limit_bytes: int = LIMIT_BYTES,
        kept_steps: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        self.folder = folder
        self.segment_bytes, self.limit_bytes, self.kept_steps = (
            segment_bytes,
            limit_bytes,
            kept_steps,
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ended.json").unlink(missing_ok=True)
        if (folder / "log.json").exists():
            TensorLog(folder)
        write_atomic(folder / "log.json", json.dumps({"v": FORMAT_VERSION, "rank": rank}).encode())
        log = TensorLog(folder)
        self._numbers = {names: number for number, names in log.names().items()}
        self._index: dict[str, Any] = {}
        self._file: SegmentFile | None = None
        for path in log.segments():
            if not path.with_suffix(".json").exists():
                _index_segment(path)

    def write(self, blocks: Sequence[Block | ExamplesBlock]) -> None:
        """Append all rows of the blocks and flush them to the operating system."""
        batch = encode(blocks, self._number)
        if batch is None:
            return
        if self._file is None:
            self._file = self._begin()
        self._file.write(batch)
        _note(self._index, blocks)
        if self._file.size >= self.segment_bytes:
            self._finish()

    def write_rows(self, rows: Iterable[Row]) -> None:
        """The same for single rows."""
        self.write([block_of(row) for row in rows])

    def write_raw(self, step: int, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep the tensors of a step whole: written aside, then renamed."""
        from safetensors.numpy import save_file

        folder = self.folder / "raw"
        folder.mkdir(exist_ok=True)
        aside = folder / f".step-{step}.{os.getpid()}"
        save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, aside)
        aside.replace(folder / f"step-{step:09d}.safetensors")

    def close(self, *, ended: bool = True) -> None:
        """Close the last segment; `ended` says that no more rows will come."""
        self._finish()
        if ended:
            write_atomic(self.folder / "ended.json", b"{}\n")

    def _number(self, names: tuple[str, ...]) -> int:
        if names not in self._numbers:
            number = max(self._numbers.values(), default=-1) + 1
            append_json_line(self.folder / "names.jsonl", {"number": number, "names": names})
            self._numbers[names] = number
        return self._numbers[names]

    def _begin(self) -> SegmentFile:
        numbers = [segment_number(path)[0] for path in self.folder.glob("segment-*.arrow")]
        self._index = {}
        return SegmentFile(self.folder / f"segment-{max(numbers, default=0) + 1:06d}.arrow")

    def _finish(self) -> None:
        if self._file is None:
            return
        self._file.close()
        path, self._file = self._file.path, None
        _write_index(path, self._index)
        self._thin()

    def _thin(self) -> None:
        closed = sorted(self.folder.glob("segment-*.arrow"))
        size = sum(path.stat().st_size for path in closed)
        if size <= self.limit_bytes:
            return
        from houndsight.debugger.thinning import thin

        thin(self.folder, self.limit_bytes, frozenset(self.kept_steps()))


def _note(index: dict[str, Any], blocks: Iterable[Block | ExamplesBlock]) -> None:
    """Add to a segment's index what the blocks hold."""
    for block in blocks:
        if not len(block):
            continue
        low, high = int(block.steps.min()), int(block.steps.max())
        before = index.get("steps", [low, high])
        index["steps"] = [min(low, before[0]), max(high, before[1])]
        groups = index.setdefault("groups", {})
        known = groups.setdefault(str(block.group), [])
        known.extend(str(s) for s in block.statistics if str(s) not in known)
        modes = index.setdefault("modes", [])
        if str(block.mode) not in modes:
            modes.append(str(block.mode))
        index["rows"] = index.get("rows", 0) + len(block)


def _write_index(path: Path, index: Mapping[str, Any]) -> None:
    if index:
        record = {"v": FORMAT_VERSION, "bytes": path.stat().st_size, "thinned": 0, **index}
        write_atomic(path.with_suffix(".json"), json.dumps(record).encode())


def _index_segment(path: Path) -> None:
    """Index a segment that a killed writer left open."""
    from houndsight.debugger.segment import Selection, rows_of

    index: dict[str, Any] = {}
    try:
        for batch, _ in read_batches(path):
            _note(index, [block_of(row) for row in rows_of(batch, {}, Selection(), path)])
    except (OSError, RunError):
        return
    _write_index(path, index)
