"""Why a tuning job found nothing, so that a person knows what to mend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from houndsight.jobs.status import JobState
from houndsight.jobs.tuning.hints import LONGEST_LINE, hint
from houndsight.jobs.tuning.plan import Definition, Plan
from houndsight.jobs.tuning.trials import JobTrial

__all__ = ["LogTail", "failure_reason"]

LogTail = Callable[[str], Sequence[str]]
"""The last lines of a training job's log, by its name."""

LONGEST = 1_024
"""Longest `FailureReason` that the API passes on."""
SHOWN_LINES = 6


def failure_reason(plan: Plan, trials: Sequence[JobTrial], log_tail: LogTail) -> str:
    """The `FailureReason` of a tuning job none of whose trials has a value of the objective."""
    if not trials:
        return "No training job could be started: there is nothing to try in the search space."
    failed = [trial for trial in trials if trial.status.state == JobState.FAILED]
    if len(failed) == len(trials):
        return _all_failed(failed)
    without = next(trial for trial in trials if trial.status.state != JobState.FAILED)
    return _no_metric(plan.definition(without.definition), trials, without, failed, log_tail)


def _all_failed(failed: Sequence[JobTrial]) -> str:
    number = len(failed)
    jobs = "the only training job" if number == 1 else f"all {number} training jobs"
    first = failed[0]
    why = first.status.failure_reason.strip() or "it gave no reason"
    text = f"All training jobs failed: {jobs} of this tuning job ended as Failed. {first.name}"
    return _cut(f"{text} said: {why}")


def _no_metric(
    definition: Definition,
    trials: Sequence[JobTrial],
    trial: JobTrial,
    failed: Sequence[JobTrial],
    log_tail: LogTail,
) -> str:
    said = (
        f"No objective metrics found after running {len(trials)} training jobs. Please ensure that"
        " the custom algorithm is emitting the objective metric as defined by the regular"
        f" expression provided: '{definition.regex}' for {definition.objective!r}."
    )
    if failed:
        said += f" {len(failed)} of them failed."
    lines = [line for line in log_tail(trial.name) if line.strip()]
    guess = hint(definition.regex, lines)
    said += f" {guess}" if guess else ""
    if not lines:
        return _cut(f"{said} The log of {trial.name} is empty.")
    shown = "\n".join(line.rstrip()[:LONGEST_LINE] for line in lines[-SHOWN_LINES:])
    return _cut(f"{said} The log of {trial.name} ends:\n{shown}")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
