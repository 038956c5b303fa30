"""A cause's fix as a change to what a trial does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from houndsight.debugger.doctor.bench import Bench, Setup, are_probabilities
from houndsight.wording import number

__all__ = ["RATES", "repair"]

RATES = ("learning-rate-too-high", "learning-rate-too-low")
"""Causes that a range test gives the better value for."""
GROUP_SETTINGS = ("eps", "betas", "momentum", "weight_decay", "dampening", "nesterov")
PROBABILITIES = ("softmax", "sigmoid")


def repair(
    name: str, change: Mapping[str, Any], own: Setup, bench: Bench, *, rate: float | None
) -> tuple[Setup, dict[str, Any], str] | None:
    """The script's setup with the cause's fix, the change as it was made, and its text.

    Args:
        name: of the cause.
        change: as a rule proposes it.
        own: what the script does.
        bench: on which it will be tried.
        rate: the learning rate of a range test, which goes before an estimate.

    Returns:
        None where some training steps cannot show the change, such as one of the evaluation.
    """
    for part in (_rate, _flags, _loss, _settings):
        found = part(name, change, own, bench, rate)
        if found is not None:
            return found
    return None


Made = tuple[Setup, dict[str, Any], str] | None


def _rate(
    name: str, change: Mapping[str, Any], own: Setup, bench: Bench, rate: float | None
) -> Made:
    wanted = change.get("learning_rate")
    if "learning_rate_factor" in change:
        wanted = bench.rate * float(change["learning_rate_factor"])
    if wanted is None and name not in RATES:
        return None
    if name in RATES and rate is not None:
        wanted = rate
    if wanted is None:
        return None
    made = float(f"{float(wanted):.2g}")
    text = f"learning rate {number(made)} instead of {number(bench.rate)}"
    return replace(own, rate=made), {"learning_rate": made}, text


def _flags(
    name: str, change: Mapping[str, Any], own: Setup, bench: Bench, rate: float | None
) -> Made:
    del name, bench, rate
    if change.get("optimizer.zero_grad") is True:
        return replace(own, zero_grad=True), dict(change), "zero_grad() before each backward pass"
    if "model.train" in change or "batchnorm.train" in change:
        return replace(own, train_mode=True), {"model.train": True}, "model.train() before training"
    if "optimizer.parameters" in change or change.get("backbone.requires_grad") is True:
        return (
            replace(own, all_parameters=True),
            dict(change),
            "every parameter trained by the optimizer",
        )
    if change.get("normalise") or change.get("inputs.normalise"):
        return replace(own, normalise=True), dict(change), "inputs of mean 0 and deviation 1"
    return None


def _loss(
    name: str, change: Mapping[str, Any], own: Setup, bench: Bench, rate: float | None
) -> Made:
    del rate
    batch = bench.steps[0].batches[0]
    removes = str(change.get("remove", ""))
    wanted = str(change.get("loss", ""))
    changed = own
    if name == "softmax-before-loss" or any(kind in removes.lower() for kind in PROBABILITIES):
        # The logarithm of a softmax differs from its logits by a constant a row, which a
        # cross-entropy does not see.
        if batch.transform in PROBABILITIES:
            changed = replace(own, transform="nothing")
        elif are_probabilities(bench.forward(batch, training=True)[1]):
            changed = replace(own, logarithm=True)
    if wanted and wanted != batch.kind:
        if wanted != "cross_entropy" or batch.targets.is_floating_point():
            return None
        changed = replace(changed, loss=wanted)
    if changed == own:
        return None
    parts = ["no softmax before the loss"] if changed.transform or changed.logarithm else []
    parts += [f"{changed.loss} as the loss"] if changed.loss else []
    made = {"remove": "softmax"} if parts and parts[0].startswith("no") else {}
    made |= {"loss": changed.loss} if changed.loss else {}
    return changed, made, " and ".join(parts)


def _settings(
    name: str, change: Mapping[str, Any], own: Setup, bench: Bench, rate: float | None
) -> Made:
    del name, bench, rate
    groups = {key: change[key] for key in GROUP_SETTINGS if key in change}
    if "optimizer.maximize" in change:
        groups["maximize"] = False
    if "betas" in groups:
        groups["betas"] = tuple(groups["betas"])
    clip = change.get("clip_norm", change.get("gradient_clipping"))
    momentum = change.get("batchnorm.momentum")
    if not groups and clip is None and momentum is None:
        return None
    made = replace(
        own,
        groups={**own.groups, **groups},
        clip_norm=own.clip_norm if clip is None else float(clip),
        batchnorm_momentum=None if momentum is None else float(momentum),
    )
    return made, dict(change), ", ".join(f"{key} {value}" for key, value in change.items())
