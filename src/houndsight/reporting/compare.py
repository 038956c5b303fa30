"""Two runs on the photos both were tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from houndsight.errors import RunError
from houndsight.reporting.measurements import Predictions, as_predictions, mapping
from houndsight.reporting.paired import Difference, mcnemar_p_value, paired_mean, paired_top1
from houndsight.reporting.text import clean, percent
from houndsight.runs import Run
from houndsight.wording import plural

__all__ = ["ClassDifference", "Comparison", "compare_runs"]

OUT_OF_FOLD = "out-of-fold"
TESTED = ("test", OUT_OF_FOLD)
"""The splits that a run neither trained on nor chose anything by."""

SMALLEST_PROBABILITY = 1e-12
"""As in the run's own figures."""


@dataclass(frozen=True)
class ClassDifference:
    """How both runs do on one class."""

    name: str
    """As people read it: “Affenpinscher”."""
    original: str
    """As it stands in the photos' folder or table: “001.Affenpinscher”."""
    count: int
    top1: Difference
    p_value: float
    """Exact McNemar; of many classes some are small by chance."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "class": self.name,
            "original": self.original,
            "count": self.count,
            **self.top1.to_json(),
            "p_value": self.p_value,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What B has more than A on the same photos; shares are 0 to 1, nll in nats."""

    run_a: str
    run_b: str
    count: int
    """Photos that both runs were tested on, with the same label."""
    top1: Difference
    nll: Difference | None
    """None when a run did not keep its probabilities."""
    gained: int
    """Photos that B has right and A wrong."""
    lost: int
    """Photos that A has right and B wrong."""
    p_value: float
    """Exact McNemar."""
    classes: tuple[ClassDifference, ...]
    """The largest change first."""
    notes: tuple[str, ...]
    """What a reader should know about the photos, as sentences."""

    def is_below(self, points: float) -> bool:
        """Whether B's top-1 minus A's is less than `points` percentage points."""
        return self.top1.difference * 100 < points - 1e-9

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "v": 1,
            "run_a": self.run_a,
            "run_b": self.run_b,
            "count": self.count,
            "top1": self.top1.to_json(),
            "nll": None if self.nll is None else self.nll.to_json(),
            "gained": self.gained,
            "lost": self.lost,
            "p_value": self.p_value,
            "classes": [each.to_json() for each in self.classes],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Tested:
    """A run's test photos by key, each once."""

    name: str
    rows: dict[str, int]
    labels: list[str]
    """Of each row, as the classes were called originally: what is the same in both runs."""
    readable: dict[str, str]
    """{original: readable} of the classes."""
    predicted: list[str]
    """Of each row, the class told, as it was called originally."""
    right: NDArray[np.bool_]
    losses: NDArray[np.float64] | None
    told: float | None
    """The top-1 that the run itself tells, where it is not the share of these photos."""


def compare_runs(run_a: Path | str, run_b: Path | str) -> Comparison:
    """Compare two run folders photo by photo.

    Photos are matched by the hash of their content, or by their path when a run keeps no hashes.

    Raises:
        RunError: a run has no predictions on test photos, or the two share none.
    """
    folders = [Run.open(run_a), Run.open(run_b)]
    itself = Path(run_a).resolve() == Path(run_b).resolve()
    by_hash = all(_has_hashes(run) for run in folders)
    a, b = (_tested(run, by_hash) for run in folders)
    common = [key for key in a.rows if key in b.rows]
    same = [key for key in common if a.labels[a.rows[key]] == b.labels[b.rows[key]]]
    if not same:
        raise RunError(
            f"{a.name} and {b.name} share no test photos with the same label: {a.name} was tested "
            f"on {plural(len(a.rows), 'photo')}, {b.name} on {len(b.rows)}, {len(common)} on both. "
            "Compare runs made from the same photos with the same splits."
        )
    notes = [_ITSELF] if itself else _notes(a, b, len(common), len(same))
    return _compared(a, b, same, [*notes, *_averaged([a] if itself else [a, b])], itself)


_IDENTICAL = (
    "A and B make identical predictions on these photos, so every difference is zero: they may be "
    "copies of one run, or runs with the same seed."
)
_ITSELF = (
    "A and B are the same run, so every difference is zero. To learn how much chance there is in "
    "a training, compare runs with different seeds."
)


def _compared(
    a: _Tested, b: _Tested, keys: list[str], notes: Sequence[str], itself: bool
) -> Comparison:
    rows_a, rows_b = ([run.rows[key] for key in keys] for run in (a, b))
    right_a, right_b = a.right[rows_a], b.right[rows_b]
    gained, lost = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    nll = None
    if a.losses is not None and b.losses is not None:
        nll = paired_mean(a.losses[rows_a], b.losses[rows_b])
    certain = itself or _is_identical(a, b, rows_a, rows_b)
    labels = np.array([a.labels[row] for row in rows_a])
    return Comparison(
        run_a=a.name,
        run_b=b.name,
        count=len(keys),
        top1=_difference(right_a, right_b, certain),
        nll=nll,
        gained=gained,
        lost=lost,
        p_value=mcnemar_p_value(gained, lost),
        classes=_by_class(a, labels, right_a, right_b, certain),
        notes=(*notes, _IDENTICAL) if certain and not itself else tuple(notes),
    )


