"""A control plane on a port of its own whose training jobs do what the test says.

Everything is real but the engine: `ScriptedEngine` writes what a supervisor would have written.
A job that has `HOLD` in its environment runs until `end` is called for it; any other ends at once,
with its learning rate as the loss.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import boto3
import uvicorn
from botocore.config import Config

from houndsight.aws.app import make_app
from houndsight.aws.keys import KeyRing
from houndsight.aws.platform import Platform
from houndsight.files import append_json_line
from houndsight.jobs.engine import Allotment, Engine, Handle, LogLine, LogPage
from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.machine import Machine
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.service import JobService
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.states import Kind
from houndsight.jobs.status import JobState, JobStatus
from houndsight.jobs.store import JobStore, Record

__all__ = ["ControlPlane", "ScriptedEndpoints", "ScriptedEngine", "control_plane"]

ENDINGS = {JobState.COMPLETED: "Training job completed", JobState.FAILED: "Training job failed"}


class ScriptedEngine(Engine):
    """Jobs without processes."""

    name = "scripted"

    def __init__(self) -> None:
        self.folders: dict[str, JobFolder] = {}
        self.specs: dict[str, TrainingSpec] = {}
        self.lines: dict[str, list[str]] = {}

    def start(self, spec: TrainingSpec, folder: JobFolder, allotment: Allotment) -> Handle:
        folder.path.mkdir(parents=True, exist_ok=True)
        self.folders[spec.name], self.specs[spec.name] = folder, spec
        now = time.time()
        status = JobStatus()
        for state, text in [
            (JobState.STARTING, "Preparing the instances for training"),
            (JobState.DOWNLOADING, "Downloading input data"),
            (JobState.TRAINING, "Training image download completed. Training in progress."),
        ]:
            now += 0.001
            status = status.moved(state, text, now)
        replace(status, training_started=now).write(folder.status)
        if "HOLD" not in spec.environment:
            loss = float(spec.hyperparameters.get("lr", "1"))
            self.report(spec.name, 2 * loss)
            self.end(spec.name, metrics={d.name: loss for d in spec.metric_definitions})
        return {"folder": str(folder.path)}

    def attach(self, handle: Handle) -> None:
        """Nothing to take up."""

    def status(self, handle: Handle) -> JobStatus:
        return JobStatus.read(JobFolder(Path(handle["folder"])).status)

    def stop(self, handle: Handle) -> None:
        self.end(Path(handle["folder"]).name, JobState.STOPPED)

    def logs(self, handle: Handle, host: str, *, offset: int = 0, limit: int = 1_000) -> LogPage:
        lines = self.lines.get(Path(handle["folder"]).name, [])[offset : offset + limit]
        return LogPage(
            [LogLine(0, line, offset + i) for i, line in enumerate(lines)], offset + len(lines)
        )

    def artifacts(self, handle: Handle) -> Mapping[str, str]:
        return {}

    # -- what the test makes happen ---------------------------------------------------------

    def report(self, name: str, value: float) -> None:
        """A value of each of the job's metrics, as its log has it."""
        for definition in self.specs[name].metric_definitions:
            row = {
                "name": definition.name,
                "value": value if isfinite(value) else str(value),
                "time": time.time(),
                "host": "algo-1",
            }
            append_json_line(self.folders[name].metrics, row)

    def end(
        self,
        name: str,
        state: JobState = JobState.COMPLETED,
        *,
        metrics: Mapping[str, float] = {},
        **changes: Any,
    ) -> None:
        """End a job that runs."""
        folder, spec = self.folders[name], self.specs[name]
        status = JobStatus.read(folder.status)
        if status.state.ended:
            return
        now = max(time.time(), status.modified + 0.001)
        for metric, value in metrics.items():
            self.report(name, value)
            status = replace(status, metrics={**status.metrics, metric: (value, now)})
        if state == JobState.COMPLETED:
            text = "Uploading generated training model"
            status = status.moved(JobState.UPLOADING, text, now)
            uri = f"{spec.output_s3_uri.rstrip('/')}/{name}/output/model.tar.gz"
            changes = {"model_artifact": uri, **changes}
            now += 0.001
        text = ENDINGS.get(state, f"Training job {state.value.lower()}")
        changes = {"training_ended": now, **changes}
        status.moved(state, text, now, **changes).write(folder.status)

    def change(self, name: str, **changes: Any) -> None:
        """Write other fields of a job's status."""
        folder = self.folders[name]
        status = JobStatus.read(folder.status)
        now = max(time.time(), status.modified + 0.001)
        replace(status, modified=now, **changes).write(folder.status)


