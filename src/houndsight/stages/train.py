"""Stage 4: the linear probe, fine-tuning where the plan has it, and the better of the two."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from houndsight.data.folder import ImageFolder
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
from houndsight.runs import MetricsLog
from houndsight.stages.boundary import training_batches
from houndsight.stages.context import Context
from houndsight.stages.plan import Plan
from houndsight.stages.tune import Search
from houndsight.stages.watch import facts_of, watched
from houndsight.training.batches import Batches
from houndsight.training.evaluate import Evaluation, calibrated_metrics, evaluate
from houndsight.training.interpolate import interpolated
from houndsight.training.metrics import SMALLEST_PROBABILITY, softmax
from houndsight.training.recipe import Recipe
from houndsight.training.trainer import Trainer
from houndsight.tuning.settings import OBJECTIVE_DIRECTIONS

__all__ = ["FINE_TUNED", "PROBE", "Trained", "fit"]

PROBE, FINE_TUNED = "linear probe", "fine-tuned"
AVERAGED = "fine-tuned, averaged with the probe"
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


@dataclass(frozen=True)
class _Candidate:
    """A classifier and what it says about the validation photos."""

    name: str
    classifier: Classifier
    validated: Evaluation
    figures: dict[str, float]

    @classmethod
    def of(cls, name: str, classifier: Classifier, valid: Batches) -> _Candidate:
        validated = evaluate(classifier, valid)
        return cls(name, classifier, validated, _finite(calibrated_metrics(validated)))

    @property
    def losses(self) -> np.ndarray:
        """`(n,)`, of each photo after temperature scaling."""
        said = softmax(self.validated.logits, self.figures["temperature"])
        right = said[np.arange(len(said)), self.validated.labels]
        losses: np.ndarray = -np.log(np.maximum(right, SMALLEST_PROBABILITY))
        return losses


def fit(
    context: Context,
    photos: ImageFolder,
    backbone: Backbone,
    search: Search,
    plan: Plan,
) -> Trained:
    """The probe, or the fine-tuned network if there is one and it validates better.

    All are judged alike: by the same validation photos, each after temperature scaling on them.
    The photos chose the probe's hyperparameters before and the best epoch now, so the figures
    flatter both a little; the test photos have no part in it.
    """
    probe = Trained(Classifier(backbone, search.fitted.head), PROBE, search.temperature)
    if plan.epochs == 0:
        context.run.set_results(model=PROBE, fine_tuning=plan.why)
        return probe
    text = f"Fine-tuning {backbone.boundary}, {plan.epochs} epochs"
    with context.stage("train", text, total=None, unit="steps") as outcome:
        recipe = replace(context.config.training, epochs=plan.epochs)
        train, valid = training_batches(context, photos, backbone, recipe)
        # From the probe's head (Kumar et al. 2022, LP-FT), as it is: scaled by its temperature
        # first, it was no better where that was tried (solar cells, log loss 0.384 against 0.379).
        tuned = copy.deepcopy(probe.classifier)
        facts = facts_of(context, photos, backbone, inputs=train.kind)
        if not _fine_tune(context, tuned, recipe, train, valid, facts):
            outcome.text = "Fine-tuning did not finish an epoch in time; keeping the linear probe"
            context.run.set_results(model=PROBE, fine_tuning=outcome.text)
            return probe
        candidates = [
            _Candidate.of(PROBE, probe.classifier, valid),
            _Candidate.of(FINE_TUNED, tuned, valid),
            _Candidate.of(AVERAGED, interpolated(probe.classifier, tuned), valid),
        ]
        best = _best(candidates, context.config.tuning.objective)
        model = PROBE if best.name == PROBE else FINE_TUNED
        context.run.set_results(
            model=model,
            fine_tuning=plan.why,
            candidates=[
                {"model": c.name, **{f"valid {k}": v for k, v in c.figures.items()}}
                for c in candidates
            ],
        )
        outcome.text = _told(candidates, best)
    if best.name == PROBE:
        return probe
    return Trained(best.classifier, FINE_TUNED, best.figures["temperature"])


def _fine_tune(
    context: Context,
    classifier: Classifier,
    recipe: Recipe,
    train: Batches,
    valid: Batches,
    facts: Mapping[str, Any],
) -> bool:
    """Train `classifier` in place, watched; whether an epoch was finished."""
    with watched(context, "fine-tuning", facts) as watching:
        trainer = Trainer(
            classifier,
            recipe,
            folder=context.run.checkpoints / "fine-tuning",
            listeners=[
                context.emit,
                _Curves(context.run.metrics),
                _Steps(context),
                *watching,
            ],
            deadline=lambda: context.seconds_left + (OVERRUN - 1) * context.config.run.minutes * 60,
        )
        return bool(trainer.fit(train, valid, resume=True).metrics)


def _best(candidates: list[_Candidate], objective: str) -> _Candidate:
    """The candidate with the better validation objective; the simpler one when equal."""
    sign = 1.0 if OBJECTIVE_DIRECTIONS[objective] == "minimize" else -1.0
    return min(candidates, key=lambda c: sign * c.figures[objective])


def _told(candidates: list[_Candidate], best: _Candidate) -> str:
    """What came of it, with the paired difference of the losses and its 95 % interval."""
    probe = candidates[0]
    tuned = min(candidates[1:], key=lambda c: c.figures["nll"]) if best is probe else best
    less = probe.losses - tuned.losses
    half = 1.96 * float(less.std()) / max(len(less), 1) ** 0.5
    return (
        f"{tuned.name[:1].upper()}{tuned.name[1:]}: validation log loss "
        f"{tuned.figures['nll']:.3f} and top-1 {tuned.figures['top1']:.1%}, the probe "
        f"{probe.figures['nll']:.3f} and {probe.figures['top1']:.1%}; {less.mean():.3f} less "
        f"(95 % interval {less.mean() - half:.3f} to {less.mean() + half:.3f}); "
        f"keeping the {best.name} model"
    )


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


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
