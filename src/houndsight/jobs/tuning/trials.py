"""The trials of a tuning job: each is a training job, and its record is all that is known of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from houndsight.errors import SettingError
from houndsight.jobs.request import TUNING_MARK
from houndsight.jobs.status import JobState, JobStatus
from houndsight.jobs.store import Record
from houndsight.jobs.tuning.plan import OBJECTIVE_KEY, Definition, Plan
from houndsight.jobs.tuning.ranges import parameters_of, text_of
from houndsight.tuning.history import TrialRecord, TrialState
from houndsight.tuning.parameters import Value

__all__ = [
    "RETRYABLE",
    "JobTrial",
    "Reports",
    "child_name",
    "child_request",
    "latest_attempts",
    "objective_of",
    "record_of",
    "resources_of",
    "trial_of",
    "tuned_of",
]

RETRYABLE = ("InternalServerError", "CapacityError")
"""A training job whose failure reason begins so did not fail by its own fault."""
CARRIED = (
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "RetryStrategy",
    "Environment",
)
"""Fields of a training job definition that its training jobs take over as they are."""


@dataclass(frozen=True, kw_only=True)
class JobTrial:
    """One training job of a tuning job."""

    number: int
    """0, 1, 2 … in the order of the tuning job; a retry keeps its number."""
    attempt: int
    name: str
    definition: str
    status: JobStatus
    hyperparameters: Mapping[str, str]
    value: float | None
    """The objective's last value, when it is finite."""

    @property
    def ended(self) -> bool:
        """Whether it runs no longer."""
        return self.status.state.ended

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop and has not."""
        return self.status.state == JobState.STOPPING

    @property
    def retryable(self) -> bool:
        """Whether it failed by no fault of its own."""
        return self.status.state == JobState.FAILED and self.status.failure_reason.startswith(
            RETRYABLE
        )


Reports = Callable[[JobTrial], tuple[tuple[int, float], ...]]
"""(step, objective) of a trial so far; a step is the how manieth value it is."""


def child_name(plan: Plan, number: int, attempt: int) -> str:
    """`{tuning}-{NNN}-{8 hex}`: the same for the same trial, so that it is never made twice."""
    seed = f"{plan.arn} {plan.created!r} {number} {attempt}"
    return f"{plan.name}-{number + 1:03d}-{hashlib.sha256(seed.encode()).hexdigest()[:8]}"


def child_request(
    plan: Plan,
    definition: Definition,
    parameters: Mapping[str, Value],
    *,
    number: int,
    attempt: int,
) -> dict[str, Any]:
    """The request of one training job, as `CreateTrainingJob` would get it."""
    row, name = definition.request, child_name(plan, number, attempt)
    tuned = {key: text_of(value) for key, value in parameters.items()}
    objective = {OBJECTIVE_KEY: definition.objective}
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "HyperParameters": {**definition.static, **tuned, **objective},
        "AlgorithmSpecification": dict(row.get("AlgorithmSpecification") or {}),
        "ResourceConfig": resources_of(row),
    }
    request |= {key: row[key] for key in CARRIED if key in row}
    if row.get("CheckpointConfig"):
        request["CheckpointConfig"] = _checkpoint(row["CheckpointConfig"], name)
    if plan.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in plan.tags.items()]
    request[TUNING_MARK] = {
        "Job": plan.name,
        "Arn": plan.arn,
        "Definition": definition.name,
        "Number": number,
        "Attempt": attempt,
    }
    return request


def trial_of(record: Record, plan: Plan) -> JobTrial | None:
    """The trial that a training job is, or None when it is none of this tuning job."""
    mark = record.request.get(TUNING_MARK) or {}
    if mark.get("Arn") != plan.arn:
        return None
    definition = plan.definition(mark.get("Definition", ""))
    status = JobStatus.from_json(dict(record.detail)) if record.detail else JobStatus()
    return JobTrial(
        number=int(mark["Number"]),
        attempt=int(mark["Attempt"]),
        name=record.name,
        definition=definition.name,
        status=status,
        hyperparameters=dict(record.request.get("HyperParameters") or {}),
        value=objective_of(status, definition.objective),
    )


def objective_of(status: JobStatus, metric: str) -> float | None:
    """The last value of `metric`, or None when there is none or it is not finite."""
    value = status.metrics.get(metric, (math.nan, 0.0))[0]
    return float(value) if math.isfinite(value) else None


def record_of(
    trial: JobTrial, definition: Definition, *, number: int, reports: Reports
) -> TrialRecord | None:
    """A trial as the strategies know it; None when its parameters are of another space."""
    try:
        parameters = parameters_of(definition.space, trial.hyperparameters)
    except (SettingError, ValueError):
        return None
    state = TrialState.STOPPED
    if trial.status.state == JobState.COMPLETED:
        state = TrialState.COMPLETED
    failed = trial.status.state == JobState.FAILED or trial.value is None
    return TrialRecord(
        number=number,
        parameters=parameters,
        state=TrialState.FAILED if failed else state,
        value=None if failed else trial.value,
        metrics={} if trial.value is None else {definition.objective: trial.value},
        intermediate=reports(trial),
        error=trial.status.failure_reason,
    )


def tuned_of(definition: Definition, hyperparameters: Mapping[str, str]) -> dict[str, str]:
    """The tuned ones among a training job's hyperparameters, as text."""
    return {name: hyperparameters[name] for name in definition.space if name in hyperparameters}


def latest_attempts(trials: Sequence[JobTrial]) -> list[JobTrial]:
    """The last attempt of every trial, by number."""
    latest: dict[int, JobTrial] = {}
    for trial in trials:
        if trial.number not in latest or trial.attempt > latest[trial.number].attempt:
            latest[trial.number] = trial
    return [latest[number] for number in sorted(latest)]


def resources_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """`ResourceConfig`, also from `HyperParameterTuningResourceConfig`, which the SDK sends."""
    given = dict(row.get("ResourceConfig") or row.get("HyperParameterTuningResourceConfig") or {})
    for config in given.pop("InstanceConfigs", None) or ():
        return {**given, **config}
    given.pop("AllocationStrategy", None)
    return given


def _checkpoint(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A folder of checkpoints for each training job: trials must not read each other's."""
    return {**config, "S3Uri": f"{str(config['S3Uri']).rstrip('/')}/{name}"}
