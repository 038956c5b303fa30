"""Makes a log smaller: of older segments every other step goes, except those of findings."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from houndsight.debugger.record import Mode
from houndsight.debugger.segment import CODES, SCHEMA, read_batches
from houndsight.files import write_atomic

__all__ = ["thin"]

KEPT_AROUND = 8
"""Steps kept on either side of one that a finding names."""
TRAIN = CODES["mode"].index(Mode.TRAIN)
MOST = 10
"""A segment is halved so often at most; then one step of 1024 is left."""


def thin(folder: Path, limit_bytes: int, kept_steps: Collection[int]) -> None:
    """Halve the steps of the oldest and least thinned segments until the log fits.

    Segments are written aside and renamed, so that readers meet the old or the new one.
    """
    while _size(folder) > limit_bytes:
        known = [(path, _index(path)) for path in sorted(folder.glob("segment-*.arrow"))]
        closed = [(path, index) for path, index in known if index is not None]
        open_to_it = [(path, i) for path, i in closed if i.get("thinned", 0) < MOST]
        if not open_to_it:
            return
        path, index = min(open_to_it, key=lambda pair: (pair[1].get("thinned", 0), pair[0]))
        _halve(path, index, kept_steps)


def _halve(path: Path, index: dict[str, Any], kept_steps: Collection[int]) -> None:
    times = int(index.get("thinned", 0)) + 1
    every = 2**times
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    rows = 0
    with pa.OSFile(str(aside), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
        for batch, _ in read_batches(pa.py_buffer(path.read_bytes()), path):
            steps, forwards, modes = (
                batch.column(SCHEMA.get_field_index(name)).to_numpy()
                for name in ("step", "forward", "mode")
            )
            # Evaluations come at a few steps only, which may all be odd: of those, forwards go.
            counted = np.where(modes == TRAIN, steps, forwards)
            kept = batch.filter(pa.array((counted % every == 0) | _near(steps, kept_steps)))
            if kept.num_rows:
                stream.write_batch(kept)
                rows += kept.num_rows
    aside.replace(path)
    index |= {"thinned": times, "rows": rows, "bytes": path.stat().st_size}
    write_atomic(path.with_suffix(".json"), json.dumps(index).encode())


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
