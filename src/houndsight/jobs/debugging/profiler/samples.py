"""The samples of the system as arrays."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Samples", "read_samples"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One host's figures over time; missing ones are NaN."""

    node: str
    times: Floats
    """(n,) seconds since the epoch."""
    figures: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    """By dimension, then by name: (n,)."""

    def __len__(self) -> int:
        return len(self.times)

    def of(self, dimension: str) -> Floats:
        """(n, names) the figures of a dimension, in the order of the names' numbers."""
        found = self.figures.get(dimension, {})
        columns = [found[name] for name in sorted(found, key=_by_number)]
        return np.stack(columns, axis=1) if columns else np.empty((len(self), 0))

    def names(self, dimension: str) -> list[str]:
        """The names in the same order."""
        return sorted(self.figures.get(dimension, {}), key=_by_number)

    @property
    def cpu(self) -> Floats:
        """(n, cores) percent."""
        return self.of("CPUUtilization")

    @property
    def io_wait(self) -> Floats:
        """(n, cores) percent."""
        return self.of("I/OWaitPercentage")

    @property
    def gpu(self) -> Floats:
        """(n, GPUs) percent."""
        return self.of("GPUUtilization")

    @property
    def gpu_memory(self) -> Floats:
        """(n, GPUs) percent."""
        return self.of("GPUMemoryUtilization")

    @property
    def memory(self) -> Floats:
        """(n,) percent of the machine's."""
        found = self.of("Memory")
        return found[:, 0] if found.shape[1] else np.full(len(self), np.nan)


def read_samples(folder: Path) -> list[Samples]:
    """Those under a `profiler-output` folder, by host; torn lines are left out."""
    rows: dict[str, dict[float, dict[tuple[str, str], float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for path in sorted(folder.glob("system/incremental/*/*.json")):
        for row in _rows(path):
            at = rows[row["NodeId"]][row["Timestamp"]]
            at[row["Dimension"], row["Name"]] = row["Value"]
    return [_samples(node, found) for node, found in sorted(rows.items())]


def _samples(node: str, found: Mapping[float, Mapping[tuple[str, str], float]]) -> Samples:
    times = sorted(found)
    keys = dict.fromkeys(key for at in times for key in found[at])
    figures: dict[str, dict[str, Floats]] = defaultdict(dict)
    for dimension, name in keys:
        figures[dimension][name] = np.array(
            [found[at].get((dimension, name), np.nan) for at in times]
        )
    return Samples(node=node, times=np.array(times), figures=figures)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line)
            yield {
                "NodeId": str(row["NodeId"]),
                "Timestamp": float(row["Timestamp"]),
                "Dimension": str(row["Dimension"]),
                "Name": str(row["Name"]),
                "Value": float(row["Value"]),
            }
        except (ValueError, KeyError, TypeError):
            continue


def _by_number(name: str) -> tuple[int, str]:
    digits = "".join(letter for letter in name if letter.isdigit())
    return (int(digits) if digits else -1, name)
