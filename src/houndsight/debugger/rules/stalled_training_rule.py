"""A training from which nothing comes any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History
from houndsight.debugger.record import Mode
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import duration

__all__ = ["StalledTrainingRule"]

LEAST_SECONDS, MEDIANS, LONGEST = 900.0, 30.0, 5.0
DOCUMENTED_SECONDS = 1800.0


class StalledTrainingRule(Rule):
    """Nothing has been recorded for far longer than this training usually takes for a step.

    Condition, while the training has not ended: the newest row is older than 15 minutes, than 30
    times the median time between two forwards, and than 5 times the longest but one (a resumed
    run has one long pause); before ten forwards are recorded, the documented 30 minutes.

    With `threshold` set: the newest row is older than that many seconds. With
    `stop_training_on_fire` the finding's `plot` has `stop_training` true and the
    `training_job_name_prefix`, and whoever carries out actions stops the job.

    Source: SageMaker Debugger; the multiples are ours.
    """

    name = "StalledTrainingRule"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "threshold": Parameter(float, DOCUMENTED_SECONDS, "Seconds without anything new."),
        "stop_training_on_fire": Parameter(bool, False, "Whether to stop the job."),
        "training_job_name_prefix": Parameter(str, "", "Begin of the name of the job to stop."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        newest = history.last_time
        if history.ended or newest is None:
            return []
        waited = history.now - newest
        gaps = _gaps(history)
        usual = float(np.median(gaps)) if len(gaps) else float("nan")
        limit = self._limit(gaps, usual)
        if not waited > limit:
            return []
        paced = f"; a step usually takes {duration(usual)}" if len(gaps) else ""
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING if waited < 2 * limit else Severity.ERROR,
                title=f"Nothing has been recorded for {duration(waited)}{paced}.",
                first_step=history.last_step,
                last_step=history.last_step,
                measured=float(waited),
                threshold=limit,
                causes=_causes(history, newest),
                plot={
                    "kind": "value",
                    "seconds": float(waited),
                    "usual_seconds": usual if len(gaps) else None,
                    "stop_training": bool(self.value("stop_training_on_fire")),
                    "training_job_name_prefix": str(self.value("training_job_name_prefix")),
                },
            )
        ]

    def _limit(self, gaps: npt.NDArray[np.float64], usual: float) -> float:
        if "threshold" in self.given:
            return float(self.value("threshold"))
        if len(gaps) < 10:
            return DOCUMENTED_SECONDS
        return max(LEAST_SECONDS, MEDIANS * usual, LONGEST * float(np.sort(gaps)[-2]))


def _gaps(history: History) -> npt.NDArray[np.float64]:
    """Seconds between two recorded forwards."""
    times = [history.scalar("loss", mode).times for mode in (Mode.TRAIN, Mode.EVAL)]
    every = np.sort(np.concatenate(times))
    gaps = np.diff(every[np.isfinite(every)])
    return np.asarray(gaps[gaps > 0])


def _causes(history: History, newest: float) -> tuple[Cause, ...]:
    evaluating = history.scalar("loss", Mode.EVAL).times
    during = "evaluation" if len(evaluating) and evaluating[-1] >= newest - 1e-6 else "training"
    causes = [
        Cause(
            name="stalled",
            text="A worker of the data loader waits for a file, a lock or the network.",
            fix="See where it hangs with `py-spy dump --pid PID`; try num_workers=0 and a timeout "
            "for the loader.",
            evidence=f"The last that was recorded was {during}.",
            score=0.5,
        ),
        Cause(
            name="process-killed",
            text="The process was killed without a word, for instance for want of memory.",
            fix="Look for it in `dmesg` and in the process list; if it is gone, resume the run "
            "with a smaller batch.",
            score=0.4,
        ),
    ]
    if history.structure.world_size > 1:
        causes.insert(
            0,
            Cause(
                name="ranks-disagree",
                text="One process waits for the others in a collective that they never call.",
                fix="Give all ranks the same number of batches (drop_last=True), and look at each "
                "with `py-spy dump`.",
                evidence=f"There are {history.structure.world_size} processes.",
                score=0.6,
            ),
        )
    return tuple(causes)