class ScriptedEndpoints:
    """Endpoints without processes: each is what the test makes of it with `move`."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.models: dict[str, Mapping[str, Any]] = {}

    def create(
        self,
        name: str,
        arn: str,
        request: Mapping[str, Any],
        *,
        config: Mapping[str, Any],
        models: Mapping[str, Mapping[str, Any]],
    ) -> Record:
        self.models = dict(models)
        return self._store.add(
            Record(
                kind=Kind.ENDPOINT,
                name=name,
                arn=arn,
                status="Creating",
                request=request,
                detail={"config": request["EndpointConfigName"], "variants": _variants(config)},
            )
        )

    def update(
        self,
        name: str,
        request: Mapping[str, Any],
        *,
        config: Mapping[str, Any],
        models: Mapping[str, Mapping[str, Any]],
    ) -> Record:
        detail = {"config": request["EndpointConfigName"], "variants": _variants(config)}
        return self._store.update(Kind.ENDPOINT, name, status="Updating", detail=detail)

    def reweigh(self, name: str, wanted: Sequence[Mapping[str, Any]]) -> Record:
        detail = dict(self._store.get(Kind.ENDPOINT, name).detail)
        weights = {row["VariantName"]: row.get("DesiredWeight") for row in wanted}
        detail["variants"] = [
            {**row, "DesiredWeight": weights.get(row["VariantName"], row["DesiredWeight"])}
            for row in detail["variants"]
        ]
        return self._store.update(Kind.ENDPOINT, name, status="Updating", detail=detail)

    def delete(self, name: str) -> None:
        self._store.delete(Kind.ENDPOINT, name)

    def describe(self, name: str) -> Record:
        return self._store.get(Kind.ENDPOINT, name)

    def move(self, name: str, status: str, reason: str = "") -> None:
        """What a supervisor would have found."""
        detail = {**self.describe(name).detail, "failure_reason": reason}
        self._store.update(Kind.ENDPOINT, name, status=status, detail=detail)


def _variants(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "VariantName": row["VariantName"],
            "CurrentWeight": row.get("InitialVariantWeight", 1.0),
            "DesiredWeight": row.get("InitialVariantWeight", 1.0),
            "CurrentInstanceCount": 1,
            "DesiredInstanceCount": 1,
        }
        for row in config["ProductionVariants"]
    ]


@dataclass
class ControlPlane:
    """A running control plane and clients of it."""

    platform: Platform
    engine: ScriptedEngine
    endpoints: ScriptedEndpoints
    address: str
    clients: dict[tuple[str, bool], Any] = field(default_factory=dict)

    def client(self, service: str, *, validation: bool = True) -> Any:
        """A boto3 client."""
        if (service, validation) not in self.clients:
            key = self.platform.keys.first()
            self.clients[service, validation] = boto3.client(
                service,
                endpoint_url=self.address,
                region_name="us-east-1",
                aws_access_key_id=key.access_key,
                aws_secret_access_key=key.secret,
                config=Config(parameter_validation=validation, retries={"total_max_attempts": 1}),
            )
        return self.clients[service, validation]


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start one whose state lies in `folder`."""
    home, engine = PlatformHome(folder), ScriptedEngine()
    home.root.mkdir(parents=True, exist_ok=True)
    objects = ObjectStore(home.objects)
    machine = Machine(cores=64, memory_bytes=2**40)
    jobs = JobService(home, JobStore(home.database), objects, engine, machine=machine)
    endpoints = ScriptedEndpoints(jobs.store)
    platform = Platform(
        home=home, keys=KeyRing(home.keys), objects=objects, jobs=jobs, endpoints=endpoints
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(make_app(platform), log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield ControlPlane(platform, engine, endpoints, address)
        server.should_exit = True
        thread.join(timeout=30)


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `condition` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("what was waited for did not come")
