"""The search for the head's hyperparameters on cached features."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.events import Listener
from houndsight.training.head import FittedHead, HeadFitter, HeadParameters
from houndsight.tuning.head_space import first_guess, fit, head_space, sgd_space
from houndsight.tuning.history import Direction, TrialRecord
from houndsight.tuning.parameters import Space
from houndsight.tuning.settings import OBJECTIVE_DIRECTIONS, TuningSettings
from houndsight.tuning.stopping import EarlyStopping
from houndsight.tuning.trial import Trial
from houndsight.tuning.tuner import Tuner, TuningResult

__all__ = ["HeadSearch", "head_tuner", "search_heads"]

Array = npt.NDArray[Any]

NEGLIGIBLE = {"nll": 1e-4, "brier": 1e-4, "ece": 1e-4}
"""Objectives closer than this count as equal; shares of photos must be equal."""


@dataclass(frozen=True)
class HeadSearch:
    """What the search found: the best head, fitted and calibrated, and every trial."""

    fitted: FittedHead
    parameters: HeadParameters
    result: TuningResult

    @property
    def best(self) -> TrialRecord:
        """The best trial."""
        return self.result.best


def search_heads(
    features: Array,
    labels: Array,
    classes: int,
    *,
    valid: tuple[Array, Array],
    settings: TuningSettings | None = None,
    space: Space | None = None,
    log: Path | None = None,
    warm_start: Iterable[TrialRecord] = (),
    listener: Listener | None = None,
    stage: str = "tune",
) -> HeadSearch:
    """The best head for features `(n, d)` with labels `(n,)`, judged on the validation photos.

    The objective is measured after temperature scaling; the test split plays no part.

    Args:
        features: of the training photos.
        labels: class indices.
        classes: how many classes there are, also without photos.
        valid: features and labels of the validation photos.
        settings: trials, strategy, objective, solver, seed.
        space: what to search; None takes the solver's default for these labels.
        log: `trials.jsonl`, where finished trials are kept.
        warm_start: trials of an earlier search.
        listener: hears the progress.
        stage: the stage's name in events.

    Raises:
        TuningError: every trial failed.
        DataError: rows and labels do not fit together, or a feature is not finite.
    """
    settings = settings or TuningSettings()
    fitter = HeadFitter(features, labels, classes, valid=valid, seed=settings.seed)
    tuner = head_tuner(labels, settings, space=space, log=log, warm_start=warm_start)
    keeper = _Keeper(fitter, settings)
    result = tuner.run(keeper.evaluate, listener=listener, stage=stage)
    fitted = keeper.head_of(result.best)
    return HeadSearch(fitted, fitted.parameters, result)


def head_tuner(
    labels: Array,
    settings: TuningSettings,
    *,
    space: Space | None = None,
    log: Path | None = None,
    warm_start: Iterable[TrialRecord] = (),
) -> Tuner:
    """The tuner these settings describe, with a first trial that is rarely bad.

    Among trials that are equally good, the better top-1 decides for `nll`, and the lower loss
    for the others; then the earlier trial.
    """
    if space is None:
        space = (sgd_space if settings.solver == "sgd" else head_space)(labels)
    other = "top1" if settings.objective == "nll" else "nll"
    return Tuner(
        space,
        settings.strategy,
        objective=settings.objective,
        direction=OBJECTIVE_DIRECTIONS[settings.objective],
        trials=settings.trials,
        log=log,
        parallel=settings.parallel,
        seed=settings.seed,
        given=() if settings.strategy == "grid" else first_guess(space, len(labels)),
        warm_start=warm_start,
        early_stopping=EarlyStopping(patience=settings.patience, trials=settings.stop_trials),
        tie_breakers=[(other, OBJECTIVE_DIRECTIONS[other])],
        tolerance=NEGLIGIBLE.get(settings.objective, 0.0),
    )


class _Keeper:
    """Fits the trials' heads and keeps the best, so that it need not be fitted again."""

    def __init__(self, fitter: HeadFitter, settings: TuningSettings) -> None:
        self._fitter, self._settings = fitter, settings
        self._direction = Direction(OBJECTIVE_DIRECTIONS[settings.objective])
        self._lock = threading.Lock()
        self._number = -1
        self._fitted: FittedHead | None = None

    def evaluate(self, trial: Trial) -> Mapping[str, float]:
        fitted = fit(self._fitter, trial.parameters, self._settings.solver)
        with self._lock:
            if self._is_best(fitted.metrics):
                self._number, self._fitted = trial.number, fitted
        return fitted.metrics

    def head_of(self, record: TrialRecord) -> FittedHead:
        """The head of the best trial; fitted again when it was trained before a crash."""
        if self._fitted is not None and self._number == record.number:
            return self._fitted
        return fit(self._fitter, record.parameters, self._settings.solver)

    def _is_best(self, metrics: Mapping[str, float]) -> bool:
        value = metrics.get(self._settings.objective, float("nan"))
        if not np.isfinite(value):
            return False
        if self._fitted is None:
            return True
        return self._direction.better(value, self._fitted.metrics[self._settings.objective])
