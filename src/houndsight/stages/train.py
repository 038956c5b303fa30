"""Stage 4: the linear probe, fine-tuning where the plan has it, and the better of the two."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from houndsight.data.folder import ImageFolder, Split
from houndsight.events import (
    EpochEnded,
    EvaluationEnded,
    Event,
    StageProgress,
    StepEnded,
    TrainingStarted,
)
from houndsight.models.backbone import Backbone
from houndsight.models.classifier import Classifier
from houndsight.models.features import CachedFeatures
from houndsight.runs import MetricsLog
from houndsight.stages.context import Context
from houndsight.stages.plan import Plan
from houndsight.stages.tune import Search
from houndsight.training.batches import ActivationBatches, Batches
from houndsight.training.images import ImageBatches
from houndsight.training.recipe import Recipe
from houndsight.training.trainer import Trainer
from houndsight.tuning.settings import OBJECTIVE_DIRECTIONS

__all__ = ["FINE_TUNED", "PROBE", "Trained", "evaluation_batches", "fit"]

PROBE, FINE_TUNED = "linear probe", "fine-tuned"
OVERRUN = 2.0
"""The plan says how many epochs are trained, whatever the clock says: so a run that was killed and
resumed, which is later than one that was not, ends with the same weights. Only a run that in all
its starts would take this many times its budget ends training early; the plan was far off."""


@dataclass(frozen=True)
class Trained:
    """The classifier that validates best."""

    classifier: Classifier
    model: str
    temperature: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)` of pooled features `(n, d)`; only a probe's features are cached."""
        assert self.model == PROBE
        with torch.inference_mode():
            logits: np.ndarray = self.classifier.head(torch.from_numpy(features)).numpy()
        return logits


def fit(
    context: Context,
    photos: ImageFolder,
    backbone: Backbone,
    search: Search,
    plan: Plan,
) -> Trained:
    """The probe, or the fine-tuned network if there is one and it validates better."""
    probe = Trained(Classifier(backbone, search.fitted.head), PROBE, search.temperature)
    if plan.epochs == 0:
        context.run.set_results(model=PROBE, fine_tuning=plan.why)
        return probe
    text = f"Fine-tuning {backbone.boundary}, {plan.epochs} epochs"
    with context.stage("train", text, total=None, unit="steps") as outcome:
        tuned = Classifier(copy.deepcopy(backbone), copy.deepcopy(probe.classifier.head))
        metrics = _fine_tune(context, photos, tuned, plan.epochs)
        if not metrics:
            outcome.text = "Fine-tuning did not finish an epoch in time; keeping the linear probe"
            context.run.set_results(model=PROBE, fine_tuning=outcome.text)
            return probe
        candidates = {PROBE: _plain(search.fitted.metrics), FINE_TUNED: _plain(metrics)}
        best = _better(candidates, context.config.tuning.objective)
        context.run.set_results(
            model=best,
            fine_tuning=plan.why,
            candidates=[
                {"model": name, **{f"valid {k}": v for k, v in m.items()}}
                for name, m in candidates.items()
            ],
        )
        outcome.text = (
            f"Fine-tuned: validation top-1 {metrics['top1']:.1%}, the probe "
            f"{search.fitted.metrics['top1']:.1%}; keeping the {best} model"
        )
    if best == PROBE:
        return probe
    return Trained(tuned, FINE_TUNED, metrics["temperature"])


def _fine_tune(
    context: Context, photos: ImageFolder, classifier: Classifier, epochs: int
) -> dict[str, float]:
    """Train `classifier` in place and return the best epoch's validation figures."""
    recipe = replace(context.config.training, epochs=epochs)
    train, valid = _batches(context, photos, classifier.backbone, recipe)
    trainer = Trainer(
        classifier,
        recipe,
        folder=context.run.checkpoints / "fine-tuning",
        listeners=[
            context.emit,
            _Curves(context.run.metrics),
            _Steps(context),
        ],
        deadline=lambda: context.seconds_left + (OVERRUN - 1) * context.config.run.minutes * 60,
    )
    result = trainer.fit(train, valid, resume=True)
    return dict(result.metrics)


