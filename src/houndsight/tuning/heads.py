"""The search for the head's hyperparameters on cached features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from houndsight.events import Listener
from houndsight.training.head import FittedHead, HeadFitter, HeadParameters
from houndsight.tuning.head_space import first_guess, fit, head_space, sgd_space
from houndsight.tuning.history import TrialRecord
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

    The objective is measured after temperature scaling; the test split plays no part. Trials are
    quick probes; the best one's head is then fitted in full, so its figures are a little better
    than its trial's.

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

    def evaluate(trial: Trial) -> Mapping[str, float]:
        return fit(fitter, trial.parameters, settings.solver, quick=True).metrics

    result = tuner.run(evaluate, listener=listener, stage=stage)
    fitted = fit(fitter, result.best.parameters, settings.solver)
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
