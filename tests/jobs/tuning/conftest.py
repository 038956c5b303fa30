"""A stand-in for the job service: training jobs that do what the test says, in a real store."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from houndsight.jobs.engine import LogLine, LogPage
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.states import Kind, StateError
from houndsight.jobs.status import JobState, JobStatus
from houndsight.jobs.store import JobStore, Record
from houndsight.jobs.tuning.driver import Driver
from houndsight.jobs.tuning.plan import plan_of
from houndsight.jobs.tuning.states import Progress

METRIC = "loss"
ARN = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/{}"


class FakeJobs:
    """As much of `JobService` as a tuning job needs."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.lines: dict[str, list[str]] = {}
        self.listeners: list[Callable[[Record], None]] = []
        self.specs: dict[str, TrainingSpec] = {}
        self._clock = itertools.count(1_000)

    def add_listener(self, listener: Callable[[Record], None]) -> None:
        self.listeners.append(listener)

    def create_training_job(self, spec: TrainingSpec, request: Mapping[str, Any]) -> Record:
        status = JobStatus().moved(JobState.STARTING, "Starting", self._now())
        status = status.moved(JobState.TRAINING, "Training", self._now())
        record = self.store.add(
            Record(
                kind=Kind.TRAINING_JOB,
                name=spec.name,
                arn=spec.arn,
                status="InProgress",
                request=request,
                detail=replace(status, training_started=self._now()).to_json(),
                parent=spec.tuning_job,
            )
        )
        self.specs[spec.name] = spec
        return record

    def stop_training_job(self, name: str) -> Record:
        status = self.training_status(name)
        if status.state.ended:
            raise StateError(f"{name} has ended.")
        return self._move(name, status.moved(JobState.STOPPING, "Stopping", self._now()))

    def training_status(self, name: str) -> JobStatus:
        return JobStatus.from_json(dict(self.store.get(Kind.TRAINING_JOB, name).detail))

    def metrics(self, name: str) -> list[dict[str, Any]]:
        return self.rows.get(name, [])

    def logs(self, name: str, host: str, offset: int, limit: int) -> LogPage:
        lines = self.lines.get(name, [])
        page = [LogLine(0, line, at) for at, line in enumerate(lines)][offset : offset + limit]
        return LogPage(page, offset + len(page))

    @property
    def created(self) -> list[str]:
        return [r.name for r in self.store.list(Kind.TRAINING_JOB, limit=1_000).records]

    # -- what the test makes happen ---------------------------------------------------------

    def report(self, name: str, value: float, metric: str = METRIC) -> None:
        row = {"name": metric, "value": value, "time": self._now(), "host": "algo-1"}
        self.rows.setdefault(name, []).append(row)
        status = self.training_status(name)
        metrics = {**status.metrics, metric: (value, row["time"])}
        self._move(name, replace(status, metrics=metrics))

    def end(self, name: str, state: JobState = JobState.COMPLETED, reason: str = "") -> None:
        status = self.training_status(name)
        now = self._now()
        ended = status.moved(state, state.value, now, failure_reason=reason, training_ended=now)
        self._move(name, ended)

    def running(self) -> list[str]:
        return [n for n in self.created if not self.training_status(n).state.ended]

    def hyperparameters(self, name: str) -> Mapping[str, str]:
        return dict(self.store.get(Kind.TRAINING_JOB, name).request["HyperParameters"])

    def _move(self, name: str, status: JobStatus) -> Record:
        record = self.store.update(
            Kind.TRAINING_JOB, name, status=status.state.primary, detail=status.to_json()
        )
        for listener in self.listeners:
            listener(record)
        return record

    def _now(self) -> float:
        return float(next(self._clock))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "jobs.sqlite")
    yield made
    made.close()


@pytest.fixture
def jobs(store: JobStore) -> FakeJobs:
    return FakeJobs(store)


def definition(**changes: Any) -> dict[str, Any]:
    return {
        "StaticHyperParameters": {
            "epochs": "2",
            "sagemaker_program": '"hpo.py"',
        },
        "AlgorithmSpecification": {
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.8",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": METRIC, "Regex": "Test Loss: ([0-9.]+)"}],
        },
        "RoleArn": "arn:aws:iam::000000000000:role/houndsight",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out/"},
        "HyperParameterTuningResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **changes,
    }


RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Auto"}
    ],
    "IntegerParameterRanges": [],
    "CategoricalParameterRanges": [{"Name": "batch-size", "Values": ['"32"', '"64"', '"128"']}],
}


def tuning_request(
    *, jobs: int = 4, parallel: int = 2, limits: Mapping[str, Any] = {}, **config: Any
) -> dict[str, Any]:
    several = config.pop("definitions", None)
    request: dict[str, Any] = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": METRIC},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": jobs,
                "MaxParallelTrainingJobs": parallel,
                **limits,
            },
            "ParameterRanges": copy.deepcopy(RANGES),
            "TrainingJobEarlyStoppingType": "Off",
            **config,
        },
    }
    if several:
        request["TrainingJobDefinitions"] = several
        for name in ("ParameterRanges", "HyperParameterTuningJobObjective"):
            del request["HyperParameterTuningJobConfig"][name]
    else:
        request["TrainingJobDefinition"] = definition()
    return request


class Tuning:
    """One tuning job in the store, moved on step by step."""

    def __init__(self, jobs: FakeJobs, request: Mapping[str, Any], name: str = "tuning") -> None:
        self.jobs, self.name = jobs, name
        self.record = jobs.store.add(
            Record(
                kind=Kind.TUNING_JOB,
                name=name,
                arn=ARN.format(name),
                status="InProgress",
                request=request,
                detail=Progress().to_json(),
            )
        )
        self.driver = self.again()

    def again(self) -> Driver:
        """A driver that knows nothing: what a new control plane has."""
        record = self.record
        plan = plan_of(self.name, record.arn, record.request, created=record.created)
        self.driver = Driver(self.jobs, plan)  # type: ignore[arg-type]
        return self.driver

    @property
    def progress(self) -> Progress:
        return Progress.from_json(self.jobs.store.get(Kind.TUNING_JOB, self.name).detail)

    @property
    def status(self) -> str:
        return self.jobs.store.get(Kind.TUNING_JOB, self.name).status

    def run(self, script: Callable[[FakeJobs, str], None], *, steps: int = 200) -> Progress:
        """Step until it has ended; each running job is handed to `script` in between."""
        for _ in range(steps):
            if self.driver.step():
                return self.progress
            for name in self.jobs.running():
                if self.jobs.training_status(name).state == JobState.STOPPING:
                    self.jobs.end(name, JobState.STOPPED)
                else:
                    script(self.jobs, name)
        raise AssertionError(f"it never ended: {self.progress}")


def succeed(jobs: FakeJobs, name: str) -> None:
    """A script whose loss is best at a small learning rate and batches of 64."""
    parameters = jobs.hyperparameters(name)
    loss = float(parameters["lr"]) + (parameters["batch-size"] != '"64"')
    jobs.report(name, loss + 1)
    jobs.report(name, loss)
    jobs.end(name)


@pytest.fixture
def tune(jobs: FakeJobs) -> Callable[..., Tuning]:
    """Make a tuning job: `tune(jobs=4, parallel=2, Strategy="Random")`."""

    def make(
        *, name: str = "tuning", request: Mapping[str, Any] | None = None, **how: Any
    ) -> Tuning:
        return Tuning(jobs, request or tuning_request(**how), name)

    return make


@pytest.fixture
def make_request() -> Callable[..., dict[str, Any]]:
    return tuning_request


@pytest.fixture
def make_definition() -> Callable[..., dict[str, Any]]:
    return definition


@pytest.fixture
def good_script() -> Callable[[FakeJobs, str], None]:
    return succeed


@pytest.fixture
def losses() -> Callable[[Sequence[float]], Callable[[FakeJobs, str], None]]:
    """A script that reports given losses, a list for each job in the order they were made."""

    def make(values: Sequence[float]) -> Callable[[FakeJobs, str], None]:
        def script(jobs: FakeJobs, name: str) -> None:
            jobs.report(name, values[jobs.created.index(name)])
            jobs.end(name)

        return script

    return make
