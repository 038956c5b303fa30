"""A control plane in this process, with an engine whose supervisors have stand-ins for the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stand_ins import HERE

from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.engine import LocalEngine
from houndsight.jobs.machine import Machine
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.service import JobService
from houndsight.jobs.settings import JobsSettings
from houndsight.jobs.spec import MetricDefinition, TrainingSpec
from houndsight.jobs.status import JobStatus
from houndsight.jobs.store import JobStore

PATIENCE_S = 120.0
MACHINE = Machine(cores=2, memory_bytes=8 << 30)


def make_engine(home: PlatformHome, **settings: Any) -> LocalEngine:
    chosen = JobsSettings(**{"launcher": False, "stop_seconds": 2.0, **settings})
    interpreter = (sys.executable, str(HERE / "stand_ins.py"))
    return LocalEngine(home, settings=chosen, interpreter=interpreter)


def make_service(
    root: Path, *, machine: Machine = MACHINE, engine: LocalEngine | None = None, **settings: Any
) -> JobService:
    home = PlatformHome(root)
    engine = engine or make_engine(home, **settings)
    store = JobStore.open(home.database)
    return JobService(home, store, ObjectStore(home.objects), engine, machine=machine)


def make_spec(name: str, script: str, **changes: Any) -> TrainingSpec:
    hyperparameters = {"script": script, **changes.pop("hyperparameters", {})}
    metrics = (MetricDefinition(name="loss", regex=r"loss=([0-9.a-z]+)"),)
    values = {"metric_definitions": metrics, "instance_type": "ml.m5.large", **changes}
    return TrainingSpec(
        name=name, arn=f"arn:{name}", image="", hyperparameters=hyperparameters, **values
    )


def wait_until(condition: Callable[[], Any], what: str = "it") -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return value


def wait_ended(service: JobService, name: str) -> JobStatus:
    def ended() -> JobStatus | None:
        status = service.training_status(name)
        return status if status.state.ended else None

    return wait_until(ended, f"the end of {name}")


def printed(service: JobService, name: str, host: str = "algo-1") -> list[str]:
    """Every line of a host's log, page by page."""
    lines: list[str] = []
    offset = 0
    while True:
        page = service.logs(name, host, offset, 100)
        lines += [line.message for line in page.lines]
        if not page.lines:
            return lines
        offset = page.next_offset
