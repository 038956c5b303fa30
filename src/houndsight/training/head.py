"""The head search's engine: many linear heads on the same cached features.

`HeadFitter` prepares features once and then fits one head for each set of hyperparameters, each
measured on validation photos after temperature scaling; `fit_heads` does both. Whatever is
chosen, the result is one linear layer on normalised features.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from houndsight.errors import DataError
from houndsight.training.calibrate import fit_temperature
from houndsight.training.heads.fitted import FittedHead
from houndsight.training.heads.logistic import LogisticFit
from houndsight.training.heads.normalisation import Features
from houndsight.training.heads.parameters import HeadParameters
from houndsight.training.heads.prepared import PreparedPhotos
from houndsight.training.heads.sgd import fit_sgd
from houndsight.training.heads.space import FeatureSpace
from houndsight.training.metrics import evaluate_logits

__all__ = ["FittedHead", "HeadFitter", "HeadParameters", "fit_head_sgd", "fit_heads"]

TOLERANCE, PROBE_TOLERANCE = 0.01, 0.03
"""See `fit_logistic`; on the 120 breeds the validation loss then is within 0.1 and 0.5 % of where
it ends."""

Pair = tuple[Features, Features]
"""Features `(n, d)` and labels `(n,)`."""


class HeadFitter:
    """Training and validation photos, prepared once for any number of heads.

    Args:
        features: `(n, d)`, of the training photos; a memory map is streamed.
        labels: `(n,)`, class indices.
        classes: how many classes there are, also without photos.
        valid: features and labels of the validation photos; with them a head has a temperature
            and metrics.
        seed: where the randomness of sampling and of large problems starts.

    Raises:
        DataError: rows and labels do not fit together.
    """

    def __init__(
        self,
        features: Features,
        labels: Features,
        classes: int,
        *,
        valid: Pair | None = None,
        seed: int = 0,
    ) -> None:
        self.features, self.labels = features, _labels(features, labels, classes)
        self.classes, self.seed = classes, seed
        self._valid: tuple[Features, Tensor] | None = None
        if valid is not None and len(valid[0]):
            self._valid = (valid[0], _labels(*valid, classes))
        self._prepared: dict[str, PreparedPhotos] = {}
        self._lock = threading.Lock()

    def fit(self, parameters: HeadParameters) -> FittedHead:
        """One head, trained to convergence; the same whatever was fitted before it.

        Raises:
            DataError: there is no photo, or a feature is not finite.
        """
        prepared = self._prepare(parameters.normalise)
        return self._fit(parameters, prepared, tolerance=TOLERANCE)

    def probe(self, parameters: HeadParameters) -> FittedHead:
        """As `fit`, on the leading axes of the features alone: several times quicker.

        Its loss is a few percent higher, for all hyperparameters alike: good for comparing them.

        Raises:
            DataError: there is no photo, or a feature is not finite.
        """
        prepared = self._prepare(parameters.normalise).leading
        return self._fit(parameters, prepared, tolerance=PROBE_TOLERANCE)

    def fit_sgd(
        self, parameters: HeadParameters, *, learning_rate: float, batch_size: int, epochs: int = 5
    ) -> FittedHead:
        """One head by minibatch gradient descent; class weights are used as sampling weights.

        Raises:
            DataError: there is no photo, or a feature is not finite.
        """
        started = time.perf_counter()
        prepared = self._prepare(parameters.normalise)
        balance = prepared.balance(parameters, self.seed)
        weights, bias = fit_sgd(
            prepared.space.rows,
            prepared.labels,
            self.classes,
            learning_rate=learning_rate,
            batch_size=batch_size,
            weight_decay=parameters.weight_decay,
            label_smoothing=parameters.label_smoothing,
            epochs=epochs,
            offsets=balance.offsets,
            row_weights=None if parameters.balance == "none" else balance.row_weights,
            seed=self.seed,
        )
        steps = epochs * -(-len(prepared.labels) // batch_size)
        fit = LogisticFit(weights, bias, weights.new_zeros(0), iterations=steps)
        return self._fitted(parameters, prepared, fit, started)

    def _fit(
        self, parameters: HeadParameters, prepared: PreparedPhotos, *, tolerance: float
    ) -> FittedHead:
        started = time.perf_counter()
        fit = prepared.fit(parameters, self.seed, tolerance=tolerance)
        return self._fitted(parameters, prepared, fit, started)

    def _prepare(self, normalise: str) -> PreparedPhotos:
        with self._lock:
            if normalise not in self._prepared:
                space = FeatureSpace.fit(
                    self.features, self.labels, self.classes, normalise, seed=self.seed
                )
                rows = None if self._valid is None else space.project(self._valid[0])
                labels = self.labels[space.chosen]
                self._prepared[normalise] = PreparedPhotos(space, labels, self.classes, rows)
            return self._prepared[normalise]

    def _fitted(
        self, parameters: HeadParameters, prepared: PreparedPhotos, fit: LogisticFit, started: float
    ) -> FittedHead:
        temperature, metrics = 1.0, dict[str, float]()
        if self._valid is not None and prepared.valid_rows is not None:
            logits = (prepared.valid_rows @ fit.weights.T + fit.bias).numpy()
            labels = self._valid[1].numpy()
            temperature = fit_temperature(logits, labels)
            metrics = evaluate_logits(logits, labels, temperature=temperature)
        weight, bias = prepared.space.unproject(fit.weights, fit.bias)
        normalisation = prepared.space.normalisation
        return FittedHead(
            parameters=parameters,
            weight=weight,
            bias=bias,
            normalise=parameters.normalise,
            center=normalisation.center,
            scale=normalisation.scale,
            temperature=temperature,
            metrics=metrics,
            seconds=time.perf_counter() - started,
            iterations=fit.iterations,
            converged=fit.converged,
        )


def fit_heads(
    features: Features,
    labels: Features,
    parameters: Sequence[HeadParameters],
    classes: int,
    *,
    valid: Pair | None = None,
    seed: int = 0,
) -> list[FittedHead]:
    """One head for each set of `parameters`, in order, each trained to convergence.

    `features` `(n, d)` and `labels` `(n,)` are the training photos, `valid` the same two of
    the validation photos: with them a head has a temperature and metrics.

    Raises:
        DataError: rows and labels do not fit together, or a feature is not finite.
    """
    fitter = HeadFitter(features, labels, classes, valid=valid, seed=seed)
    return [fitter.fit(each) for each in parameters]


def fit_head_sgd(
    features: Features,
    labels: Features,
    classes: int,
    *,
    learning_rate: float,
    batch_size: int,
    parameters: HeadParameters | None = None,
    epochs: int = 5,
    valid: Pair | None = None,
    seed: int = 0,
) -> FittedHead:
    """One head by minibatch gradient descent with momentum, the original project's way.

    Raises:
        DataError: rows and labels do not fit together, or a feature is not finite.
    """
    fitter = HeadFitter(features, labels, classes, valid=valid, seed=seed)
    return fitter.fit_sgd(
        parameters or HeadParameters(weight_decay=0.0),
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
    )


def _labels(features: Features, labels: Features, classes: int) -> Tensor:
    """The labels `(n,)` as a tensor, checked against the rows."""
    numbers = torch.as_tensor(np.asarray(labels)).long()
    if len(features) != len(numbers):
        raise DataError(
            f"There are {len(features)} feature rows and {len(numbers)} labels; "
            "there must be one label a row."
        )
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
        raise DataError(
            f"The labels go from {int(numbers.min())} to {int(numbers.max())}; "
            f"with {classes} classes they must lie between 0 and {classes - 1}."
        )
    return numbers
