"""A control plane on a free port of this machine, in a thread of the test, and clients for it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config

from houndsight.aws.app import ControlPlane, make_app
from houndsight.aws.keys import KeyRing
from houndsight.aws.platform import Platform
from houndsight.aws.service import Service
from houndsight.jobs.engine import Allotment, Engine, Handle, LogPage
from houndsight.jobs.layout import HostFolder, JobFolder, PlatformHome
from houndsight.jobs.local.logs import TimeIndex, read_page
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.service import JobService
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.states import Kind
from houndsight.jobs.status import JobStatus
from houndsight.jobs.store import JobStore, Record

SESSION = boto3.Session()
QUICK = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)


class NoEngine(Engine):
    """Starts nothing; reads the logs that a test wrote."""

    name = "none"

    def start(self, spec: TrainingSpec, folder: JobFolder, allotment: Allotment) -> Handle:
        return {"folder": str(folder.path)}

    def attach(self, handle: Handle) -> None:
        pass

    def status(self, handle: Handle) -> JobStatus:
        return JobStatus()

    def stop(self, handle: Handle) -> None:
        pass

    def logs(self, handle: Handle, host: str, *, offset: int = 0, limit: int = 1_000) -> LogPage:
        folder = JobFolder(Path(handle["folder"]))
        return read_page(folder.host(host), offset, limit, ended=True)

    def artifacts(self, handle: Handle) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        pass


@dataclass
class Plane:
    """A running control plane."""

    platform: Platform
    app: ControlPlane
    address: str = ""
    port: int = 0
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str, *, secret: str | None = None, **named: Any) -> Any:
        """boto3's client of a service."""
        key = self.platform.keys.first()
        made = self._clients.get(service) if not named and secret is None else None
        if made is None:
            made = SESSION.client(
                service,
                endpoint_url=self.address,
                region_name="us-east-1",
                aws_access_key_id=named.pop("access_key", key.access_key),
                aws_secret_access_key=secret or key.secret,
                config=named.pop("config", QUICK),
            )
            if secret is None and not named:
                self._clients[service] = made
        return made

    def raw(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request as it stands."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def make_platform(home: PlatformHome) -> Platform:
    home.root.mkdir(parents=True, exist_ok=True)
    objects = ObjectStore(home.objects)
    jobs = JobService(home, JobStore(home.database), objects, NoEngine())
    return Platform(home=home, keys=KeyRing(home.keys), objects=objects, jobs=jobs)


def add_job(
    platform: Platform, name: str, logs: Mapping[str, Sequence[tuple[int, str]]], **named: Any
) -> Record:
    """A training job that wrote these lines (ms, text), by host."""
    folder = platform.home.training_job(name)
    for host, lines in logs.items():
        write_log(folder.host(host), lines)
    record = Record(
        kind=Kind.TRAINING_JOB,
        name=name,
        arn=f"arn:aws:sagemaker:us-east-1:{platform.account}:training-job/{name}",
        status=named.pop("status", "Completed"),
        request={"ResourceConfig": {"InstanceCount": max(1, len(logs))}},
        detail={**JobStatus().to_json(), "hosts": list(logs)},
        handle={"folder": str(folder.path)},
        **named,
    )
    return platform.jobs.store.add(record)


def write_log(host: HostFolder, lines: Sequence[tuple[int, str]]) -> None:
    """Append lines and their times, as the supervisor notes them."""
    host.path.mkdir(parents=True, exist_ok=True)
    with host.log.open("ab") as file:
        for time_ms, text in lines:
            file.write(f"{text}\n".encode())
            TimeIndex(host.log_times).add(file.tell(), time_ms)


def add_metrics(platform: Platform, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    path = platform.home.training_job(name).metrics
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class _Started(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def serve(
    platform: Platform, services: Sequence[Service] | None = None, **named: Any
) -> Iterator[Plane]:
    """The control plane over `platform`, for as long as the test holds it."""
    app = make_app(platform, services, **named)
    plane = Plane(platform, app)
    platform.keys.first()
    config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
    server = _Started(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(30)
    plane.port = server.servers[0].sockets[0].getsockname()[1]
    plane.address = platform.address = f"http://127.0.0.1:{plane.port}"
    try:
        yield plane
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform that runs nothing."""
    made = make_platform(PlatformHome(tmp_path / "platform"))
    yield made
    made.close()


@pytest.fixture
def plane(platform: Platform) -> Iterator[Plane]:
    """A control plane of the test alone."""
    yield from serve(platform)


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane for all tests of a module."""
    home = PlatformHome(tmp_path_factory.mktemp("plane") / "platform")
    yield from serve(make_platform(home))
