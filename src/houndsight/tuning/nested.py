"""Honest figures from few photos: repeated k-fold with the tuning nested inside.

With under about a thousand photos one held-out split says little. So every photo is predicted by
heads that neither trained nor were tuned on it or its group (Varma and Simon 2006; Cawley and
Talbot 2010), several times over. The model that ships is another one: fitted on all photos with
settings chosen by cross-validation on all of them.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted
from houndsight.files import write_atomic
from houndsight.training.head import FittedHead, HeadFitter, HeadParameters
from houndsight.training.metrics import evaluate_probabilities, softmax
from houndsight.tuning.cross_validation import Tuned, tune_by_cross_validation
from houndsight.tuning.folds import fold_numbers
from houndsight.tuning.head_space import fit
from houndsight.tuning.parameters import Space
from houndsight.tuning.settings import TuningSettings

__all__ = ["NestedResult", "Spread", "nested_search"]

Array = npt.NDArray[Any]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spread:
    """A figure over the folds of all repeats."""

    mean: float
    """Mean over the repeats; in each, every photo is predicted once."""
    deviation: float
    """Standard deviation between folds."""
    low: float
    high: float
    """95 % interval, widened for the overlap of training parts (Nadeau and Bengio 2003)."""


@dataclass(frozen=True)
class NestedResult:
    """Figures that hold for new photos, and the model for them."""

    probabilities: Probabilities
    """`(n, classes)`, out of fold and calibrated, the mean over repeats."""
    by_repeat: Probabilities
    """`(repeats, n, classes)`; the metrics are computed from these, one repeat at a time."""
    metrics: Mapping[str, Spread]
    folds: int
    repeats: int
    chosen: Tuned
    """The search on all photos; its own metrics chose and so flatter."""
    fitted: FittedHead
    """The head fitted on all photos with the chosen parameters; this is what ships."""

    @property
    def parameters(self) -> HeadParameters:
        """The hyperparameters of the model that ships."""
        return self.fitted.parameters

    @property
    def protocol(self) -> str:
        """How the figures were obtained, for the report."""
        return (
            f"repeated k-fold: {self.repeats} times {self.folds} folds, "
            "the hyperparameters tuned anew inside each training part"
        )

    def to_json(self) -> dict[str, Any]:
        """The figures as plain values: each metric's mean, and beside it its spread."""
        means = {name: spread.mean for name, spread in self.metrics.items()}
        deviations = {f"{n}_deviation": s.deviation for n, s in self.metrics.items()}
        intervals = {f"{n}_interval": [s.low, s.high] for n, s in self.metrics.items()}
        return {**means, **deviations, **intervals, "count": float(len(self.probabilities))}


def nested_search(
    features: Array,
    labels: Array,
    classes: int,
    *,
    groups: Array | None = None,
    settings: TuningSettings | None = None,
    space: Space | None = None,
    folds: int = 5,
    inner_folds: int = 3,
    repeats: int = 3,
    seconds: float = math.inf,
    log: Path | None = None,
    keep: Path | None = None,
    listener: Listener | None = None,
    stage: str = "tune",
) -> NestedResult:
    """Tune, judge and fit a head on few photos.

    Args:
        features: `(n, d)`, of all photos.
        labels: `(n,)`, class indices.
        classes: how many classes there are.
        groups: `(n,)`, photos with equal numbers stay on one side.
        settings: trials, strategy, objective, solver, seed; used in every training part.
        space: what to search; None takes the default.
        folds: outer folds; fewer where there are too few groups.
        inner_folds: folds within each training part, and within all photos at the end.
        repeats: how often all folds are drawn anew.
        seconds: no further repeat is begun when it would not be done in this time.
        log: `trials.jsonl` of the final search on all photos.
        keep: a folder where finished folds are kept for a run that was cut off.
        listener: hears the progress, counted in folds.
        stage: the stage's name in events.

    Raises:
        DataError: the photos cannot be divided into folds.
        TuningError: every trial failed.
    """
    settings = settings or TuningSettings()
    job = _Job(
        features, np.asarray(labels), classes, groups, settings, space, folds, inner_folds, keep
    )
    emit = Emitter([listener] if listener else [])
    with _one_thread():
        return _run(job, repeats, seconds, log, emit, stage)


def _run(
    job: _Job, repeats: int, seconds: float, log: Path | None, emit: Emitter, stage: str
) -> NestedResult:
    clock, folds = time.monotonic(), job.folds
    text = f"Tuning and judging on {repeats} times {folds} folds"
    emit(StageStarted(stage=stage, text=text, total=repeats * folds + 1, unit="folds"))
    outer: list[_Repeat] = []
    for repeat in range(repeats):
        outer.append(job.repeat(repeat, emit, stage, total=repeats * folds + 1))
        spent = time.monotonic() - clock
        if spent + spent / (repeat + 1) > seconds:
            break
    chosen = tune_by_cross_validation(
        job.features,
        job.labels,
        job.classes,
        settings=job.settings,
        folds=job.inner_folds,
        groups=job.groups,
        seed=job.settings.seed,
        space=job.space,
        log=log,
    )
    result = _summary(job, outer, chosen)
    top1 = result.metrics["top1"]
    text = f"top-1 {top1.mean:.1%} ({top1.low:.1%} to {top1.high:.1%})"
    emit(StageEnded(stage=stage, seconds=time.monotonic() - clock, text=text))
    return result


