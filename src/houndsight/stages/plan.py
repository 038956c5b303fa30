"""The plan: what fits into the time budget, fixed once and followed by a resumed run."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass

import torch

from houndsight.data.folder import ImageFolder
from houndsight.events import Forecast
from houndsight.models.backbone import Backbone
from houndsight.models.runtime import measure_throughput
from houndsight.stages.context import Context
from houndsight.wording import duration

__all__ = ["Plan", "fix"]

REPORT_SECONDS = 45.0
"""Kept back for evaluation, looking for causes, saving the model and the report."""
CONFIDENT_SHARE = 0.8
"""Of the time left, this much is planned: a machine is slower on some days."""
FEWEST_EPOCHS = 2
"""Fine-tuning for less than this is not worth its while."""
FEWEST_SECONDS = 30.0
"""With less time left fine-tuning is not even measured."""
TIMED_STEPS, TIMED_BATCH = 2, 8
TRIAL_SECONDS = 0.5
"""What a trial of the head search takes on a few thousand photos."""
FOLDS = 15
"""How many searches the k-fold protocol makes at most: three repeats of five folds."""
K_FOLD = "repeated k-fold"
HELD_OUT = "held-out test split"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do."""

    backbone: str
    protocol: str
    """Where the figures come from: the test split, or repeated k-fold of the head."""
    trials: int
    epochs: int
    """Epochs of fine-tuning; 0 for a linear probe alone."""
    minutes: float
    photos_per_second: float
    """Photos through the frozen backbone, decoding included."""
    finetune_photos_per_second: float
    """Training photos through the last stage, forward and backward."""
    why: str
    """Why fine-tuning was planned or not, as a sentence."""


def fix(context: Context, photos: ImageFolder, backbone: Backbone) -> Plan:
    """The plan in `run.json`, or a new one after measuring how fast this machine is."""
    if context.run.plan is not None:
        return Plan(**context.run.plan)
    with context.stage("plan", "Measuring this machine") as outcome:
        plan, forecast = _measured(context, photos, backbone)
        context.run.set_plan(asdict(plan))
        outcome.text = f"Planned {_words(plan)}"
    context.emit(forecast)
    return plan


def _words(plan: Plan) -> str:
    tuned = f", {plan.epochs} epochs of fine-tuning" if plan.epochs else ", no fine-tuning"
    return f"{plan.trials} trials{tuned}; protocol: {plan.protocol}"


def _measured(context: Context, photos: ImageFolder, backbone: Backbone) -> tuple[Plan, Forecast]:
    """What fits, after measuring this machine's speed on some of these photos.

    Nothing is measured that the plan does not depend on: with every feature in the cache and no
    fine-tuning in question, no photo is decoded.
    """
    settings, train = context.config, photos.split("train")
    small = len(photos) < settings.run.small and not photos.splits_given
    missing = context.cache.missing(backbone, photos)
    in_question = settings.run.finetune != "never" and not small
    rate = _rate(context, photos, backbone) if missing or in_question else 0.0
    features = missing / rate if missing else 0.0
    left = context.seconds_left - features - REPORT_SECONDS
    worth = in_question and (left > FEWEST_SECONDS or settings.run.finetune == "always")
    finetune_rate = _finetune_rate(backbone, len(photos.classes)) if worth else 0.0
    epochs, why = _epochs(context, left, rate, finetune_rate, len(train), small)
    plan = Plan(
        backbone=backbone.name,
        protocol=K_FOLD if small else HELD_OUT,
        trials=settings.tuning.trials,
        epochs=epochs,
        minutes=settings.run.minutes,
        photos_per_second=round(rate, 1),
        finetune_photos_per_second=round(finetune_rate, 1),
        why=why,
    )
    return plan, _forecast(plan, features, left, len(photos), len(train), backbone)


def _rate(context: Context, photos: ImageFolder, backbone: Backbone) -> float:
    """Photos per second through the frozen backbone, decoding included."""
    settings = context.config
    return measure_throughput(
        backbone, photos.all(), runtime=settings.models.runtime_name, workers=settings.data.workers
    )


def _epochs(
    context: Context, left: float, rate: float, finetune_rate: float, photos: int, small: bool
) -> tuple[int, str]:
    """How many epochs of fine-tuning fit into `left` seconds, and why."""
    wish, wanted = context.config.run.finetune, context.config.training.epochs
    if wish == "never":
        return 0, "Fine-tuning was switched off."
    if small:
        return 0, "There are too few photos to fine-tune and still measure honestly."
    if finetune_rate == 0.0:
        return 0, "The time does not allow fine-tuning (--minutes)."
    # Activations at the boundary are computed once for two views, then every epoch reads them.
    once, each = 2 * photos / rate, photos / finetune_rate
    fitting = int((CONFIDENT_SHARE * left - once) // each) if each > 0 else wanted
    if wish == "always":
        return max(1, min(wanted, fitting)), "Fine-tuning was asked for."
    if fitting < FEWEST_EPOCHS:
        needed = (once + FEWEST_EPOCHS * each) / CONFIDENT_SHARE - left
        return 0, (
            f"The time does not allow fine-tuning: {FEWEST_EPOCHS} epochs would take "
            f"{duration(max(needed, 0.0))} more (--minutes)."
        )
    return min(wanted, fitting), "The time allows fine-tuning."


def _finetune_rate(backbone: Backbone, classes: int) -> float:
    """Photos per second through a copy of the last stage and a head, forward and backward."""
    size = backbone.preprocessing.size
    with torch.no_grad():
        one = backbone.trunk(torch.zeros(1, 3, size, size))
    batch = one.expand(TIMED_BATCH, *one.shape[1:]).contiguous()
    stage = copy.deepcopy(backbone.stage).requires_grad_(True)
    head = torch.nn.Linear(backbone.feature_dim, classes)
    seconds = []
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        head(stage(batch)).logsumexp(1).mean().backward()
        seconds.append(time.perf_counter() - started)
    return TIMED_BATCH / min(seconds)


def _forecast(
    plan: Plan, features: float, left: float, photos: int, train: int, backbone: Backbone
) -> Forecast:
    """What is expected, the search included: under k-fold it may take half of what is left."""
    search = plan.trials * TRIAL_SECONDS
    if plan.protocol == K_FOLD:
        search = min(max(left / 2, 10.0), FOLDS * search)
    finetune = 0.0
    if plan.epochs:
        finetune = 2 * train / plan.photos_per_second
        finetune += plan.epochs * train / plan.finetune_photos_per_second
    seconds = features + search + finetune + REPORT_SECONDS
    memory = 1_500_000_000 + 12 * photos * backbone.feature_dim
    parts = ["features from the cache"]
    if features:
        parts = [f"features {duration(features)} ({plan.photos_per_second:.0f} photos/s)"]
    parts.append(f"search {duration(search)}")
    if plan.epochs:
        parts.append(f"{plan.epochs} epochs of fine-tuning {duration(finetune)}")
    text = (
        f"Forecast: about {duration(seconds)} and {memory / 1e9:.1f} GB of memory: "
        f"{', '.join(parts)}. {plan.why}"
    )
    return Forecast(text=text, seconds=seconds, memory_bytes=memory)
