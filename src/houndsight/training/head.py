"""The head search's engine: many linear heads on the same cached features.

`fit_heads` fits one head for each set of hyperparameters and measures it on validation data
after temperature scaling. Every result is one linear layer on normalised features.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from houndsight.config import Settings, setting
from houndsight.errors import DataError
from houndsight.training.heads.balance import BALANCES, Balance
from houndsight.training.heads.logistic import LogisticProblem, fit_logistic
from houndsight.training.heads.sgd import fit_sgd
from houndsight.training.heads.space import NORMALISATIONS, FeatureSpace

if TYPE_CHECKING:
    from houndsight.models.classifier import Head

__all__ = ["FittedHead", "HeadFitter", "HeadParameters", "fit_head_sgd", "fit_heads"]


@dataclass(frozen=True, kw_only=True)
class HeadParameters(Settings):
    """The hyperparameters of one head."""

    section = "head"

    weight_decay: float = setting(1e-4, minimum=0.0)
    """Factor of half the squared weights, beside the mean loss of a photo."""
    label_smoothing: float = setting(0.0, minimum=0.0, maximum=0.9)
    """Share of a label's probability that is spread over all classes."""
    balance: str = setting("none", choices=BALANCES)
    """How class imbalance is treated."""
    balance_strength: float = setting(1.0, minimum=0.0, maximum=2.0)
    """How strongly: 0 not at all, 1 in full."""
    normalise: str = setting("l2", choices=NORMALISATIONS)
    """What happens to a photo's features before the linear layer."""


@dataclass(frozen=True)
class FittedHead:
    """A linear head and how well it does on the validation photos."""

    parameters: HeadParameters
    weight: Tensor
    """`(classes, d)`, for the normalised features."""
    bias: Tensor
    """`(classes,)`"""
    normalise: str
    center: Tensor
    """`(d,)`"""
    scale: Tensor
    """`(d,)`"""
    temperature: float = 1.0
    """Logits are divided by it, fitted on the validation photos."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the validation photos, after temperature scaling; empty without any."""
    seconds: float = 0.0
    iterations: int = 0
    converged: bool = True

    @property
    def head(self) -> Head:
        """The head as a module: features `(n, d)` to logits, temperature left out."""
        from houndsight.models.classifier import Head

        head = Head(self.weight.shape[1], self.weight.shape[0], normalise=self.normalise)
        state = {
            "linear.weight": self.weight,
            "linear.bias": self.bias,
            "center": self.center,
            "scale": self.scale,
        }
        head.load_state_dict(state, strict=False)
        return head

    def logits(self, features: np.ndarray[Any, Any] | Tensor) -> Tensor:
        """Logits `(n, classes)` of features `(n, d)`, temperature left out."""
        from houndsight.training.heads.space import Normalisation

        normalised = Normalisation(self.normalise, self.center, self.scale)(_tensor(features))
        return normalised @ self.weight.T + self.bias


