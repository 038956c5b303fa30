"""Makes a log smaller: of older segments every other step goes, except those of findings."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from houndsight.debugger.record import Mode
from houndsight.debugger.segment import CODES, SCHEMA, SegmentFile, read_batches, sums_of
from houndsight.debugger.tensor_log import segment_number
from houndsight.files import write_atomic

__all__ = ["thin"]

KEPT_AROUND = 8
"""Steps kept on either side of one that a finding names."""
TRAIN = CODES["mode"].index(Mode.TRAIN)
OLD = 4
MOST = 10
"""A segment is halved so often at most; then one step of 1024 is left."""


def thin(folder: Path, limit_bytes: int, kept_steps: Collection[int]) -> None:
    """Halve the steps of segments until the log fits, those of old ones more often.

    A thinned segment is written aside and renamed, and then the old one goes.
    """
    while _size(folder) > limit_bytes:
        known = [(path, _index(path)) for path in sorted(folder.glob("segment-*.arrow"))]
        closed = [(path, index) for path, index in known if index is not None]
        chosen = _next([index.get("thinned", 0) for _, index in closed])
        if chosen is None:
            return
        _halve(*closed[chosen], kept_steps)


def _next(thinned: Sequence[int]) -> int | None:
    """Which segment to halve: the oldest ones up to `OLD` times oftener than newer ones.

    The newest quarter is left whole while anything else can be halved.
    """
    count = len(thinned)
    places = [i for i in range(count) if thinned[i] < MOST]
    older = [i for i in places if i < count * 3 // 4]
    return min(older or places, key=lambda i: (thinned[i] + OLD * i / count, i), default=None)


def _halve(path: Path, index: dict[str, Any], kept_steps: Collection[int]) -> None:
    number, before = segment_number(path)
    every = 2 ** (before + 1)
    new = path.with_name(f"segment-{number:06d}-thinned{before + 1}.arrow")
    aside = path.with_name(f".{new.name}")
    for left in (aside, sums_of(aside)):
        left.unlink(missing_ok=True)
    file, rows = SegmentFile(aside), 0
    for batch, _ in read_batches(path):
        steps, forwards, modes = (
            batch.column(SCHEMA.get_field_index(name)).to_numpy()
            for name in ("step", "forward", "mode")
        )
        # Evaluations come at a few steps only, which may all be odd: of those, forwards go.
        counted = np.where(modes == TRAIN, steps, forwards)
        kept = batch.filter(pa.array((counted % every == 0) | _near(steps, kept_steps)))
        if kept.num_rows:
            file.write(kept)
            rows += kept.num_rows
    file.close()
    index |= {"thinned": before + 1, "rows": rows, "bytes": file.size}
    write_atomic(new.with_suffix(".json"), json.dumps(index).encode())
    sums_of(aside).replace(sums_of(new))
    aside.replace(new)
    # A reader that comes between meets both, and rows that come twice count once.
    for old in (path, sums_of(path), path.with_suffix(".json")):
        old.unlink(missing_ok=True)


def _near(steps: npt.NDArray[Any], kept_steps: Collection[int]) -> npt.NDArray[Any]:
    near = np.zeros(len(steps), bool)
    for step in kept_steps:
        near |= np.abs(steps - step) <= KEPT_AROUND
    return near


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("segment-*.arrow"))


def _index(path: Path) -> dict[str, Any] | None:
    try:
        index = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return index if isinstance(index, dict) else None
