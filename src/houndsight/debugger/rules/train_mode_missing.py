"""Layers that should be training are in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import Integers, step_flags
from houndsight.debugger.history import History
from houndsight.debugger.normalisation import batchnorm_misfit
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import Structure
from houndsight.findings import Cause, Finding, Severity

__all__ = ["TrainModeMissing"]

STEPS = 5
SHARE = 0.3
MISFIT = 1.6
EARLY = 20
Mask = npt.NDArray[np.bool_]


class TrainModeMissing(Rule):
    """The network is trained in evaluation mode, most often from the first evaluation on, because
    `model.train()` is not called again. Dropout does nothing, and BatchNorm normalises by running
    statistics that no longer follow, or that never left their start of mean 0 and variance 1.

    Condition: at 30 % of the steps, at least five, the forward that led to the step found the
    root in evaluation mode, and there is a BatchNorm with parameters in training or a Dropout. Or
    the root is in training mode, BatchNorms whose parameters are in training are not, and in the
    first 20 such steps their outputs are more than 1.6 times larger or smaller than scale and
    shift make of variance 1: frozen statistics that fit, as in fine-tuning, are left alone. Only
    Dropout in a network that is mostly frozen is a remark.

    Source: PyTorch's documentation of `Module.train`; the reference's list of silent faults.
    """

    name = "TrainModeMissing"

    def not_applicable(self, history: History) -> str:
        """Without BatchNorm and Dropout the modes are the same."""
        if not _norms(history.structure) and not _drops(history.structure):
            return "No BatchNorm in training and no Dropout: both modes compute the same."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the network or for its BatchNorms."""
        steps, training = step_flags(history, "training")
        if not len(steps):
            return
        missing = training == 0
        if missing.sum() >= STEPS and missing.mean() >= SHARE:
            yield self._forgotten(history, steps, missing)
            return
        steps, normalising = step_flags(history, "batchnorm_training")
        still = normalising < 0.5
        if _norms(history.structure) and still.sum() >= STEPS and still.mean() >= SHARE:
            looked, misfit = batchnorm_misfit(history)
            # Weights learn to make up for it, so that its start tells most.
            early = misfit[np.isin(looked, steps[still][:EARLY])]
            if len(early) >= STEPS and np.median(early) > MISFIT:
                yield self._frozen(steps, still, float(np.median(early)))

    def _forgotten(self, history: History, steps: Integers, missing: Mask) -> Finding:
        structure = history.structure
        norms, drops = _norms(structure), _drops(structure)
        first = int(steps[missing][0])
        mostly = _trainable_share(structure) > 0.5
        asleep = [f"{len(norms)} BatchNorm"] * bool(norms) + [f"{len(drops)} Dropout"] * bool(drops)
        since = "from the start" if first == steps[0] else f"since step {first}"
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING if norms or mostly else Severity.INFO,
            title=(
                f"{int(missing.sum()):,} of {len(steps):,} steps were trained in evaluation mode, "
                f"{since}: {' and '.join(asleep)} layers do not train."
            ),
            causes=(
                Cause(
                    name="train-mode-missing",
                    text=(
                        "model.eval() was called before training."
                        if first == steps[0]
                        else "model.train() is not called after an evaluation."
                    ),
                    fix="Call model.train() at the start of every epoch, before its first batch.",
                    score=0.97,
                    evidence=f"The root module's training flag is False at step {first}.",
                    change={"model.train": True},
                ),
            ),
            count=int(missing.sum()),
            first_step=first,
            last_step=int(steps[missing][-1]),
            measured=float(missing.mean()),
            threshold=SHARE,
            plot=line_plot(steps, {"in training mode": 1.0 - missing}),
        )

    def _frozen(self, steps: Integers, still: Mask, misfit: float) -> Finding:
        return Finding(
            rule=self.name,
            where="BatchNorm",
            severity=Severity.WARNING,
            title=(
                f"BatchNorm layers are in evaluation mode at {int(still.sum()):,} of "
                f"{len(steps):,} training steps, and what they put out is {misfit:.2g} times too "
                "large or too small."
            ),
            causes=(
                Cause(
                    name="train-mode-missing",
                    text="BatchNorm was frozen, but its statistics are not of this data.",
                    fix=(
                        "Leave BatchNorm in training mode, or freeze it only with the statistics "
                        "of pretrained weights and inputs normalised as those weights ask."
                    ),
                    score=0.92,
                    evidence="Their outputs are not of variance 1 before scale and shift.",
                    change={"batchnorm.train": True},
                ),
            ),
            count=int(still.sum()),
            first_step=int(steps[still][0]),
            last_step=int(steps[still][-1]),
            measured=misfit,
            threshold=MISFIT,
            plot=line_plot(steps, {"BatchNorm in training mode": 1.0 - still}),
        )


def _norms(structure: Structure) -> list[str]:
    """BatchNorms that train: with a parameter of their own, or anything, in the optimizer."""
    owners = {p.module for p in structure.parameters if p.trainable and p.group is not None}
    return [m.name for m in structure.modules if "BatchNorm" in m.kind and m.name in owners]


def _drops(structure: Structure) -> list[str]:
    return [
        m.name
        for m in structure.modules
        if m.kind.startswith(("Dropout", "DropPath")) and float(m.settings.get("p") or 0) > 0
    ]


def _trainable_share(structure: Structure) -> float:
    sizes = {p.name: float(np.prod(p.shape)) for p in structure.parameters}
    trained = sum(sizes[p.name] for p in structure.parameters if p.trainable)
    return trained / max(sum(sizes.values()), 1.0)
