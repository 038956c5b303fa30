"""Everything a report needs from a run folder, read tolerantly.

Any part may be missing or half there, while a run is live or after it was stopped; what is
missing is said in `Measurements.missing` and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from houndsight.files import read_json_lines
from houndsight.findings import Finding
from houndsight.reporting.doubt import DoubtedLabel, doubted_labels
from houndsight.reporting.text import clean
from houndsight.reporting.watched import WatchedPart, read_watched
from houndsight.runs import Run, RunStatus

__all__ = ["Measurements", "Predictions", "as_predictions", "read_measurements"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Evaluated photos, row by row; all arrays `(n,)`, `probabilities` `(n, classes)` or None."""

    ids: NDArray[np.int64]
    paths: list[str]
    splits: NDArray[np.str_]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, split: str) -> Predictions:
        """The rows of one split."""
        return self.take(np.flatnonzero(self.splits == split))

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """Some rows, in that order."""
        every = self.probabilities
        return Predictions(
            ids=self.ids[rows],
            paths=[self.paths[row] for row in rows],
            splits=self.splits[rows],
            labels=self.labels[rows],
            predicted=self.predicted[rows],
            confidence=self.confidence[rows],
            probabilities=None if every is None else every[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What is known about a run."""

    run: Run
    status: RunStatus
    reason: str
    classes: tuple[str, ...]
    results: Mapping[str, Any]
    plan: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]
    findings: list[Finding]
    trials: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    counts: Mapping[str, NDArray[np.int64]]
    """Photos by class, `(classes,)`, for each split."""
    predictions: Predictions | None
    doubted: list[DoubtedLabel] = field(default_factory=list)
    watched: list[WatchedPart] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def metrics(self, split: str) -> Mapping[str, Any]:
        """The figures of a split, empty when there are none."""
        found = mapping(mapping(self.results.get("metrics")).get(split))
        return {k: v for k, v in found.items() if _is_figure(v)}

    @property
    def finished(self) -> bool:
        """Whether everything worth reporting is there.

        The report is itself the last stage of a run, so one that still runs but has its test
        figures counts as finished.
        """
        return self.status == RunStatus.COMPLETED or (
            self.status == RunStatus.RUNNING and bool(self.metrics("test"))
        )

    @property
    def cross_validated(self) -> bool:
        """Whether the headline comes from repeated k-fold, not from a test split."""
        return "fold" in str(self.results.get("protocol") or self.plan.get("protocol") or "")

    @property
    def headline(self) -> str:
        """The split whose figures count: `test`, or the best that is there."""
        known = mapping(self.results.get("metrics"))
        return next(
            (s for s in ("test", "valid", "train") if self.metrics(s)), next(iter(known), "test")
        )

    def class_name(self, index: int) -> str:
        """The readable name of a class."""
        return self.classes[index] if 0 <= index < len(self.classes) else f"class {index}"

    def evaluated(self) -> Predictions | None:
        """The predictions behind the headline figures."""
        every = self.predictions
        if every is None or not len(every):
            return None
        names, sizes = np.unique(every.splits, return_counts=True)
        split = self.headline if self.headline in names else str(names[sizes.argmax()])
        return every.of(split)

    def image(self, name: str) -> bytes | None:
        """A JPEG of the run's `images` folder, None when it is not there or damaged."""
        path = self.run.folder / "images" / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        return content if content[:3] == b"\xff\xd8\xff" and b"\xff\xd9" in content[-64:] else None


def read_measurements(run: Run) -> Measurements:
    """Everything in the run folder, with a sentence for each part that is not there."""
    missing: list[str] = []
    results = run.results
    photos = _attempt(lambda: pq.read_table(run.photos), "photos.parquet", missing)
    predictions = _attempt(
        lambda: as_predictions(pq.read_table(run.predictions)), "predictions.parquet", missing
    )
    classes = _classes(results, photos, predictions)
    curves, trials = run.metrics.read(), read_json_lines(run.trials)
    # A linear probe is solved, not trained step by step: it has no curve, and misses none.
    if not curves and results.get("model") != "linear probe":
        missing.append("There is no learning curve yet: metrics.jsonl is missing or empty.")
    if not trials:
        missing.append("There are no trials of a search: trials.jsonl is missing or empty.")
    findings = run.findings()
    return Measurements(
        run=run,
        status=run.status,
        reason=clean(run.reason, limit=600),
        classes=classes,
        results=results,
        plan=run.plan or {},
        config=run.config,
        environment=run.environment,
        stages=run.stages,
        findings=findings,
        trials=trials,
        curves=curves,
        counts=_counts(photos, len(classes)),
        predictions=predictions,
        doubted=doubted_labels(findings, photos),
        watched=read_watched(run, missing),
        missing=missing,
    )


def as_predictions(table: pa.Table) -> Predictions:
    """The columns of `predictions.parquet` as arrays."""
    rows = table.num_rows
    given = set(table.column_names)

    def numbers(name: str, kind: Any) -> Any:
        return table[name].to_numpy().astype(kind)

    every = None
    if "probabilities" in given and rows:
        flat = table["probabilities"].combine_chunks()
        every = flat.flatten().to_numpy(zero_copy_only=False).reshape(rows, -1).astype(np.float32)
    paths = table["path"].to_pylist() if "path" in given else [""] * rows
    splits = table["split"].to_pylist() if "split" in given else [""] * rows
    return Predictions(
        ids=numbers("id", np.int64),
        paths=[str(path) for path in paths],
        splits=np.array([split or "" for split in splits], dtype=np.str_),
        labels=numbers("class_index", np.int64),
        predicted=numbers("predicted", np.int64),
        confidence=numbers("confidence", np.float32),
        probabilities=every,
    )


def mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _attempt(read: Callable[[], T], name: str, missing: list[str]) -> T | None:
    try:
        return read()
    except FileNotFoundError:
        missing.append(f"{name} is not there: what is made from it is left out.")
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        missing.append(f"{name} cannot be read ({clean(error, limit=160)}).")
    return None


def _classes(
    results: Mapping[str, Any], photos: pa.Table | None, predictions: Predictions | None
) -> tuple[str, ...]:
    """Readable class names, made up from numbers where the run names none."""
    named = results.get("classes")
    if isinstance(named, list) and named:
        return tuple(
            clean(mapping(c).get("name") or mapping(c).get("original") or c, limit=120)
            for c in named
        )
    highest = -1
    if photos is not None and "class_index" in photos.column_names and photos.num_rows:
        highest = int(np.max(photos["class_index"].to_numpy()))
    if predictions is not None and len(predictions):
        highest = max(highest, int(predictions.labels.max()), int(predictions.predicted.max()))
    return tuple(f"class {index}" for index in range(highest + 1))


def _counts(photos: pa.Table | None, classes: int) -> Mapping[str, NDArray[np.int64]]:
    if photos is None or not {"split", "class_index"} <= set(photos.column_names):
        return {}
    index = photos["class_index"].to_numpy()
    splits = np.array([s or "" for s in photos["split"].to_pylist()], dtype=np.str_)
    found = {}
    for split in sorted(set(splits.tolist()), key=_split_order):
        inside = index[(splits == split) & (index >= 0) & (index < classes)]
        found[split] = np.bincount(inside, minlength=classes).astype(np.int64)
    return found


def _split_order(split: str) -> int:
    return ("train", "valid", "test", "").index(split) if split in ("train", "valid", "test") else 9


def _is_figure(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(_is_figure(v) for v in value)
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )
