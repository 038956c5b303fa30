"""Multinomial logistic regression by preconditioned L-BFGS.

The rows stand in the basis of their covariance (`FeatureSpace`), so a diagonal preconditioner
holds most of the curvature. Logits are linear in the weights, so a line search costs softmaxes
but no matrix product: an iteration takes two products, whatever the search needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LogisticFit", "LogisticProblem", "fit_logistic"]

HISTORY = 10
"""Pairs kept by L-BFGS (Nocedal and Wright 2006, algorithm 7.5, advise 3 to 20)."""


@dataclass(frozen=True)
class LogisticProblem:
    """The mean smoothed cross-entropy of `rows @ weights.T + bias` plus the L2 penalty.

    `weight_decay` is the factor of half the squared weights, beside a mean over photos: with n
    photos it is 1 / (C n) of scikit-learn's C. The bias is not penalised.
    """

    rows: Tensor
    """`(n, k)`, centred."""
    labels: Tensor
    """`(n,)`"""
    variances: Tensor
    """`(k,)`, of the rows along each axis."""
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
    loss: float
    iterations: int
    converged: bool


def fit_logistic(
    problem: LogisticProblem,
    start: tuple[Tensor, Tensor] | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 200,
) -> LogisticFit:
    """Minimise the problem, from `start` (weights, bias) or from zero.

    Ends when the preconditioned gradient predicts a relative decrease below `tolerance` squared.
    """
    classes, width = problem.classes, problem.rows.shape[1]
    weights = problem.rows.new_zeros(classes, width + 1)
    if start is not None:
        weights[:, :-1], weights[:, -1] = start
    ones = problem.rows.new_ones(len(problem.rows), 1)
    rows = torch.cat([problem.rows, ones], dim=1)
    penalty = torch.cat([rows.new_full((width,), problem.weight_decay), rows.new_zeros(1)])
    curvature = torch.cat([problem.variances, rows.new_ones(1)]) / classes + penalty
    preconditioner = 1 / curvature
    logits = rows @ weights.T + problem.offsets
    loss, residual = _loss_and_residual(problem, logits)
    loss += 0.5 * float((penalty * weights.square()).sum())
    gradient = residual.T @ rows + penalty * weights
    steps: list[Tensor] = []
    changes: list[Tensor] = []
    iterations, converged = 0, False
    while iterations < max_iterations:
        direction = -_two_loop(gradient, steps, changes, preconditioner)
        slope = float((gradient * direction).sum())
        if -slope <= tolerance**2 * max(loss, 1e-6):
            converged = True
            break
        iterations += 1
        moved = rows @ direction.T
        size, new_loss, residual = _line_search(
            problem, logits, moved, weights, direction, penalty, slope, loss
        )
        if size == 0.0:
            converged = True
            break
        weights = weights + size * direction
        logits = logits + size * moved
        new_gradient = residual.T @ rows + penalty * weights
        steps = [*steps, size * direction][-HISTORY:]
        changes = [*changes, new_gradient - gradient][-HISTORY:]
        gradient, loss = new_gradient, new_loss
    return LogisticFit(weights[:, :-1], weights[:, -1], loss, iterations, converged)


def _loss_and_residual(problem: LogisticProblem, logits: Tensor) -> tuple[float, Tensor]:
    """The data term and its gradient by the logits `(n, classes)`."""
    labels, smoothing = problem.labels, problem.label_smoothing
    log_probabilities = torch.log_softmax(logits, dim=1)
    index = labels[:, None]
    per_row = -(1 - smoothing) * log_probabilities.gather(1, index)[:, 0]
    if smoothing:
        per_row = per_row - smoothing * log_probabilities.mean(dim=1)
    loss = float((problem.row_weights * per_row).sum())
    residual = log_probabilities.exp_()
    residual.scatter_add_(1, index, residual.new_full(index.shape, smoothing - 1))
    residual -= smoothing / problem.classes
    return loss, residual.mul_(problem.row_weights[:, None])


def _line_search(
    problem: LogisticProblem,
    logits: Tensor,
    moved: Tensor,
    weights: Tensor,
    direction: Tensor,
    penalty: Tensor,
    slope: float,
    loss: float,
) -> tuple[float, float, Tensor]:
    """A step size that meets the strong Wolfe conditions, its loss and its residual."""
    squares = [
        float((penalty * a * b).sum())
        for a, b in ((weights, weights), (weights, direction), (direction, direction))
    ]
    low, high, size = 0.0, float("inf"), 1.0
    for _ in range(20):
        new_loss, residual = _loss_and_residual(problem, logits + size * moved)
        new_loss += 0.5 * (squares[0] + 2 * size * squares[1] + size**2 * squares[2])
        new_slope = float((residual * moved).sum()) + squares[1] + size * squares[2]
        if new_loss > loss + 1e-4 * size * slope + 1e-7 * abs(loss):
            high = size
        elif abs(new_slope) <= 0.5 * abs(slope):
            return size, new_loss, residual
        elif new_slope > 0:
            high = size
        else:
            low = size
        size = 0.5 * (low + high) if high < float("inf") else 2 * size
    return 0.0, loss, residual


def _two_loop(
    gradient: Tensor, steps: list[Tensor], changes: list[Tensor], preconditioner: Tensor
) -> Tensor:
    """The L-BFGS inverse Hessian times `gradient` (Nocedal and Wright 2006, algorithm 7.4)."""
    vector = gradient.clone()
    factors = []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        rho = 1 / (step * change).sum()
        alpha = rho * (step * vector).sum()
        vector -= alpha * change
        factors.append((rho, alpha))
    scale = 1.0
    if steps:
        scale = float(
            (steps[-1] * changes[-1]).sum() / (changes[-1].square() * preconditioner).sum()
        )
    vector *= scale * preconditioner
    for (rho, alpha), step, change in zip(reversed(factors), steps, changes, strict=True):
        beta = rho * (change * vector).sum()
        vector += (alpha - beta) * step
    return vector
