"""Features prepared for the solvers: normalised, centred and rotated onto their own axes.

With an L2 penalty on the weights, a linear head's loss does not change under a rotation of the
features, and an unpenalised bias takes up any shift. So the rows are centred and turned onto
the eigenvectors of their covariance once for a whole search: directions without variance fall
away (with fewer photos than features at most photos - 1 remain), and curvature becomes nearly
diagonal, which is what makes the solver quick.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from houndsight.errors import DataError, SettingError

__all__ = ["NORMALISATIONS", "FeatureSpace", "Normalisation"]

NORMALISATIONS = ("none", "l2", "standardise")


@dataclass(frozen=True)
class Normalisation:
    """What happens to features `(n, d)` before the linear layer.

    `l2` divides a row by its length; `standardise` subtracts `center` and divides by `scale`.
    """

    kind: str
    center: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, kind: str, features: Tensor) -> Normalisation:
        """The normalisation of these training features `(n, d)`.

        Raises:
            SettingError: there is no such kind.
        """
        if kind not in NORMALISATIONS:
            choices = ", ".join(NORMALISATIONS)
            raise SettingError(f"normalise is {kind!r}; it must be one of {choices}.")
        width = features.shape[1]
        center, scale = features.new_zeros(width), features.new_ones(width)
        if kind == "standardise":
            scale, center = torch.std_mean(features, dim=0, correction=0)
            constant = scale <= 1e-6 * center.abs().clamp_min(1.0)
            scale = torch.where(constant, torch.ones_like(scale), scale)
        return cls(kind, center, scale)

    def __call__(self, features: Tensor) -> Tensor:
        """The features `(n, d)`, normalised."""
        if self.kind == "l2":
            return torch.nn.functional.normalize(features, dim=1)
        if self.kind == "standardise":
            return (features - self.center) / self.scale
        return features


@dataclass(frozen=True)
class FeatureSpace:
    """Training rows in the basis of their covariance; see the module's docstring."""

    normalisation: Normalisation
    mean: Tensor
    """`(d,)`, of the normalised features."""
    basis: Tensor
    """`(d, k)`, orthonormal columns."""
    variances: Tensor
    """`(k,)`, of the rows along each axis, largest first."""
    rows: Tensor
    """`(n, k)`, the training features."""

    @classmethod
    def fit(cls, features: Tensor, kind: str) -> FeatureSpace:
        """The space of these training features `(n, d)`.

        Raises:
            DataError: a feature is not finite.
            SettingError: there is no such normalisation.
        """
        if not bool(torch.isfinite(features).all()):
            bad = int((~torch.isfinite(features).all(dim=1)).sum())
            raise DataError(
                f"{bad} of {len(features)} feature rows hold values that are not finite; "
                "leave those photos out or compute their features again."
            )
        normalisation = Normalisation.fit(kind, features)
        rows = normalisation(features)
        mean = rows.mean(dim=0)
        rows = rows - mean
        basis, variances = _principal_axes(rows)
        return cls(normalisation, mean, basis, variances, rows @ basis)

    def project(self, features: Tensor) -> Tensor:
        """Other features `(n, d)` as rows `(n, k)`."""
        return (self.normalisation(features) - self.mean) @ self.basis

    def unproject(self, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weights `(classes, k)` and bias of this space, for the normalised features."""
        weights = weights @ self.basis.T
        return weights, bias - weights @ self.mean


def _principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal axes `(d, k)` of centred rows `(n, d)` and the variance along each."""
    count, width = rows.shape
    if width <= count:
        variances, axes = torch.linalg.eigh(rows.T @ rows / count)
        keep = _significant(variances)
        return axes[:, keep].flip(1), variances[keep].flip(0)
    variances, left = torch.linalg.eigh(rows @ rows.T / count)
    keep = _significant(variances)
    axes = rows.T @ left[:, keep].flip(1)
    axes, _ = torch.linalg.qr(axes)
    return axes, variances[keep].flip(0)


def _significant(variances: Tensor) -> Tensor:
    """Which ascending eigenvalues are more than rounding; at least the largest."""
    floor = variances[-1].clamp_min(0) * torch.finfo(variances.dtype).eps * len(variances)
    keep = variances > floor
    keep[-1] = True
    return keep
