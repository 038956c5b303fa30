"""Photos prepared for fits, with solutions to start them from."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from houndsight.training.heads.balance import Balance
from houndsight.training.heads.logistic import LogisticFit, LogisticProblem, fit_logistic
from houndsight.training.heads.parameters import HeadParameters
from houndsight.training.heads.space import FeatureSpace

__all__ = ["PreparedPhotos"]

PROBE_RANK = 256
"""Axes that `leading` keeps."""
FIRST_DECADE, LAST_DECADE = 1, -1
"""Anchors' weight decays: powers of ten of the mean squared length of a photo over their number,
which for unit length is the inverse of scikit-learn's C."""
ANCHOR_SHRINKAGE = 0.8
ANCHOR_TOLERANCE = 0.05


@dataclass
class PreparedPhotos:
    """The photos in one normalisation, and solutions to start from."""

    space: FeatureSpace
    labels: Tensor
    """`(m,)`, of the space's rows."""
    classes: int
    valid_rows: Tensor | None
    """`(v, k)`, the validation photos in the space."""
    _anchors: dict[int, LogisticFit] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @cached_property
    def leading(self) -> PreparedPhotos:
        """The same with the first axes only; itself when it has no more."""
        if len(self.space.variances) <= PROBE_RANK:
            return self
        rows = None if self.valid_rows is None else self.valid_rows[:, :PROBE_RANK].contiguous()
        return PreparedPhotos(self.space.leading(PROBE_RANK), self.labels, self.classes, rows)

    def fit(self, parameters: HeadParameters, seed: int, *, tolerance: float) -> LogisticFit:
        """The solution, from a start that depends on the photos and the weight decay alone."""
        problem = self._problem(parameters, self.balance(parameters, seed))
        start = self.leading._start(parameters.weight_decay)
        start = start.widened(len(self.space.variances))
        return fit_logistic(problem, start, tolerance=tolerance)

    def balance(self, parameters: HeadParameters, seed: int) -> Balance:
        """What the parameters' treatment of imbalance means for these labels."""
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
        with self._lock:
            if decade not in self._anchors:
                start = None if decade >= FIRST_DECADE else self._anchor(decade + 1)
                decay = 10.0**decade * self.space.squared_length / len(self.labels)
                plain = HeadParameters(weight_decay=decay, shrinkage=ANCHOR_SHRINKAGE)
                problem = self._problem(plain, self.balance(plain, 0))
                self._anchors[decade] = fit_logistic(problem, start, tolerance=ANCHOR_TOLERANCE)
            return self._anchors[decade]
