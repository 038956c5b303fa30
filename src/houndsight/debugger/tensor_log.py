"""The log of a training's rows on disk, readable while it is written.

A folder a process of the training (`tensors/rank-0`) holds numbered segments, Arrow IPC streams
of at most 64 MB of which a kill can only cost the torn end; for each closed one an index with
its steps, groups and statistics; `names.jsonl`, the lists of names, each once; `structure.json`;
and raw tensors, one safetensors file a step. pyarrow reads it; PyTorch is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.segment import FORMAT_VERSION, SCHEMA, Selection, read_batches, rows_of
from houndsight.debugger.structure import Structure
from houndsight.errors import RunError
from houndsight.files import read_json_lines

__all__ = ["Follower", "TensorLog", "read_history"]


class TensorLog:
    """Reads the tensor log of one process of a training, live or afterwards.

    Args:
        folder: a run folder, its `tensors` folder or that of one rank; of the first two the
            first rank is read.

    Raises:
        RunError: there is no log, or a newer version wrote it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = _rank_folder(Path(folder))
        about = _read_json(self.folder / "log.json")
        if about is None:
            raise RunError(f"{folder} holds no tensor log: it has no log.json.")
        if int(about.get("v", 0)) > FORMAT_VERSION:
            raise RunError(
                f"{self.folder} has format {about['v']}, newer than this version reads "
                f"({FORMAT_VERSION}); upgrade houndsight."
            )
        self.rank = int(about.get("rank", 0))
        self._names: dict[int, tuple[str, ...]] = {}

    def structure(self) -> Structure:
        """What the training is made of.

        Raises:
            RunError: nothing is recorded yet, or it is damaged.
        """
        return Structure.read(self.folder / "structure.json")

    def segments(self) -> list[Path]:
        """The segments so far, in order."""
        return sorted(self.folder.glob("segment-*.arrow"))

    def size_bytes(self) -> int:
        """What the log takes on disk, raw tensors included."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    @property
    def ended(self) -> bool:
        """Whether the training said that it ended."""
        return (self.folder / "ended.json").exists()

    def rows(
        self,
        *,
        first_step: int | None = None,
        last_step: int | None = None,
        modes: Iterable[Mode] | None = None,
        groups: Iterable[Group] | None = None,
        statistics: Iterable[Statistic] | None = None,
        names: Iterable[str] | None = None,
    ) -> Iterator[Row]:
        """The rows that fit, in the order written; segments without any are not read.

        Args:
            first_step: from this step on.
            last_step: up to and with this step.
            modes: of these modes.
            groups: of these groups.
            statistics: of these statistics.
            names: only the values of these names.
        """
        wanted = Selection(
            first_step,
            last_step,
            _chosen(modes),
            _chosen(groups),
            _chosen(statistics),
            None if names is None else tuple(names),
        )
        for path in self.segments():
            index = _read_json(path.with_suffix(".json"))
            if index is not None and not wanted.may_hold(index):
                continue
            for batch, _ in self._batches(path):
                yield from rows_of(batch, self._names_for(batch), wanted, path)

    def raw_steps(self) -> list[int]:
        """The steps whose tensors are kept whole."""
        return sorted(int(path.stem[5:]) for path in (self.folder / "raw").glob("step-*"))

    def raw(self, step: int) -> dict[str, npt.NDArray[Any]]:
        """The tensors of a step by name: `parameters/<name>`, `gradients/<name>`.

        Raises:
            RunError: those of that step are not kept.
        """
        from safetensors.numpy import load_file

        path = self.folder / "raw" / f"step-{step:09d}.safetensors"
        try:
            loaded: dict[str, npt.NDArray[Any]] = load_file(path)
        except FileNotFoundError as error:
            kept = ", ".join(map(str, self.raw_steps())) or "none"
            raise RunError(
                f"{self.folder} keeps no tensors of step {step}; there are: {kept}."
            ) from error
        return loaded

    def follow(self) -> Follower:
        """Gives the rows that are new since the last call."""
        return Follower(self)

    def history(self, *, now: float | None = None) -> History:
        """Everything so far as rules see it."""
        return History(self.structure(), self.rows(), now=now, ended=self.ended)

    def _batches(self, path: Path, begin: int = 0) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Those of a segment, or of the thinned one that has taken its place."""
        try:
            yield from read_batches(path, begin)
        except FileNotFoundError:
            for other in sorted(self.folder.glob(f"{path.name[:14]}*.arrow")):
                if other != path:
                    yield from self._batches(other)

    def names(self) -> dict[int, tuple[str, ...]]:
        """The lists of names by number, as they are in the log now."""
        found = {}
        for line in read_json_lines(self.folder / "names.jsonl"):
            number, names = line.get("number"), line.get("names")
            if isinstance(number, int) and isinstance(names, list):
                found[number] = tuple(map(str, names))
        return found

    def _names_for(self, batch: pa.RecordBatch) -> dict[int, tuple[str, ...]]:
        """The same, read again only where the batch has numbers that were not there before."""
        newest = pc.max(batch.column(SCHEMA.get_field_index("names"))).as_py()
        if newest is not None and newest not in self._names:
            self._names = self.names()
        return self._names


class Follower:
    """Reads a log as it grows: each call gives what came since the one before."""

    def __init__(self, log: TensorLog) -> None:
        self.log = log
        self._read: dict[int, int] = {}
        self._newest = 0

    def rows(self) -> list[Row]:
        """The rows written since the last call, in order."""
        found: list[Row] = []
        for path in self.log.segments():
            # Older segments are closed, and thinned ones have no rows that are new.
            number, thinned = segment_number(path)
            known = self._read.get(number)
            if number < self._newest or (thinned and known is not None):
                continue
            self._newest = number
            for batch, end in self.log._batches(path, known or 0):
                found.extend(rows_of(batch, self.log._names_for(batch), Selection(), path))
                self._read[number] = end
        return found


def read_history(folder: Path | str, *, now: float | None = None) -> History:
    """The history in a run folder, with those of the other ranks.

    Raises:
        RunError: there is no log in it, or a newer version wrote it.
    """
    first = TensorLog(folder)
    others = sorted(first.folder.parent.glob("rank-*"), key=lambda path: int(path.name[5:]))
    ranks = [TensorLog(p).history(now=now) for p in others if p != first.folder]
    return History(first.structure(), first.rows(), now=now, ended=first.ended, ranks=ranks)


def _rank_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "rank-0", folder / "tensors" / "rank-0"):
        if (candidate / "log.json").exists():
            return candidate
    return folder


def segment_number(path: Path) -> tuple[int, int]:
    """A segment's number and how often it was thinned: `segment-000012-thinned2.arrow`."""
    number, _, thinned = path.stem.removeprefix("segment-").partition("-thinned")
    return int(number), int(thinned or 0)


def _chosen(values: Iterable[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(map(str, values))


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
