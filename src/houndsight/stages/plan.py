"""The plan: what fits into the time budget, fixed once and followed by a resumed run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from houndsight.data.folder import ImageFolder
from houndsight.events import Forecast
from houndsight.models.backbone import Backbone
from houndsight.models.runtime import measure_throughput
from houndsight.stages.context import Context
from houndsight.stages.measure import (
    NetworkSpeed,
    SearchSpeed,
    measure_network,
    measure_search,
)
from houndsight.wording import duration

__all__ = ["Plan", "fix"]

REPORT_SECONDS = 30.0
"""Kept back for looking for causes, converting the model and writing the report; besides comes
what PyTorch takes for the photos it looks at and proves the graph on."""
EAGER_SHARE = 0.4
"""PyTorch's speed, of that of the pass that makes features, where only the latter was measured."""
PROVING_PHOTOS = 256
"""How many photos the saved graph is compared with PyTorch on."""
CONFIDENT_SHARE = 0.8
"""Of the time left, this much is planned: a machine is slower on some days."""
SEARCH_SHARE = 0.5
"""Of that, what the search may take where fine-tuning is to follow."""
FEWEST_TRIALS = 5
"""With fewer the search is no search, and preparing the photos takes most of its time."""
FEWEST_EPOCHS = 2
"""Fine-tuning for less than this is not worth its while."""
FEWEST_SECONDS = 30.0
"""With less time left fine-tuning is not even measured."""
EVALUATION_COST = 1 / 3
"""Of a photo in training, one evaluated takes this much: it has no backward pass."""
CANDIDATES = 3
"""Networks that are compared at the end of fine-tuning."""
REPEATS = 3
"""Of the k-fold protocol, at most."""
K_FOLD = "repeated k-fold"
HELD_OUT = "held-out test split"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do."""

    backbone: str
    protocol: str
    """Where the figures come from: the test split, or repeated k-fold of the head."""
    trials: int
    """Trials of the head search; fewer than asked for where the time is short."""
    epochs: int
    """Epochs of fine-tuning; 0 for a linear probe alone."""
    minutes: float
    photos_per_second: float
    """Photos through the frozen backbone, decoding included."""
    finetune_photos_per_second: float
    """Training photos through the last stage, forward and backward."""
    why: str
    """Why fine-tuning was planned or not, as a sentence."""
    repeats: int = REPEATS
    """How often all folds are drawn anew under the k-fold protocol."""


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
    settings = context.config
    budget = _Budget.of(context, photos, backbone)
    trials, repeats = budget.search()
    epochs, why = budget.epochs(settings.run.finetune, settings.training.epochs)
    plan = Plan(
        backbone=backbone.name,
        protocol=K_FOLD if budget.small else HELD_OUT,
        trials=trials,
        repeats=repeats,
        epochs=epochs,
        minutes=settings.run.minutes,
        photos_per_second=round(budget.rate, 1),
        finetune_photos_per_second=round(
            budget.network.finetune_photos_per_second if budget.network else 0.0, 1
        ),
        why=why,
    )
    return plan, budget.forecast(plan, settings.tuning.trials, backbone.feature_dim)


@dataclass
class _Budget:
    """The seconds left, and what the parts of the work cost."""

    photos: int
    train: int
    valid: int
    test: int
    small: bool
    left: float
    """Seconds that the features, the search and the fine-tuning may take."""
    rate: float
    features: float
    solving: SearchSpeed
    network: NetworkSpeed | None
    """None where fine-tuning is out of the question."""
    trials: int
    eager: float
    """Seconds in which PyTorch looks into the network at work and proves the saved graph."""
    searching: float = 0.0
    """What the search takes, once it is planned."""

    @classmethod
    def of(cls, context: Context, photos: ImageFolder, backbone: Backbone) -> _Budget:
        """Measure what is needed."""
        settings = context.config
        small = len(photos) < settings.run.small and not photos.splits_given
        in_question = settings.run.finetune != "never" and not small
        missing = context.cache.missing(backbone, photos)
        rate = 0.0
        if missing or in_question:
            rate = measure_throughput(
                backbone,
                photos.all(),
                runtime=settings.models.runtime_name,
                workers=settings.data.workers,
                max_pixels=settings.data.max_pixels,
            )
        features = missing / rate if missing else 0.0
        train, valid, test = (len(photos.split(name)) for name in ("train", "valid", "test"))
        classes = len(photos.classes)
        solving = measure_search(
            len(photos) if small else train, backbone.feature_dim, classes, settings.tuning.solver
        )
        pace = EAGER_SHARE * rate
        left = context.seconds_left - REPORT_SECONDS - _eager(context, valid, pace) - features
        worth = in_question and (left > FEWEST_SECONDS or settings.run.finetune == "always")
        network = measure_network(backbone, classes) if worth else None
        eager = _eager(context, valid, network.photos_per_second if network else pace)
        return cls(
            photos=len(photos),
            train=train,
            valid=valid,
            test=test,
            small=small,
            left=context.seconds_left - REPORT_SECONDS - eager - features,
            rate=rate,
            features=features,
            solving=solving,
            network=network,
            trials=settings.tuning.trials,
            eager=eager,
        )

    def search(self) -> tuple[int, int]:
        """Trials and repeats that fit; first repeats are given up, then trials."""
        allowed = CONFIDENT_SHARE * self.left * (1.0 if self.network is None else SEARCH_SHARE)
        repeats, trials = REPEATS if self.small else 1, self.trials
        while repeats > 1 and self._searching(trials, repeats) > allowed:
            repeats -= 1
        while trials > FEWEST_TRIALS and self._searching(trials, repeats) > allowed:
            trials = max(FEWEST_TRIALS, math.floor(trials * 0.8))
        self.searching = self._searching(trials, repeats)
        return trials, repeats

    def epochs(self, wish: str, wanted: int) -> tuple[int, str]:
        """How many epochs of fine-tuning fit beside the search, and why."""
        if wish == "never":
            return 0, "Fine-tuning was switched off."
        if self.small:
            return 0, "There are too few photos to fine-tune and still measure honestly."
        if self.network is None:
            return 0, "The time does not allow fine-tuning (--minutes)."
        once, each = self._finetuning()
        time = CONFIDENT_SHARE * self.left - self.searching
        fitting = int((time - once) // each) if each > 0 else wanted
        if wish == "always":
            return max(1, min(wanted, fitting)), "Fine-tuning was asked for."
        if fitting < min(FEWEST_EPOCHS, wanted):
            needed = (once + FEWEST_EPOCHS * each - time) / CONFIDENT_SHARE
            return 0, (
                f"The time does not allow fine-tuning: {FEWEST_EPOCHS} epochs would take "
                f"{duration(max(needed, 0.0))} more (--minutes)."
            )
        return min(wanted, fitting), "The time allows fine-tuning."

    def forecast(self, plan: Plan, trials: int, width: int) -> Forecast:
        """What is expected of the plan, in a sentence."""
        finetune = 0.0
        if plan.epochs:
            once, each = self._finetuning()
            finetune = once + plan.epochs * each
        seconds = self.features + self.searching + finetune + REPORT_SECONDS + self.eager
        memory = 1_500_000_000 + 12 * self.photos * width
        parts = ["features from the cache"]
        if self.features:
            parts = [f"features {duration(self.features)} ({self.rate:.0f} photos/s)"]
        cut = "" if plan.trials == trials else f" of {plan.trials} trials, {trials} do not fit,"
        parts.append(f"search{cut} {duration(self.searching)}")
        if plan.epochs:
            parts.append(f"{plan.epochs} epochs of fine-tuning {duration(finetune)}")
        text = (
            f"Forecast: about {duration(seconds)} and {memory / 1e9:.1f} GB of memory: "
            f"{', '.join(parts)}. {plan.why}"
        )
        return Forecast(text=text, seconds=seconds, memory_bytes=memory)

    def _searching(self, trials: int, repeats: int) -> float:
        if self.small:
            return self.solving.k_fold(self.photos, trials, repeats)
        return self.solving.held_out(self.train, trials)

    def _finetuning(self) -> tuple[float, float]:
        """Seconds that fine-tuning costs once, and for each epoch.

        Activations at the boundary are computed once, of training photos in two views; then every
        epoch reads them.
        """
        assert self.network is not None
        once = (2 * self.train + self.valid + self.test) / self.rate
        candidates = CANDIDATES * self.valid / self.network.finetune_photos_per_second
        once += EVALUATION_COST * candidates
        each = (self.train + EVALUATION_COST * self.valid) / (
            self.network.finetune_photos_per_second
        )
        return once, each


def _eager(context: Context, valid: int, photos_per_second: float) -> float:
    """Seconds of PyTorch beside the training, at that speed; 0 where it is not known."""
    settings = context.config
    watched = settings.debugger.rules != "none"
    photos = 2 * settings.debugger.look_photos if watched else 0
    photos += min(valid, PROVING_PHOTOS) if settings.run.graph != "none" else 0
    return photos / photos_per_second if photos_per_second else 0.0
