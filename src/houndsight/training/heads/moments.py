"""Mean and covariance of features, in one streamed pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from houndsight.errors import DataError
from houndsight.training.heads.normalisation import Features, Normalisation, blocks

__all__ = ["Moments"]


@dataclass(frozen=True)
class Moments:
    """Of the rows `(n, d)` of a training set after normalisation."""

    mean: Tensor
    """`(d,)`"""
    covariance: Tensor
    """`(d, d)`, divided by n"""
    squared_length: float
    """Mean over rows."""

    @classmethod
    def of(cls, features: Features, normalisation: Normalisation) -> Moments:
        """The moments; squares are summed about the first block's mean, which keeps float32.

        Raises:
            DataError: there is no row, or a feature is not finite.
        """
        if len(features) == 0:
            raise DataError("There are no training photos to fit a head on.")
        width = features.shape[1]
        shift: Tensor | None = None
        total, square = torch.zeros(width), torch.zeros(width, width)
        bad = 0
        for block in blocks(features):
            rows = normalisation(block)
            bad += int((~torch.isfinite(block).all(dim=1)).sum())
            shift = rows.mean(dim=0) if shift is None else shift
            rows = rows - shift
            total += rows.sum(dim=0)
            square += _squares(rows)
        if bad:
            raise DataError(
                f"{bad} of {len(features)} photos have features that are not finite numbers; "
                "leave them out or compute their features again."
            )
        assert shift is not None
        mean = total / len(features)
        covariance = square / len(features) - torch.outer(mean, mean)
        mean = shift + mean
        length = float(covariance.diagonal().sum() + mean.square().sum())
        return cls(mean, covariance, length)

    def standardised(self, normalisation: Normalisation) -> Moments:
        """The moments after `normalisation` has been applied to raw features."""
        scale = normalisation.scale
        covariance = self.covariance / torch.outer(scale, scale)
        mean = (self.mean - normalisation.center) / scale
        length = float(covariance.diagonal().sum() + mean.square().sum())
        return Moments(mean, covariance, length)

    def standardisation(self) -> Normalisation:
        """Mean and standard deviation of each raw feature; a constant one is left as it is."""
        deviation = self.covariance.diagonal().clamp_min(0).sqrt()
        constant = deviation <= 1e-5 * self.mean.abs().clamp_min(deviation.max() * 1e-2)
        scale = torch.where(constant, torch.ones_like(deviation), deviation)
        return Normalisation("standardise", self.mean, scale)


def _squares(rows: Tensor) -> Tensor:
    """`rows.T @ rows`, by NumPy, which sees the symmetry and takes half the time."""
    array = rows.numpy()
    return torch.from_numpy(array.T @ array)
