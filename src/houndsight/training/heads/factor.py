"""Factorising a matrix that rounding has left not quite positive definite."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cholesky"]

FIRST_SHARE = 1e-6
MOST_TRIES = 8


def cholesky(matrix: Tensor) -> Tensor:
    """The lower factor of `matrix` `(k, k)` with as little added to its diagonal as it needs.

    The addition starts at a millionth of the mean of the diagonal and grows tenfold each try.
    """
    identity: Tensor = torch.eye(len(matrix))
    added = FIRST_SHARE * float(matrix.diagonal().mean().clamp_min(1e-30))
    for _ in range(MOST_TRIES):
        factor: Tensor
        factor, failure = torch.linalg.cholesky_ex(matrix + added * identity)
        if int(failure) == 0:
            return factor
        added *= 10
    return identity * matrix.diagonal().abs().max().clamp_min(1e-30).sqrt()
