"""Multinomial logistic regression by preconditioned L-BFGS.

The rows stand on the principal axes of the features (`FeatureSpace`), so the loss's curvature
is nearly the same for all classes and nearly diagonal; with the penalty's metric it makes a
preconditioner that is factorised once. Logits are linear in the weights, so a line search costs
softmaxes but no matrix product: an iteration takes two products with the rows, whatever the
search along its direction needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from houndsight.training.heads.factor import cholesky

__all__ = ["LogisticFit", "LogisticProblem", "fit_logistic"]

HISTORY = 10
"""Pairs kept by L-BFGS (Nocedal and Wright 2006, section 7.2, advise 3 to 20)."""
CURVATURE = 0.5
"""The loss's curvature along an axis is taken to be this times its variance over the number of
classes; 1 is its value at zero weights, and it falls as the photos are learnt."""


@dataclass(frozen=True)
class LogisticProblem:
    """The mean smoothed cross-entropy of `rows @ weights.T + bias + offsets`, and the penalty.

    `weight_decay` is the factor of half the squared weights in `metric`, beside a mean over
    photos: with n photos and the identity it is 1 / (C n) of scikit-learn's C. The bias is not
    penalised.
    """

    rows: Tensor
    """`(n, k)`, centred."""
    labels: Tensor
    """`(n,)`"""
    variances: Tensor
    """`(k,)`, of the rows along each axis."""
    metric: Tensor
    """`(k, k)`, positive definite."""
    row_weights: Tensor
    """`(n,)`, adding up to 1."""
    offsets: Tensor
    """`(classes,)`, added to the logits."""
    weight_decay: float
    label_smoothing: float

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.offsets)


@dataclass(frozen=True)
class LogisticFit:
    """Weights `(classes, k)`, bias `(classes,)` and how they were found."""

    weights: Tensor
    bias: Tensor
    logits: Tensor
    """`(n, classes)`, of the training rows, without offsets."""
    loss: float = 0.0
    iterations: int = 0
    converged: bool = True

    def towards(self, other: LogisticFit, share: float) -> LogisticFit:
        """A point between this one and `other`, to start from."""
        return LogisticFit(
            torch.lerp(self.weights, other.weights, share),
            torch.lerp(self.bias, other.bias, share),
            torch.lerp(self.logits, other.logits, share),
        )

    def widened(self, width: int) -> LogisticFit:
        """The same with weight 0 on further axes, `width` of them in all."""
        padding = (0, width - self.weights.shape[1])
        return LogisticFit(torch.nn.functional.pad(self.weights, padding), self.bias, self.logits)


def fit_logistic(
    problem: LogisticProblem,
    start: LogisticFit | None = None,
    *,
    tolerance: float = 1e-2,
    max_iterations: int = 100,
) -> LogisticFit:
    """Minimise the problem, from `start` or from zero weights.

    It has converged when the loss is expected to fall by less than `tolerance` squared of it.
    """
    solver = _Solver(problem, start)
    while not solver.expects_less_than(tolerance**2) and solver.iterations < max_iterations:
        if not solver.step():
            break
    return LogisticFit(
        solver.point.weights,
        solver.point.bias,
        solver.logits - problem.offsets,
        solver.loss,
        solver.iterations,
        solver.stuck or solver.expects_less_than(tolerance**2),
    )


@dataclass(frozen=True)
class _Point:
    """Weights and bias, or a direction or gradient of both."""

    weights: Tensor
    bias: Tensor

    def plus(self, size: Tensor | float, other: _Point) -> _Point:
        return _Point(
            torch.add(self.weights, other.weights * size), torch.add(self.bias, other.bias * size)
        )

    def times(self, size: Tensor | float) -> _Point:
        return _Point(self.weights * size, self.bias * size)

    def dot(self, other: _Point) -> Tensor:
        flat = torch.dot(self.weights.flatten(), other.weights.flatten())
        return flat + torch.dot(self.bias, other.bias)


class _Solver:
    """L-BFGS, one `step` at a time."""

    def __init__(self, problem: LogisticProblem, start: LogisticFit | None) -> None:
        self.problem = problem
        rows, width = problem.rows, problem.rows.shape[1]
        if start is None:
            zeros = rows.new_zeros
            self.point = _Point(zeros(problem.classes, width), zeros(problem.classes))
            self.logits = problem.offsets.expand(len(rows), -1)
        else:
            self.point = _Point(start.weights, start.bias)
            self.logits = start.logits + problem.offsets
        self._penalty = problem.weight_decay * problem.metric
        self._bias_curvature = CURVATURE / problem.classes
        matrix = self._penalty + torch.diag(self._bias_curvature * problem.variances)
        self._inverse = torch.cholesky_inverse(cholesky(matrix))
        self.loss, residual = _data_term(problem, self.logits)
        self._pull = self.point.weights @ self._penalty
        self.loss += float((self._pull * self.point.weights).sum()) / 2
        self.gradient = self._gradient(residual)
        self.iterations, self.stuck = 0, False
        self._pairs: list[tuple[_Point, _Point]] = []
        self._aim()

    def expects_less_than(self, share: float) -> bool:
        """Whether the quadratic model promises less than this share of the loss."""
        return -self.slope / 2 <= share * max(self.loss, 1e-6)

    def step(self) -> bool:
        """One iteration; False when the loss cannot be lowered any more in float32."""
        moved = self._apply(self.direction)
        found = self._search(moved)
        if found is None:
            self.stuck = True
            return False
        size, loss, self.logits, residual = found
        self.iterations += 1
        self._pull = torch.add(self._pull, self._direction_pull, alpha=size)
        step = self.direction.times(size)
        self.point = self.point.plus(1.0, step)
        gradient = self._gradient(residual)
        change = gradient.plus(-1.0, self.gradient)
        if float(step.dot(change)) > 0:
            self._pairs = [*self._pairs, (step, change)][-HISTORY:]
        self.loss, self.gradient = loss, gradient
        self._aim()
        return True

    def _aim(self) -> None:
        self.direction = self._inverse_hessian(self.gradient).times(-1.0)
        self._direction_pull = self.direction.weights @ self._penalty
        self.slope = float(self.gradient.dot(self.direction))

    def _apply(self, point: _Point) -> Tensor:
        return torch.addmm(point.bias, self.problem.rows, point.weights.T)

    def _gradient(self, residual: Tensor) -> _Point:
        weights = torch.addmm(self._pull, residual.T, self.problem.rows)
        return _Point(weights, residual.sum(dim=0))

    def _precondition(self, gradient: _Point) -> _Point:
        return _Point(gradient.weights @ self._inverse, gradient.bias / self._bias_curvature)

    def _inverse_hessian(self, gradient: _Point) -> _Point:
        """Its product with `gradient` (Nocedal and Wright 2006, algorithm 7.4), with the
        preconditioner, scaled to the last step (their equation 7.20), in the middle."""
        vector, factors = gradient, []
        for step, change in reversed(self._pairs):
            rho = 1 / step.dot(change)
            alpha = rho * step.dot(vector)
            vector = vector.plus(-alpha, change)
            factors.append((rho, alpha))
        vector = self._precondition(vector)
        if self._pairs:
            step, change = self._pairs[-1]
            vector = vector.times(step.dot(change) / change.dot(self._precondition(change)))
        for (step, change), (rho, alpha) in zip(self._pairs, reversed(factors), strict=True):
            vector = vector.plus(alpha - rho * change.dot(vector), step)
        return vector

    def _search(self, moved: Tensor) -> tuple[float, float, Tensor, Tensor] | None:
        """A step size that meets the strong Wolfe conditions, with its loss, logits and residual.

        By bisection (Nocedal and Wright 2006, section 3.1, c1 = 1e-4, c2 = 0.5); None when
        rounding leaves no such step.
        """
        base = float((self._pull * self.point.weights).sum()) / 2
        first = float((self._pull * self.direction.weights).sum())
        second = float((self._direction_pull * self.direction.weights).sum())
        low, high, size = 0.0, float("inf"), 1.0
        for _ in range(20):
            logits = torch.add(self.logits, moved, alpha=size)
            loss, residual = _data_term(self.problem, logits)
            loss += base + size * first + size**2 * second / 2
            slope = float(torch.dot(residual.flatten(), moved.flatten()))
            slope += first + size * second
            if loss > self.loss + 1e-4 * size * self.slope + 1e-7 * abs(self.loss):
                high = size
            elif abs(slope) <= 0.5 * abs(self.slope):
                return size, loss, logits, residual
            elif slope > 0:
                high = size
            else:
                low = size
            size = 0.5 * (low + high) if high < float("inf") else 2 * size
        return None


def _data_term(problem: LogisticProblem, logits: Tensor) -> tuple[float, Tensor]:
    """The mean smoothed cross-entropy and its gradient by the logits `(n, classes)`."""
    index, smoothing = problem.labels[:, None], problem.label_smoothing
    log_probabilities = torch.log_softmax(logits, dim=1)
    per_row = (smoothing - 1) * log_probabilities.gather(1, index)[:, 0]
    if smoothing:
        per_row = per_row - smoothing * log_probabilities.mean(dim=1)
    loss = float((problem.row_weights.double() * per_row).sum())
    residual = log_probabilities.exp_()
    residual.scatter_add_(1, index, residual.new_full(index.shape, smoothing - 1))
    if smoothing:
        residual -= smoothing / problem.classes
    return loss, residual.mul_(problem.row_weights[:, None])
