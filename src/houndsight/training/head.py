"""The head search's engine: many linear heads on the same cached features.

`HeadFitter` prepares features once and then fits one head for each set of hyperparameters, each
measured on validation photos after temperature scaling; `fit_heads` does both. Whatever is
chosen, the result is one linear layer on normalised features.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor

from houndsight.config import Settings, setting
from houndsight.errors import DataError
from houndsight.training.calibrate import fit_temperature
from houndsight.training.heads.balance import BALANCES, Balance
from houndsight.training.heads.logistic import LogisticFit, LogisticProblem, fit_logistic
from houndsight.training.heads.normalisation import NORMALISATIONS, Features, Normalisation, blocks
from houndsight.training.heads.sgd import fit_sgd
from houndsight.training.heads.space import FeatureSpace
from houndsight.training.metrics import evaluate_logits

if TYPE_CHECKING:
    from houndsight.models.classifier import Head

__all__ = ["FittedHead", "HeadFitter", "HeadParameters", "fit_head_sgd", "fit_heads"]

Pair = tuple[Features, Features]
"""Features `(n, d)` and labels `(n,)`."""


@dataclass(frozen=True, kw_only=True)
class HeadParameters(Settings):
    """The hyperparameters of one head."""

    section: ClassVar[str] = "head"

    weight_decay: float = setting(1e-4, minimum=0.0)
    """Factor of half the squared weights, beside the mean loss of a photo."""
    label_smoothing: float = setting(0.0, minimum=0.0, maximum=0.9)
    """Share of a label's probability that is spread over all classes."""
    shrinkage: float = setting(1.0, minimum=0.0, maximum=1.0)
    """At 1 the weight decay holds for all directions of the features alike; the smaller, the
    more it bears on those along which photos of one class differ."""
    balance: str = setting("none", choices=BALANCES)
    """How class imbalance is treated."""
    balance_strength: float = setting(1.0, minimum=0.0, maximum=2.0)
    """How strongly: 0 not at all, 1 in full."""
    normalise: str = setting("none", choices=NORMALISATIONS)
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

        classes, width = self.weight.shape
        kind = cast(Literal["none", "l2", "standardise"], self.normalise)
        head = Head(width, classes, normalise=kind)
        head.load_state_dict(
            {
                "linear.weight": self.weight,
                "linear.bias": self.bias,
                "center": self.center,
                "scale": self.scale,
            }
        )
        return head

    def logits(self, features: Features) -> Tensor:
        """Logits `(n, classes)` of features `(n, d)`, temperature left out."""
        normalise = Normalisation(self.normalise, self.center, self.scale)
        parts = [normalise(part) @ self.weight.T + self.bias for part in blocks(features)]
        return torch.cat(parts) if parts else self.bias.new_zeros(0, len(self.bias))


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
        self._prepared: dict[str, _Prepared] = {}

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
        self, parameters: HeadParameters, prepared: _Prepared, *, tolerance: float
    ) -> FittedHead:
        started = time.perf_counter()
        fit = prepared.fit(parameters, self.seed, tolerance=tolerance)
        return self._fitted(parameters, prepared, fit, started)

    def _prepare(self, normalise: str) -> _Prepared:
        if normalise not in self._prepared:
            space = FeatureSpace.fit(
                self.features, self.labels, self.classes, normalise, seed=self.seed
            )
            rows = None if self._valid is None else space.project(self._valid[0])
            labels = self.labels[space.chosen]
            self._prepared[normalise] = _Prepared(space, labels, self.classes, rows)
        return self._prepared[normalise]

    def _fitted(
        self, parameters: HeadParameters, prepared: _Prepared, fit: LogisticFit, started: float
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


@dataclass
class _Prepared:
    """The photos in one normalisation, and solutions to start from."""

    space: FeatureSpace
    labels: Tensor
    classes: int
    valid_rows: Tensor | None
    anchors: dict[int, LogisticFit] = field(default_factory=dict)

    @cached_property
    def leading(self) -> _Prepared:
        """The same with the first axes only; itself when it has no more."""
        if len(self.space.variances) <= PROBE_RANK:
            return self
        rows = None if self.valid_rows is None else self.valid_rows[:, :PROBE_RANK].contiguous()
        return _Prepared(self.space.leading(PROBE_RANK), self.labels, self.classes, rows)

    def fit(self, parameters: HeadParameters, seed: int, *, tolerance: float) -> LogisticFit:
        """The solution, from a start that depends on the photos and the weight decay alone."""
        problem = self._problem(parameters, self.balance(parameters, seed))
        start = self.leading._start(parameters.weight_decay)
        start = start.widened(len(self.space.variances))
        return fit_logistic(problem, start, tolerance=tolerance)

    def balance(self, parameters: HeadParameters, seed: int) -> Balance:
        kind, strength = parameters.balance, parameters.balance_strength
        return Balance.of(kind, strength, self.labels, self.classes, seed)

    def _problem(self, parameters: HeadParameters, balance: Balance) -> LogisticProblem:
        return LogisticProblem(
            rows=self.space.rows,
            labels=self.labels,
            variances=self.space.variances,
            metric=self.space.metric(parameters.shrinkage),
            row_weights=balance.row_weights,
            offsets=balance.offsets,
            weight_decay=parameters.weight_decay,
            label_smoothing=parameters.label_smoothing,
        )

    def _start(self, weight_decay: float) -> LogisticFit:
        """A point near the solution, between the anchors on either side."""
        relative = weight_decay * len(self.labels) / max(self.space.squared_length, 1e-30)
        place = min(max(math.log10(max(relative, 1e-30)), LAST_DECADE), FIRST_DECADE)
        below = min(math.floor(place), FIRST_DECADE - 1)
        return self._anchor(below + 1).towards(self._anchor(below), below + 1 - place)

    def _anchor(self, decade: int) -> LogisticFit:
        """A plain head to start from, with the weight decay of a whole decade.

        Heads are started from these and not from each other, so that one does not depend on what
        was fitted before it. Each is started from its stronger neighbour.
        """
        if decade not in self.anchors:
            start = None if decade >= FIRST_DECADE else self._anchor(decade + 1)
            decay = 10.0**decade * self.space.squared_length / len(self.labels)
            plain = HeadParameters(weight_decay=decay, shrinkage=ANCHOR_SHRINKAGE)
            self.anchors[decade] = fit_logistic(self._problem(plain, self.balance(plain, 0)), start)
        return self.anchors[decade]


TOLERANCE, PROBE_TOLERANCE = 0.01, 0.03
"""See `fit_logistic`; on the 120 breeds the validation loss then is within 0.1 and 0.5 % of where
it ends."""
PROBE_RANK = 256
FIRST_DECADE, LAST_DECADE = 1, -1
"""Anchors' weight decays: powers of ten of the mean squared length of a photo over their number,
which for unit length is the inverse of scikit-learn's C."""
ANCHOR_SHRINKAGE = 0.8
ANCHOR_TOLERANCE = 0.05


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
