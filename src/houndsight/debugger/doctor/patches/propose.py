"""Which change of the text a cause's change of the settings is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from houndsight.debugger.doctor.patches.loop import (
    clip_gradients,
    evaluate_in_evaluation_mode,
    train_in_training_mode,
    zero_grad,
)
from houndsight.debugger.doctor.patches.network import (
    drop_in_training_only,
    mend_requires_grad,
    register_layers,
    remove_softmax,
    use_cross_entropy,
)
from houndsight.debugger.doctor.patches.optimizer import (
    hold_all_parameters,
    set_learning_rate,
    set_option,
)
from houndsight.debugger.doctor.patches.script import NotLocatedError, Script

__all__ = ["Proposal", "propose"]

OPTIONS = ("eps", "betas", "momentum", "dampening", "weight_decay")


@dataclass(frozen=True)
class Proposal:
    """A changed text, or why there is none."""

    diff: str = ""
    """Unified, with the script's name after `a/` and `b/`; empty when there is none."""
    reason: str = ""
    """Why there is none, as a sentence."""


def propose(
    source: str, name: str, cause: str, change: Mapping[str, Any], arguments: Sequence[str] = ()
) -> Proposal:
    """The repair of a cause as a patch.

    Args:
        source: the script's text.
        name: its path, as it stands in the patch.
        cause: the cause's name.
        change: as the repair was tried, or as a rule proposes it.
        arguments: what the script is started with: a setting given there has no line to change.
    """
    try:
        changed = _changed(Script(source), cause, change, arguments)
        # What does not parse any more was no repair.
        Script(changed)
    except NotLocatedError as error:
        return Proposal(reason=str(error))
    if changed == source:
        return Proposal(reason="The script has it already.")
    lines = difflib.unified_diff(
        source.splitlines(keepends=True),
        changed.splitlines(keepends=True),
        f"a/{name}",
        f"b/{name}",
    )
    # A last line without an end would run into the next one.
    ended = [ln if ln.endswith("\n") else f"{ln}\n\\ No newline at end of file\n" for ln in lines]
    return Proposal(diff="".join(ended))


def _changed(
    script: Script, cause: str, change: Mapping[str, Any], arguments: Sequence[str]
) -> str:
    if "learning_rate" in change:
        return set_learning_rate(script, float(change["learning_rate"]), arguments)
    if change.get("optimizer.zero_grad") is True:
        return zero_grad(script)
    if "model.train" in change or "batchnorm.train" in change:
        return train_in_training_mode(script)
    if "model.eval" in change:
        return evaluate_in_evaluation_mode(script)
    if change.get("optimizer.parameters") == "all":
        return hold_all_parameters(script)
    if "remove" in change or cause == "softmax-before-loss":
        return remove_softmax(script)
    if change.get("loss") == "cross_entropy":
        return use_cross_entropy(script)
    if "backbone.requires_grad" in change:
        return mend_requires_grad(script)
    if "dropout.training" in change:
        return drop_in_training_only(script)
    if "model.modules" in change:
        return register_layers(script)
    if "optimizer.maximize" in change:
        return set_option(script, "maximize", False, arguments)
    clip = change.get("clip_norm", change.get("gradient_clipping"))
    if clip is not None:
        return clip_gradients(script, float(clip))
    for name in OPTIONS:
        if name in change:
            value = tuple(change[name]) if name == "betas" else float(change[name])
            return set_option(script, name, value, arguments)
    raise NotLocatedError("The change is not one of a few lines whose place is certain.")
