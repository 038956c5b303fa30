"""What earlier tuning jobs found: the warm start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from houndsight.jobs.request import BadRequestError
from houndsight.jobs.states import Kind, NotFoundError
from houndsight.jobs.store import JobStore, Record
from houndsight.jobs.tuning.plan import Definition, Plan, plan_of
from houndsight.jobs.tuning.standing import best_trial
from houndsight.jobs.tuning.trials import JobTrial, objective_of, record_of, trial_of
from houndsight.tuning.history import TrialRecord

__all__ = [
    "check_parents",
    "children",
    "earlier_records",
    "overall_best",
    "stored_plan",
    "with_inherited_metrics",
]

PAGE = 500


def stored_plan(record: Record) -> Plan:
    """The plan of a tuning job in the store."""
    region = record.arn.split(":")[3]
    return plan_of(record.name, record.arn, record.request, created=record.created, region=region)


def children(store: JobStore, tuning_job: str) -> Iterator[Record]:
    """The records of all training jobs of a tuning job, oldest first."""
    token: str | None = None
    while True:
        page = store.list(Kind.TRAINING_JOB, parent=tuning_job, limit=PAGE, token=token)
        yield from page.records
        token = page.next_token
        if token is None:
            return


def check_parents(store: JobStore, plan: Plan) -> None:
    """Refuse a warm start from what is not there or has not ended.

    Raises:
        BadRequestError: names the parent.
    """
    for name in plan.parents:
        try:
            parent = store.get(Kind.TUNING_JOB, name)
        except NotFoundError as error:
            raise BadRequestError(
                f"WarmStartConfig: there is no hyperparameter tuning job {name!r}."
            ) from error
        if parent.status not in ("Completed", "Failed", "Stopped"):
            raise BadRequestError(
                f"WarmStartConfig: hyperparameter tuning job {name!r} is {parent.status}; wait"
                " until it has ended, or stop it."
            )


def with_inherited_metrics(store: JobStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """`request`, with a parent's metric definitions where a warm start has none of its own.

    The SDK's `identical_dataset_and_algorithm_tuner` and `transfer_learning_tuner` leave them out.
    """
    request = dict(request)
    one, warm = request.get("TrainingJobDefinition"), request.get("WarmStartConfig") or {}
    algorithm = (one or {}).get("AlgorithmSpecification") or {}
    if one is None or algorithm.get("MetricDefinitions"):
        return request
    for row in warm.get("ParentHyperParameterTuningJobs") or ():
        try:
            parent = store.get(Kind.TUNING_JOB, str(row["HyperParameterTuningJobName"])).request
        except NotFoundError:
            continue
        theirs = (parent.get("TrainingJobDefinition") or {}).get("AlgorithmSpecification") or {}
        if theirs.get("MetricDefinitions"):
            algorithm = {**algorithm, "MetricDefinitions": theirs["MetricDefinitions"]}
            request["TrainingJobDefinition"] = {**one, "AlgorithmSpecification": algorithm}
            break
    return request


def earlier_records(store: JobStore, plan: Plan, definition: Definition) -> list[TrialRecord]:
    """The parents' trials with a value of this search's objective, for its strategy."""
    found: list[TrialRecord] = []
    for trial in _parents_trials(store, plan, definition):
        record = record_of(trial, definition, number=len(found), reports=lambda _: ())
        if record is not None and record.value is not None:
            found.append(record)
    return found


def overall_best(store: JobStore, plan: Plan, best: JobTrial | None) -> str:
    """Name of the best training job of this tuning job and its parents."""
    trials = list(_parents_trials(store, plan, plan.definitions[0]))
    if best is not None:
        trials.append(replace(best, number=-1))
    overall = best_trial(plan, trials)
    return "" if overall is None else overall.name


def _parents_trials(store: JobStore, plan: Plan, definition: Definition) -> Iterator[JobTrial]:
    """The parents' training jobs, valued by this search's objective."""
    for name in plan.parents:
        try:
            parent = stored_plan(store.get(Kind.TUNING_JOB, name))
        except NotFoundError:
            continue
        for record in children(store, name):
            trial = trial_of(record, parent)
            if trial is not None and trial.ended:
                yield replace(trial, value=objective_of(trial.status, definition.objective))
