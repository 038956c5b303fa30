"""What the benchmarks share: where the data lies, the machine's name, intervals, tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from houndsight.data.folder import ImageFolder
from houndsight.models.backbone import Backbone
from houndsight.models.features import FeatureCache

__all__ = [
    "DOGS",
    "RESNET50",
    "SEEN",
    "Table",
    "cached_features",
    "corrected_interval",
    "machine",
    "mean_interval",
    "open_dogs",
    "ratio_interval",
    "there",
]

SHARED = Path(__file__).resolve().parents[2] / "shared"
DOGS = SHARED / "data" / "dogs"
RESNET50 = SHARED / "weights" / "resnet50_trunk.safetensors"
SEEN = (
    "Stanford Dogs is drawn from ImageNet: the backbone has probably seen these photos, so all\n"
    "figures flatter; the sides share that."
)
RESAMPLES = 10_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Columns of text, printed as Markdown; the first is aligned left, the others right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        widths = [
            max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))
        ]
        rule = "|".join(
            "-" * (width + 2) if i == 0 else "-" * (width + 1) + ":"
            for i, width in enumerate(widths)
        )
        lines = [self._line(self.head, widths), f"|{rule}|"]
        return "\n".join(lines + [self._line(row, widths) for row in self.rows])

    @staticmethod
    def _line(row: Sequence[str], widths: Sequence[int]) -> str:
        cells = [
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |"


def there(*paths: Path) -> bool:
    """Whether all exist; says which does not."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        print(f"Skipped: {' and '.join(missing)} not found. Name others with the options.")
    return not missing


def machine() -> str:
    """Processor, cores and date."""
    return f"{_processor()}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def open_dogs(folder: Path, classes: int | None = None, photos: int | None = None) -> ImageFolder:
    """The photos, or the first `classes` classes with at most `photos` a split each."""
    opened = ImageFolder.open(folder)
    split = opened.all()
    names = np.asarray(opened.table.column("split").to_pylist())
    taken: dict[tuple[str, int], int] = {}
    dropped = []
    for photo, name, label in zip(split.ids, names, split.labels, strict=True):
        key = (str(name), int(label))
        taken[key] = taken.get(key, 0) + 1
        beyond = photos is not None and taken[key] > photos
        if beyond or (classes is not None and label >= classes):
            dropped.append(int(photo))
    return opened.without(dropped) if dropped else opened


def cached_features(
    cache: FeatureCache, backbone: Backbone, photos: ImageFolder
) -> npt.NDArray[np.float32]:
    """Features of all photos, which are square already and so not cropped; `(n, d)` float32."""
    preprocessing = replace(backbone.preprocessing, fit="squash")
    cached = cache.features(backbone, photos, preprocessing=preprocessing)
    assert bool(cached.valid.all()), "the shared photos can all be read"
    return np.asarray(cached.array, np.float32)


def ratio_interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of theirs / ours over interleaved rounds, with a 95 % interval.

    The interval is Student's on the logarithms; with one round it is not known.
    """
    logs = np.log(np.asarray(theirs) / np.asarray(ours))
    middle, low, high = mean_interval(logs)
    return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))


def mean_interval(values: npt.ArrayLike) -> tuple[float, float, float]:
    """Mean and Student's 95 % interval of independent values."""
    return _interval(np.asarray(values, np.float64), 0.0)


def corrected_interval(
    differences: npt.ArrayLike, tested: int, trained: int
) -> tuple[float, float, float]:
    """Mean and 95 % interval of paired differences over random splits of the same photos.

    Splits overlap, so the variance is multiplied by 1 / splits + tested / trained (Nadeau and
    Bengio 2003, "Inference for the generalization error", the corrected resampled t-test).
    """
    return _interval(np.asarray(differences, np.float64), tested / trained)


def _interval(values: Floats, overlap: float) -> tuple[float, float, float]:
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, count - 1)) * float(values.std(ddof=1))
    half *= (1 / count + overlap) ** 0.5
    return mean, mean - half, mean + half