def _is_identical(a: _Tested, b: _Tested, rows_a: list[int], rows_b: list[int]) -> bool:
    """Whether both told the same class of every photo, with the same probability of its label."""
    if any(a.predicted[i] != b.predicted[j] for i, j in zip(rows_a, rows_b, strict=True)):
        return False
    if a.losses is None or b.losses is None:
        return False
    return bool(np.array_equal(a.losses[rows_a], b.losses[rows_b]))


def _difference(
    right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], certain: bool
) -> Difference:
    """B minus A; `certain` where both are the same and chance has no part in it."""
    return Difference.of_itself(float(right_a.mean())) if certain else paired_top1(right_a, right_b)


def _by_class(
    a: _Tested,
    labels: NDArray[np.str_],
    right_a: NDArray[np.bool_],
    right_b: NDArray[np.bool_],
    certain: bool,
) -> tuple[ClassDifference, ...]:
    found = []
    for name in np.unique(labels):
        inside = labels == name
        one, other = right_a[inside], right_b[inside]
        p_value = mcnemar_p_value(int((other & ~one).sum()), int((one & ~other).sum()))
        top1 = _difference(one, other, certain)
        readable = a.readable.get(str(name), str(name))
        found.append(ClassDifference(readable, str(name), int(inside.sum()), top1, p_value))
    return tuple(sorted(found, key=lambda each: (-abs(each.top1.difference), each.name)))


def _notes(a: _Tested, b: _Tested, common: int, same: int) -> list[str]:
    notes = []
    if common < len(a.rows) or common < len(b.rows):
        photos, are = plural(common, "photo"), "is" if common == 1 else "are"
        notes.append(
            f"The runs were tested on different photos: {a.name} on {len(a.rows)}, {b.name} on "
            f"{len(b.rows)}. Only the {photos} that both were tested on {are} compared."
        )
    if same < common:
        notes.append(
            f"{common - same} of them {'has' if common - same == 1 else 'have'} another label in "
            f"{b.name} than in {a.name} and {'is' if common - same == 1 else 'are'} left out."
        )
    return notes


def _tested(run: Run, by_hash: bool) -> _Tested:
    predictions = _predictions(run)
    names, readable = _class_names(run)
    keys = _hashes(run, predictions) if by_hash else predictions.paths
    rows: dict[str, int] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, row)  # an exact duplicate counts once
    losses = None
    if predictions.probabilities is not None:
        chosen = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
        losses = -np.log(np.maximum(chosen.astype(np.float64), SMALLEST_PROBABILITY))
    labels, told_classes = (
        [names[i] if i < len(names) else f"class {i}" for i in indices.tolist()]
        for indices in (predictions.labels, predictions.predicted)
    )
    right = predictions.predicted == predictions.labels
    name = run.folder.resolve().name or str(run.folder)
    averaged = OUT_OF_FOLD in predictions.splits
    told = _told(run, right) if averaged else None
    return _Tested(
        name=name,
        rows=rows,
        labels=labels,
        readable=dict(zip(names, readable, strict=True)),
        predicted=told_classes,
        right=right,
        losses=losses,
        told=told,
    )


def _told(run: Run, right: NDArray[np.bool_]) -> float | None:
    """The run's own top-1, when it is another than the share of its predictions."""
    told = mapping(mapping(run.results.get("metrics")).get("test")).get("top1")
    if not isinstance(told, int | float) or abs(told - float(right.mean())) < 5e-4:
        return None
    return float(told)


def _averaged(runs: Sequence[_Tested]) -> list[str]:
    """Why a figure here is not the one in the run's report."""
    return [
        f"{run.name} tells {percent(run.told)} of itself, the mean over the repeats of its "
        "cross-validation. Here the probabilities of all repeats are averaged for each photo, "
        f"which is right on {percent(float(run.right.mean()))}."
        for run in runs
        if run.told is not None
    ]


def _predictions(run: Run) -> Predictions:
    """The predictions on photos the run neither trained on nor chose anything by."""
    try:
        every = as_predictions(pq.read_table(run.predictions))
    except FileNotFoundError as error:
        raise RunError(
            f"{run.folder} has no predictions.parquet; it stands at {run.status}. "
            "Let the run end, or resume it, and compare then."
        ) from error
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise RunError(f"{run.predictions} cannot be read: {error}.") from error
    for split in TESTED:
        found = every.of(split)
        if len(found):
            return found
    raise RunError(f"{run.predictions} holds no predictions on test photos.")


def _has_hashes(run: Run) -> bool:
    try:
        schema = pq.read_schema(run.photos)
        if not {"id", "hash"} <= set(schema.names):
            return False
        return int(pq.read_table(run.photos, columns=["hash"])["hash"].null_count) == 0
    except (OSError, pa.ArrowException):
        return False


def _hashes(run: Run, predictions: Predictions) -> list[str]:
    table = pq.read_table(run.photos, columns=["id", "hash"])
    known = dict(zip(table["id"].to_pylist(), table["hash"].to_pylist(), strict=True))
    return [str(known.get(int(i), f"unknown photo {i}")) for i in predictions.ids]


def _class_names(run: Run) -> tuple[list[str], list[str]]:
    """The classes as they were called originally, and as people read them, by index."""
    classes = run.results.get("classes") or []
    originals = [str(each.get("original") or each.get("name")) for each in classes]
    names = [clean(each.get("name") or each.get("original"), limit=120) for each in classes]
    # Two folders may read the same; then only the originals tell them apart.
    return originals, names if len(set(names)) == len(names) else [clean(n) for n in originals]
