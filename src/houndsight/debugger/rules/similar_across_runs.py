"""Two runs that should be alike and are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import figure, held, line_plot, number
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.selection import SELECTION, select
from houndsight.errors import SettingError
from houndsight.findings import Cause, Finding, Severity

__all__ = ["SimilarAcrossRuns"]

TOLERANCE = 1e-4
SHOWN = 8
Floats = npt.NDArray[np.float64]


class SimilarAcrossRuns(Rule):
    """This run's tensors differ from those of another run that it is compared with.

    Condition: with `other_trials` naming one or more other runs, some chosen tensor (the loss
    and all parameters when none is chosen) differs at a step that both have recorded: its norm,
    mean or value is off by more than 1e-4 of itself. The tensor that differs first is named for
    each other run. Without `other_trials` it has nothing to compare with.

    Source: SageMaker Debugger, whose 2019 documentation says that it fires when the tensors are
    different; its tolerance is not published.
    """

    name = "SimilarAcrossRuns"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "other_trials": Parameter(str, None, "The other runs, by name or folder, with commas."),
        **SELECTION,
    }

    def not_applicable(self, history: History) -> str:
        """Without another run."""
        del history
        return "" if self.given.get("other_trials") else "No other run is named by other_trials."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each other run that differs.

        Raises:
            SettingError: another run is not to be found.
        """
        findings = []
        names = str(self.given["other_trials"]).split(",")
        for other in [name.strip() for name in names if name.strip()]:
            if other not in history.others:
                raise SettingError(f"other_trials names {other!r}, which is not a run at hand.")
            found = self._compare(history, history.others[other], other)
            findings += [found] if found else []
        return findings

    def _compare(self, history: History, other: History, name: str) -> Finding | None:
        chosen = select(history, self.given)
        if chosen is None:
            parameters = tuple(p.name for p in history.structure.parameters)
            chosen = {Group.SCALARS: ("loss",), Group.PARAMETERS: parameters}
        differing: list[tuple[int, str, npt.NDArray[np.int64], Floats]] = []
        for group, tensors in chosen.items():
            for tensor in tensors:
                steps, off = _difference(history, other, group, tensor)
                if (off > TOLERANCE).any():
                    label = tensor if group == Group.SCALARS else f"{group.value}/{tensor}"
                    differing.append((int(steps[(off > TOLERANCE).argmax()]), label, steps, off))
        if not differing:
            return None
        first, tensor, steps, off = min(differing, key=lambda one: one[0])
        when = held(steps, off > TOLERANCE)
        assert when is not None
        at = float(off[(off > TOLERANCE).argmax()])
        return Finding(
            rule=self.name,
            where=name,
            severity=Severity.WARNING,
            title=f"The run differs from {name} from step {first} on: {tensor} is off by "
            f"{number(100 * at)} %, and {len(differing) - 1} other tensors differ.",
            measured=figure(at),
            threshold=TOLERANCE,
            examples=tuple(one[1] for one in sorted(differing, key=lambda one: one[0])[:SHOWN]),
            causes=_causes(history, other, first),
            plot=line_plot(
                steps,
                {tensor: off},
                y_label="relative difference",
                threshold=TOLERANCE,
                logarithmic=True,
            ),
            **when.fields,
        )


def _difference(
    history: History, other: History, group: Group, name: str
) -> tuple[npt.NDArray[np.int64], Floats]:
    """(n,) common steps and the relative difference of the tensor's statistics at them."""
    kept: dict[int, float] = {}
    for here, there in zip(_series(history, group), _series(other, group), strict=True):
        steps, mine, its = np.intersect1d(here.steps, there.steps, return_indices=True)
        a, b = here.of(name)[mine], there.of(name)[its]
        with np.errstate(all="ignore"):
            off = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-12)
        # Both not finite is alike; one of them is as different as can be.
        alike = np.isfinite(a) == np.isfinite(b)
        off = np.where(np.isfinite(off), off, np.where(alike, 0.0, 1.0))
        for step, value in zip(steps.tolist(), off.tolist(), strict=True):
            kept[step] = max(kept.get(step, 0.0), value)
    steps = np.array(sorted(kept), np.int64)
    return steps, np.array([kept[int(step)] for step in steps])


def _series(history: History, group: Group) -> list[Series]:
    if group == Group.SCALARS:
        return [history.scalar("loss")]
    if group in (Group.PARAMETERS, Group.GRADIENTS):
        return [history.series(group, Statistic.NORM)]
    return [history.series(group, Statistic.MEAN), history.series(group, Statistic.STD)]


def _causes(history: History, other: History, first: int) -> tuple[Cause, ...]:
    facts = [
        f"{what}: {getattr(history.structure, what)} here, {getattr(other.structure, what)} there"
        for what in ("framework", "device", "precision", "world_size", "optimizer")
        if getattr(history.structure, what) != getattr(other.structure, what)
    ]
    return (
        Cause(
            name="seeds-differ",
            text="The runs began with other weights."
            if first == 0
            else "The runs drew their batches, augmentation or dropout otherwise.",
            fix="Set one seed for Python, NumPy, PyTorch and the loader's workers, and call "
            "torch.use_deterministic_algorithms(True).",
            evidence=f"They differ from step {first} on.",
            score=0.6,
            change={"seed": 0},
        ),
        Cause(
            name="settings-differ",
            text="The runs have other settings, versions or machines.",
            fix="Compare run.json of both.",
            evidence="; ".join(facts),
            score=0.8 if facts else 0.3,
        ),
    )