def _batches(
    context: Context, photos: ImageFolder, backbone: Backbone, recipe: Recipe
) -> tuple[Batches, Batches]:
    """Cached activations at the boundary; photos when pixels change, or the cache is too small."""
    train, valid = photos.split("train"), photos.split("valid")
    if not _from_boundary(context, photos, backbone, recipe):
        workers = context.config.data.workers
        preprocessing = backbone.preprocessing
        return (
            ImageBatches(train, preprocessing, recipe=recipe, workers=workers),
            ImageBatches(valid, preprocessing, workers=workers),
        )
    # Mirrored first: the plain view comes out of the same decoding.
    turned = None
    if recipe.flip:
        turned = _activations(context, backbone, train, "train", mirrored=True)
    plain = _activations(context, backbone, train, "train")
    batches = ActivationBatches(
        plain.array,
        train.labels,
        train.ids,
        recipe=recipe,
        mirrored=None if turned is None else turned.array,
        valid=plain.valid,
    )
    return batches, evaluation_batches(context, photos, backbone, "valid", stage="train")


def evaluation_batches(
    context: Context, photos: ImageFolder, backbone: Backbone, split: str, *, stage: str
) -> Batches:
    """A split to evaluate a fine-tuned network on, by the same way that it was trained.

    The trunk is as it was, so its activations come from the quick runtime and the cache.
    """
    chosen, recipe = photos.split(split), context.config.training
    if not _from_boundary(context, photos, backbone, recipe):
        workers = context.config.data.workers
        return ImageBatches(chosen, backbone.preprocessing, workers=workers)
    found = _activations(context, backbone, chosen, stage)
    return ActivationBatches(found.array, chosen.labels, chosen.ids, valid=found.valid)


def _from_boundary(
    context: Context, photos: ImageFolder, backbone: Backbone, recipe: Recipe
) -> bool:
    """Whether the last stage can be trained on cached activations."""
    rows = len(photos) + (len(photos.split("train")) if recipe.flip else 0)
    fits = context.cache.fits(backbone, rows)
    return fits and not recipe.randaugment and recipe.trainable != "all"


def _activations(
    context: Context, backbone: Backbone, split: Split, stage: str, *, mirrored: bool = False
) -> CachedFeatures:
    return context.cache.features(
        backbone,
        split,
        cut="boundary",
        mirrored=mirrored,
        runtime=context.config.models.runtime_name,
        workers=context.config.data.workers,
        listener=context.within(stage),
        stage=stage,
    )


def _better(candidates: dict[str, dict[str, float]], objective: str) -> str:
    """The candidate with the better validation objective; the simpler one when equal."""
    sign = 1.0 if OBJECTIVE_DIRECTIONS[objective] == "minimize" else -1.0
    return min(candidates, key=lambda name: sign * candidates[name][objective])


def _plain(metrics: Any) -> dict[str, float]:
    return {name: float(metrics[name]) for name in metrics if np.isfinite(metrics[name])}


class _Curves:
    """Writes the learning curves: each epoch's mean training loss and validation figures."""

    def __init__(self, log: MetricsLog) -> None:
        self._log = log
        self._losses: list[float] = []
        self._rates: tuple[float, ...] = ()
        self._valid: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepEnded):
            self._losses.append(event.loss)
            self._rates = event.learning_rates
        elif isinstance(event, EvaluationEnded):
            self._valid = dict(event.metrics)
        elif isinstance(event, EpochEnded):
            self._write(event)

    def _write(self, event: EpochEnded) -> None:
        where = {"step": event.step, "epoch": event.epoch}
        if self._losses:
            rate = max(self._rates, default=0.0)
            loss = float(np.mean(self._losses))
            self._log.write(split="train", **where, loss=loss, learning_rate=rate)
        self._log.write(split="valid", **where, **self._valid)  # type: ignore[arg-type]
        self._losses.clear()


class _Steps:
    """Shows optimizer steps as the stage's progress."""

    def __init__(self, context: Context) -> None:
        self._context, self._total = context, 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self._total = event.steps_total
        if isinstance(event, StepEnded):
            self._context.emit(
                StageProgress(
                    stage="train",
                    done=event.step,
                    total=self._total,
                    text=f"loss {event.loss:.3f}",
                )
            )
