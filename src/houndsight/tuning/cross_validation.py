"""Out-of-fold predictions of a head, and the search judged by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.events import Listener
from houndsight.training.calibrate import fit_temperature
from houndsight.training.head import HeadFitter, HeadParameters
from houndsight.training.metrics import evaluate_logits, softmax
from houndsight.tuning.folds import Indices, fold_numbers
from houndsight.tuning.head_space import fit, head_parameters
from houndsight.tuning.heads import head_tuner
from houndsight.tuning.history import TrialRecord
from houndsight.tuning.parameters import Space, Value
from houndsight.tuning.settings import TuningSettings
from houndsight.tuning.trial import Trial
from houndsight.tuning.tuner import TuningResult

__all__ = ["CrossValidation", "Tuned", "out_of_fold_probabilities", "tune_by_cross_validation"]

Array = npt.NDArray[Any]


class CrossValidation:
    """Features prepared once for each fold, so that any number of heads can be judged on them."""

    def __init__(
        self, features: Array, labels: Array, classes: int, numbers: Indices, *, seed: int = 0
    ) -> None:
        self.labels, self.classes = np.asarray(labels), classes
        self._features, self._numbers = features, numbers
        self._fitters = [
            (held_out, HeadFitter(features[~held_out], self.labels[~held_out], classes, seed=seed))
            for held_out in (numbers == number for number in np.unique(numbers))
        ]

    def logits(
        self, parameters: Mapping[str, Value], solver: str, *, quick: bool = False
    ) -> npt.NDArray[np.float32]:
        """Logits `(n, classes)`, each photo's by the head that has not seen it."""
        logits = np.empty((len(self.labels), self.classes), np.float32)
        for held_out, fitter in self._fitters:
            head = fit(fitter, parameters, solver, quick=quick)
            logits[held_out] = head.logits(self._features[held_out])
        return logits

    def logits_of(self, head: HeadParameters) -> npt.NDArray[np.float32]:
        """As `logits`, for the parameters of a head as they stand."""
        logits = np.empty((len(self.labels), self.classes), np.float32)
        for held_out, fitter in self._fitters:
            logits[held_out] = fitter.fit(head).logits(self._features[held_out])
        return logits

    def evaluate(self, parameters: Mapping[str, Value], solver: str) -> dict[str, float]:
        """The figures of all photos out of fold, by quick fits, after one common temperature."""
        logits = self.logits(parameters, solver, quick=True)
        temperature = fit_temperature(logits, self.labels)
        return evaluate_logits(logits, self.labels, temperature=temperature)


@dataclass(frozen=True)
class Tuned:
    """Hyperparameters chosen by cross-validation."""

    parameters: Mapping[str, Value]
    """As searched: those of the head, and learning rate and batch size with the SGD solver."""
    head: HeadParameters
    temperature: float
    """Fitted on the out-of-fold logits of the chosen parameters."""
    metrics: Mapping[str, float]
    """Out of fold and after temperature; what the choice was made by, so a little too good."""
    result: TuningResult


def tune_by_cross_validation(
    features: Array,
    labels: Array,
    classes: int,
    *,
    settings: TuningSettings,
    folds: int,
    groups: Array | None = None,
    seed: int = 0,
    space: Space | None = None,
    log: Path | None = None,
    warm_start: Iterable[TrialRecord] = (),
    listener: Listener | None = None,
    stage: str = "tune",
) -> Tuned:
    """The best parameters for features `(n, d)` by k-fold cross-validation within them.

    Raises:
        TuningError: every trial failed.
        DataError: the photos cannot be divided into folds.
    """
    numbers = fold_numbers(labels, folds, groups=groups, seed=seed)
    judge = CrossValidation(features, labels, classes, numbers, seed=seed)

    def evaluate(trial: Trial) -> Mapping[str, float]:
        return judge.evaluate(trial.parameters, settings.solver)

    tuner = head_tuner(labels, settings, space=space, log=log, warm_start=warm_start)
    result = tuner.run(evaluate, listener=listener, stage=stage)
    chosen = result.best.parameters
    logits = judge.logits(chosen, settings.solver)
    return Tuned(
        parameters=chosen,
        head=head_parameters(chosen, features, settings.solver),
        temperature=fit_temperature(logits, judge.labels),
        metrics=result.best.metrics,
        result=result,
    )


def out_of_fold_probabilities(
    features: Array,
    labels: Array,
    classes: int,
    parameters: HeadParameters,
    *,
    folds: int = 5,
    groups: Array | None = None,
    seed: int = 0,
) -> npt.NDArray[np.float32]:
    """Probabilities `(n, classes)` of photos by heads that have not seen them, calibrated.

    What `quality.disputed_labels` wants for the photos that the model was trained on.

    Raises:
        DataError: the photos cannot be divided into folds.
    """
    numbers = fold_numbers(labels, folds, groups=groups, seed=seed)
    judge = CrossValidation(features, labels, classes, numbers, seed=seed)
    logits = judge.logits_of(parameters)
    return softmax(logits, fit_temperature(logits, judge.labels)).astype(np.float32)