@dataclass(frozen=True)
class _Repeat:
    probabilities: Probabilities
    numbers: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Job:
    features: Array
    labels: Array
    classes: int
    groups: Array | None
    settings: TuningSettings
    space: Space | None
    folds: int
    inner_folds: int
    keep: Path | None

    def repeat(self, repeat: int, emit: Emitter, stage: str, *, total: int) -> _Repeat:
        """Every photo predicted once."""
        seed = self.settings.seed + 1000 * (repeat + 1)
        numbers = fold_numbers(self.labels, self.folds, groups=self.groups, seed=seed)
        probabilities = np.empty((len(self.labels), self.classes), np.float32)
        for number in range(int(numbers.max()) + 1):
            held_out = numbers == number
            probabilities[held_out] = self._fold(held_out, seed, f"{repeat}-{number}")
            done = repeat * self.folds + number + 1
            emit(StageProgress(stage=stage, done=done, total=total))
        return _Repeat(probabilities, numbers)

    def _fold(self, held_out: npt.NDArray[np.bool_], seed: int, name: str) -> Probabilities:
        """Probabilities of the held-out photos, from the cut-off run when it had them."""
        path = None if self.keep is None else self.keep / f"fold-{name}-{self._digest(held_out)}"
        if path is not None and (kept := _read(path)) is not None:
            return kept
        probabilities = self._predict(held_out, seed)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            np.save(buffer, probabilities)
            write_atomic(path, buffer.getvalue())
        return probabilities

    def _predict(self, held_out: npt.NDArray[np.bool_], seed: int) -> Probabilities:
        train = ~held_out
        features, labels = self.features[train], self.labels[train]
        tuned = tune_by_cross_validation(
            features,
            labels,
            self.classes,
            settings=self.settings,
            folds=self.inner_folds,
            groups=None if self.groups is None else self.groups[train],
            seed=seed,
            space=self.space,
        )
        fitter = HeadFitter(features, labels, self.classes, seed=self.settings.seed)
        fitted = fit(fitter, tuned.parameters, self.settings.solver)
        logits = fitted.logits(self.features[held_out]).numpy()
        return softmax(logits, tuned.temperature).astype(np.float32)

    def _digest(self, held_out: npt.NDArray[np.bool_]) -> str:
        """Of everything a fold's probabilities depend on."""
        digest = hashlib.blake2b(digest_size=8)
        space = {name: p.to_json() for name, p in (self.space or {}).items()}
        digest.update(repr((self.settings.to_json(), space, self.inner_folds)).encode())
        for array in (self.features, self.labels, self.groups, held_out):
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small solves are quicker without threads, and then do not depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _read(path: Path) -> Probabilities | None:
    try:
        kept: Probabilities = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept


def _summary(job: _Job, outer: Sequence[_Repeat], chosen: Tuned) -> NestedResult:
    by_repeat = np.stack([repeat.probabilities for repeat in outer])
    fitter = HeadFitter(job.features, job.labels, job.classes, seed=job.settings.seed)
    fitted = fit(fitter, chosen.parameters, job.settings.solver)
    return NestedResult(
        probabilities=by_repeat.mean(0),
        by_repeat=by_repeat,
        metrics=_spreads(outer, job.labels),
        folds=int(outer[0].numbers.max()) + 1,
        repeats=len(outer),
        chosen=chosen,
        fitted=replace(fitted, temperature=chosen.temperature),
    )


def _spreads(outer: Sequence[_Repeat], labels: Array) -> dict[str, Spread]:
    whole = [evaluate_probabilities(r.probabilities, labels) for r in outer]
    parts = [
        evaluate_probabilities(r.probabilities[r.numbers == number], labels[r.numbers == number])
        for r in outer
        for number in range(int(r.numbers.max()) + 1)
    ]
    names = [name for name in whole[0] if name != "count"]
    return {
        name: _spread([w[name] for w in whole], [p[name] for p in parts], len(outer), name)
        for name in names
    }


def _spread(whole: list[float], parts: list[float], repeats: int, name: str) -> Spread:
    """Nadeau and Bengio 2003, "Inference for the generalization error", the corrected
    resampled t-test: variance times 1/J + n_test/n_train, which is 1/(folds - 1) for k-fold."""
    mean, deviation = float(np.mean(whole)), float(np.std(parts, ddof=1))
    count = len(parts)
    folds = count // repeats
    half = float(stats.t.ppf(0.975, count - 1)) * deviation
    half *= math.sqrt(1 / count + 1 / (folds - 1))
    ceiling = math.inf if name in ("nll", "brier") else 1.0
    return Spread(mean, deviation, max(0.0, mean - half), min(ceiling, mean + half))
