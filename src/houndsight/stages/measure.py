"""How fast this machine is at what a plan depends on, measured in about a second."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch

from houndsight.models.backbone import Backbone
from houndsight.training.head import HeadFitter
from houndsight.tuning.head_space import first_guess, fit, head_space, sgd_space

__all__ = ["NetworkSpeed", "SearchSpeed", "measure_network", "measure_search"]

TIMED_STEPS, TIMED_BATCH = 2, 8
TIMED_ROWS, FEWEST_ROWS_OF_CLASS = 800, 3
START_HEADS = 4
PROPOSAL_SECONDS = 0.02
"""What the strategy takes to propose a trial and write it down."""
INNER_FOLDS, FOLDS = 3, 5
"""Those of `tuning.nested`, and its default."""


@dataclass(frozen=True)
class NetworkSpeed:
    """PyTorch on the network, without decoding."""

    finetune_photos_per_second: float
    """Through the last stage and a head, forward and backward."""
    photos_per_second: float
    """Through the whole network, forward alone."""


@dataclass(frozen=True)
class SearchSpeed:
    """What the parts of a head search take on `rows` photos, in seconds."""

    rows: int
    prepare: float
    """Once a search, its first trial included. A part of it depends on the features' width alone;
    the rest is a few plain heads to start others from (`START_HEADS`), which grow with photos."""
    trial: float
    fit: float
    """The chosen head, to convergence."""

    def held_out(self, photos: int, trials: int) -> float:
        """A search judged on a validation split, with so many training photos."""
        return self._search(photos, trials) + trials * PROPOSAL_SECONDS

    def k_fold(self, photos: int, trials: int, repeats: int) -> float:
        """Repeated k-fold with the search nested inside, and the search on all photos."""
        fold = self._cross_validated(photos * (FOLDS - 1) / FOLDS, trials)
        return repeats * FOLDS * fold + self._cross_validated(photos, trials)

    def _cross_validated(self, photos: float, trials: int) -> float:
        """One search by cross-validation, and the head it chose fitted on all its photos."""
        inner = self._search(photos * (INNER_FOLDS - 1) / INNER_FOLDS, trials)
        return INNER_FOLDS * inner + self._search(photos, 1) + trials * PROPOSAL_SECONDS

    def _search(self, photos: float, trials: int) -> float:
        """Preparing the photos, the trials on them, and the chosen head."""
        scale = photos / self.rows
        starts = min(START_HEADS * self.trial, self.prepare)
        growing = starts + (trials - 1) * self.trial + self.fit
        return self.prepare - starts + growing * scale


def measure_network(backbone: Backbone, classes: int) -> NetworkSpeed:
    """Time a copy of the last stage and a head on a few blank photos."""
    size = backbone.preprocessing.size
    images = torch.zeros(TIMED_BATCH, 3, size, size)
    backbone.eval()
    with torch.inference_mode():
        backbone(images[:1])
        started = time.perf_counter()
        batch = backbone.trunk(images)
        backbone.stage(batch)
        forward = time.perf_counter() - started
    batch = batch.clone()
    stage = copy.deepcopy(backbone.stage).requires_grad_(True)
    head = torch.nn.Linear(backbone.feature_dim, classes)
    seconds = []
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        head(stage(batch)).logsumexp(1).mean().backward()
        seconds.append(time.perf_counter() - started)
    return NetworkSpeed(TIMED_BATCH / min(seconds), TIMED_BATCH / forward)


def measure_search(photos: int, width: int, classes: int, solver: str) -> SearchSpeed:
    """Time the parts of a head search on made-up features, as many and as wide up to a limit.

    The features of each class lie around a centre of its own, so that the solver has about as
    much to do as with real ones.
    """
    rows = min(photos, max(TIMED_ROWS, FEWEST_ROWS_OF_CLASS * classes))
    random = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    centres = random.normal(size=(classes, width)).astype(np.float32)
    features = 0.3 * centres[labels] + random.normal(size=(rows, width)).astype(np.float32)
    space = sgd_space(labels) if solver == "sgd" else head_space(labels)
    (guess,) = first_guess(space, rows)
    started = time.perf_counter()
    fitter = HeadFitter(
        features, labels, classes, valid=(features[: rows // 4], labels[: rows // 4])
    )
    fit(fitter, guess, solver, quick=True)
    prepared = time.perf_counter()
    fit(fitter, guess | {"label_smoothing": 0.1}, solver, quick=True)
    tried = time.perf_counter()
    fit(fitter, guess, solver)
    ended = time.perf_counter()
    return SearchSpeed(rows, prepared - started, tried - prepared, ended - tried)
