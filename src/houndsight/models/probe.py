"""A training-free probe: how well features tell classes apart, without a held-out set.

Ridge regression on one-hot labels, whose leave-one-out predictions have a closed form: with the
kernel K of the centred, L2-normalised features and c = (K + a I)^-1 Y, photo i's prediction when
it is left out is y_i - c_i / [(K + a I)^-1]_ii (Rifkin and Lippert, "Notes on Regularized Least
Squares", MIT-CSAIL-TR-2007-025, eq. 14). The strength `a` is the best of a grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["STRENGTHS", "leave_one_out", "stratified"]

STRENGTHS = tuple(10.0**power for power in np.arange(-3, 2.5, 0.5))


def leave_one_out(features: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each photo (n,) is classified rightly by a probe fitted on all the others.

    Args:
        features: (n, d).
        labels: (n,), class indices.
    """
    centred = np.asarray(features, np.float64) - features.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    classes = np.unique(labels, return_inverse=True)[1]
    targets = np.eye(classes.max() + 1)[classes]
    # An intercept: the leave-one-out mean would leak nothing worth a second formula.
    targets -= targets.mean(axis=0)
    projected = vectors.T @ targets
    right = np.zeros((len(STRENGTHS), len(labels)), bool)
    for row, strength in enumerate(STRENGTHS):
        inverse = 1 / (np.maximum(values, 0) + strength)
        coefficients = vectors @ (inverse[:, None] * projected)
        diagonal = (vectors**2) @ inverse
        predicted = targets - coefficients / diagonal[:, None]
        # Features that say nothing predict zero; what rounding leaves there knows the label.
        predicted[np.abs(predicted) < 1e-9] = 0.0
        right[row] = predicted.argmax(axis=1) == classes
    return np.asarray(right[right.sum(axis=1).argmax()])


def stratified(labels: NDArray[np.int64], count: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Positions of `count` photos, every class in proportion, ascending.

    A larger `count` gives a superset of a smaller one.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    rank = np.concatenate([np.arange(size) for size in sizes]) + 0.5
    share = rank / np.repeat(sizes, sizes)
    return np.sort(by_class[np.argsort(share, kind="stable")[:count]])