class HeadFitter:
    """Features, labels and validation photos, prepared once for any number of heads."""

    def __init__(
        self,
        features: np.ndarray[Any, Any] | Tensor,
        labels: np.ndarray[Any, Any] | Tensor,
        classes: int,
        *,
        valid: tuple[Any, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.features, self.labels = _tensor(features), torch.as_tensor(np.asarray(labels)).long()
        self.classes, self.seed = classes, seed
        if len(self.features) != len(self.labels):
            raise DataError(
                f"There are {len(self.features)} feature rows and {len(self.labels)} labels; "
                "there must be one label a row."
            )
        self.valid = None
        if valid is not None and len(valid[1]):
            self.valid = (_tensor(valid[0]), torch.as_tensor(np.asarray(valid[1])).long())
        self._spaces: dict[str, tuple[FeatureSpace, Tensor | None]] = {}

    def fit(self, parameters: HeadParameters) -> FittedHead:
        """One head, the same whatever was fitted before it."""
        started = time.perf_counter()
        space, _ = self._space(parameters.normalise)
        balance = Balance.of(
            parameters.balance, parameters.balance_strength, self.labels, self.classes, self.seed
        )
        problem = LogisticProblem(
            space.rows,
            self.labels,
            space.variances,
            balance.row_weights,
            balance.offsets,
            parameters.weight_decay,
            parameters.label_smoothing,
        )
        fit = fit_logistic(problem)
        return self._fitted(
            parameters, fit.weights, fit.bias, started, fit.iterations, fit.converged
        )

    def fit_sgd(
        self, parameters: HeadParameters, *, learning_rate: float, batch_size: int, epochs: int = 5
    ) -> FittedHead:
        """One head by minibatch gradient descent; class weights are used as sampling weights."""
        started = time.perf_counter()
        space, _ = self._space(parameters.normalise)
        balance = Balance.of(
            parameters.balance, parameters.balance_strength, self.labels, self.classes, self.seed
        )
        weights, bias = fit_sgd(
            space.rows,
            self.labels,
            self.classes,
            learning_rate=learning_rate,
            batch_size=batch_size,
            weight_decay=parameters.weight_decay,
            label_smoothing=parameters.label_smoothing,
            epochs=epochs,
            offsets=balance.offsets,
            row_weights=balance.row_weights if parameters.balance != "none" else None,
            seed=self.seed,
        )
        steps = epochs * -(-len(self.labels) // batch_size)
        return self._fitted(parameters, weights, bias, started, steps, True)

    def _fitted(
        self,
        parameters: HeadParameters,
        weights: Tensor,
        bias: Tensor,
        started: float,
        iterations: int,
        converged: bool,
    ) -> FittedHead:
        space, valid_rows = self._space(parameters.normalise)
        temperature, metrics = 1.0, dict[str, float]()
        if self.valid is not None and valid_rows is not None:
            temperature, metrics = _measure(valid_rows @ weights.T + bias, self.valid[1])
        weight, bias = space.unproject(weights, bias)
        return FittedHead(
            parameters=parameters,
            weight=weight,
            bias=bias,
            normalise=parameters.normalise,
            center=space.normalisation.center,
            scale=space.normalisation.scale,
            temperature=temperature,
            metrics=metrics,
            seconds=time.perf_counter() - started,
            iterations=iterations,
            converged=converged,
        )

    def _space(self, normalise: str) -> tuple[FeatureSpace, Tensor | None]:
        if normalise not in self._spaces:
            space = FeatureSpace.fit(self.features, normalise)
            rows = None if self.valid is None else space.project(self.valid[0])
            self._spaces[normalise] = (space, rows)
        return self._spaces[normalise]


def fit_heads(
    features: np.ndarray[Any, Any] | Tensor,
    labels: np.ndarray[Any, Any] | Tensor,
    parameters: Sequence[HeadParameters],
    classes: int,
    *,
    valid: tuple[Any, Any] | None = None,
    seed: int = 0,
) -> list[FittedHead]:
    """One head for each set of `parameters`, in order; the same on every call.

    `features` `(n, d)` and `labels` `(n,)` are the training photos, `valid` the same two of
    the validation photos: with them a head has a temperature and metrics.

    Raises:
        DataError: the rows do not fit the labels, or a feature is not finite.
    """
    space = HeadFitter(features, labels, classes, valid=valid, seed=seed)
    return [space.fit(each) for each in parameters]


def fit_head_sgd(
    features: np.ndarray[Any, Any] | Tensor,
    labels: np.ndarray[Any, Any] | Tensor,
    classes: int,
    *,
    learning_rate: float,
    batch_size: int,
    parameters: HeadParameters | None = None,
    epochs: int = 5,
    valid: tuple[Any, Any] | None = None,
    seed: int = 0,
) -> FittedHead:
    """One head by minibatch gradient descent with momentum, the original project's way."""
    fitter = HeadFitter(features, labels, classes, valid=valid, seed=seed)
    return fitter.fit_sgd(
        parameters or HeadParameters(weight_decay=0.0),
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
    )


def _measure(logits: Tensor, labels: Tensor) -> tuple[float, dict[str, float]]:
    from houndsight.training.calibrate import fit_temperature
    from houndsight.training.metrics import evaluate_probabilities

    temperature = fit_temperature(logits.numpy(), labels.numpy())
    probabilities = torch.softmax(logits / temperature, dim=1)
    return temperature, evaluate_probabilities(probabilities.numpy(), labels.numpy())


def _tensor(features: np.ndarray[Any, Any] | Tensor) -> Tensor:
    return torch.as_tensor(features).to(torch.float32)
