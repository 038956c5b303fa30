"""Before anything is trained: some photos through the whole network, watched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional

from houndsight.data.folder import ImageFolder, Split
from houndsight.debugger.evaluator import judge_folder, write_verdicts
from houndsight.debugger.hook import Hook
from houndsight.debugger.judge import Standing, Verdict
from houndsight.debugger.record import Mode
from houndsight.debugger.rules import RULES, make_rules
from houndsight.findings import Cause, Finding, Severity
from houndsight.models.backbone import Backbone
from houndsight.models.classifier import Classifier
from houndsight.runs import Run, RunStatus
from houndsight.stages.context import Context
from houndsight.stages.tune import Search
from houndsight.stages.watch import facts_of
from houndsight.training.images import ImageBatches
from houndsight.wording import plural

__all__ = ["look"]

PART, HEAD = "backbone", "head"
BATCH = 16
RULES_OF_A_LOOK = (
    "CheckInputImages",
    "ConstantInputs",
    "DeadFeatures",
    "HeadSize",
    "InputsNormalisedTwice",
    "InputsNotNormalised",
    "PreprocessingDiffers",
    "SharedExamples",
    "SoftmaxTwice",
    "WrongLoss",
)
"""Those that judge inputs, activations and outputs; the others need steps."""
NO_STEPS = "Photos only went through the network here; nothing was trained."


def look(context: Context, photos: ImageFolder, backbone: Backbone, search: Search) -> None:
    """Record and judge what photos of training and validation do in the network, head included.

    They come through the same decoding as in evaluation and serving, in eager PyTorch, so that
    every module is seen; the quick runtime that made the features is no part of it.
    """
    settings = context.config.debugger
    if settings.rules == "none" or context.done("look") is not None:
        return
    _tell_of_head(context, search)
    if not settings.look_photos:
        return
    counts = f"{plural(settings.look_photos, 'photo')} each of training and validation"
    with context.stage("look", f"Looking at {counts} in {backbone.name}") as outcome:
        _record(context, photos, backbone, search)
        rules = make_rules(RULES_OF_A_LOOK)
        left_out = {name: NO_STEPS for name in RULES if name not in RULES_OF_A_LOOK}
        found = judge_folder(context.run.watched_folder(PART), rules, left_out=left_out)
        grave = [f for f in found if f.severity != Severity.INFO]
        seen = "; ".join(f.title for f in grave) if grave else "nothing out of the ordinary"
        outcome.text = f"Looked into {backbone.name} at work: {seen}"


def _tell_of_head(context: Context, search: Search) -> None:
    """The linear probe is trained too, but in another way than the rules judge."""
    folder = context.run.watched_folder(HEAD)
    shutil.rmtree(folder, ignore_errors=True)
    part = Run.create(folder, kind="job", config={})
    if context.config.tuning.solver == "sgd":
        reason = "The head's few epochs of SGD on cached features are compared by the search."
    else:
        reason = "The head is fitted to its optimum by L-BFGS; there are no steps to judge."
    write_verdicts(
        folder,
        [Verdict(name, Standing.NOT_APPLICABLE, reason) for name in RULES],
        step=search.fitted.iterations,
        ended=True,
    )
    if not search.fitted.converged:
        part.add_findings([_not_converged(search.fitted.iterations)])
    part.set_status(RunStatus.COMPLETED)


def _not_converged(iterations: int) -> Finding:
    return Finding(
        rule="HeadNotConverged",
        where="",
        severity=Severity.WARNING,
        title=f"The linear probe was still improving after {iterations} iterations.",
        causes=(
            Cause(
                text="With next to no weight decay the optimum lies very far away.",
                fix="Search a higher weight decay, or normalise the features.",
                score=0.7,
            ),
        ),
        last_step=iterations,
    )


def _record(context: Context, photos: ImageFolder, backbone: Backbone, search: Search) -> None:
    """One log of forwards in both modes, from nothing: it is quicker made than resumed."""
    folder = context.run.watched_folder(PART)
    shutil.rmtree(folder, ignore_errors=True)
    classifier = Classifier(backbone, search.fitted.head).eval()
    with (
        _frozen(backbone),
        Hook(classifier, folder=folder, facts=facts_of(context, photos, backbone)) as hook,
    ):
        for mode, name in ((Mode.TRAIN, "train"), (Mode.EVAL, "valid")):
            hook.set_mode(mode)
            # With gradients, of the head alone, a forward counts as one of training.
            with torch.set_grad_enabled(mode == Mode.TRAIN):
                _forward(context, classifier, _sample(photos.split(name), context))


@contextmanager
def _frozen(backbone: Backbone) -> Iterator[None]:
    """Inside, no activation of the backbone is kept for a backward pass."""
    before = {p: p.requires_grad for p in backbone.parameters()}
    backbone.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, wanted in before.items():
            parameter.requires_grad_(wanted)


def _sample(split: Split, context: Context) -> Split:
    """Some of its photos, by chance."""
    count = min(context.config.debugger.look_photos, len(split))
    generator = np.random.default_rng(context.config.run.seed)
    return split.take(np.sort(generator.choice(len(split), count, replace=False)))


def _forward(context: Context, classifier: Classifier, split: Split) -> None:
    if not len(split):
        return
    batches = ImageBatches(
        split,
        classifier.backbone.preprocessing,
        batch_size=BATCH,
        workers=context.config.data.workers,
        max_pixels=context.config.data.max_pixels,
    )
    for batch in batches.iterate(0, 0):
        if len(batch.inputs):
            functional.cross_entropy(classifier(batch.inputs), batch.targets)
