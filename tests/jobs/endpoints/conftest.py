"""Scripts loaded in the test's own process, and endpoints in processes that end with the test."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from houndsight.jobs.container import namespace
from houndsight.jobs.endpoints.invoking import Invocation, Reply
from houndsight.jobs.endpoints.service import EndpointService
from houndsight.jobs.endpoints.settings import EndpointsSettings
from houndsight.jobs.endpoints.worker.handlers import Script
from houndsight.jobs.layout import EndpointFolder, PlatformHome
from houndsight.jobs.local.processes import end_session, is_alive, read_identity, send
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.states import NotFoundError
from houndsight.jobs.store import JobStore, Record

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.3-cpu-py311"
PATIENCE_S = 120.0
"""The machine may be busy; nothing waits so long when all is well."""


def archive(files: Mapping[str, bytes | str]) -> bytes:
    """A tar.gz of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def wait_for(condition: Callable[[], Any], what: str = "it", timeout_s: float = PATIENCE_S) -> Any:
    """What `condition` returns as soon as that is something."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.02)
    return found


@pytest.fixture
def load_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Script]]:
    """Loads `{name: content}` as a model folder in this process: the handlers without a worker."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("PYTHONPATH", "")
    before = set(sys.modules)

    def load(files: Mapping[str, bytes | str], program: str = "inference.py") -> Script:
        model = tmp_path / "model"
        for name, content in files.items():
            path = model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        model.mkdir(exist_ok=True)
        script = Script(str(model), program if (model / "code" / program).exists() else "")
        script.load()
        return script

    yield load
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


@dataclass
class Endpoints:
    """A control plane's endpoints over a folder of the test's."""

    home: PlatformHome
    store: JobStore
    objects: ObjectStore
    service: EndpointService
    settings: EndpointsSettings
    _count: int = 0

    def model(
        self,
        files: Mapping[str, bytes | str] | None,
        *,
        environment: Mapping[str, str] | None = None,
        image: str = IMAGE,
        uri: str = "",
    ) -> dict[str, Any]:
        """The request of a model whose archive holds these files."""
        container: dict[str, Any] = {"Image": image, "Environment": dict(environment or {})}
        if files is not None:
            self._count += 1
            key = f"models/{self._count}/model.tar.gz"
            self.objects.put("bucket", key, archive(files))
            container["ModelDataUrl"] = f"s3://bucket/{key}"
        if uri:
            container["ModelDataUrl"] = uri
        return {"PrimaryContainer": container}

    def create(self, name: str, *models: dict[str, Any], **more: Any) -> Record:
        """An endpoint with a variant for each model: `A`, `B` …; `weights`, `count`."""
        request = {"EndpointName": name, "EndpointConfigName": f"{name}-1"}
        return self.service.create(
            name,
            f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{name}",
            request,
            **self._deployment(models, **more),
        )

    def update(self, name: str, *models: dict[str, Any], config: str = "", **more: Any) -> Record:
        """Another configuration."""
        request = {"EndpointName": name, "EndpointConfigName": config or f"{name}-2"}
        return self.service.update(name, request, **self._deployment(models, **more))

    def _deployment(
        self, models: tuple[dict[str, Any], ...], *, weights: tuple[float, ...] = (), count: int = 1
    ) -> dict[str, Any]:
        variants = [
            {
                "VariantName": "ABCD"[number],
                "ModelName": f"m{number}",
                "InitialInstanceCount": count,
                "InstanceType": "ml.m5.large",
                "InitialVariantWeight": weights[number] if weights else 1.0,
            }
            for number in range(len(models))
        ]
        named = {f"m{number}": model for number, model in enumerate(models)}
        return {"config": {"ProductionVariants": variants}, "models": named}

    def settled(self, name: str) -> Record:
        """The record, once nothing about it is moving any more."""

        def look() -> Record | None:
            record = self.service.describe(name)
            return record if record.status in ("InService", "Failed") else None

        found: Record = wait_for(look, f"{name} becoming settled")
        return found

    def in_service(self, name: str, *models: dict[str, Any], **more: Any) -> Record:
        """A new endpoint, in service."""
        self.create(name, *models, **more)
        record = self.settled(name)
        assert record.status == "InService", record.detail
        return record

    def invoke(self, name: str, body: bytes | str = b"", **more: Any) -> Reply:
        """An invocation; JSON unless it says otherwise."""
        data = body.encode() if isinstance(body, str) else body
        more.setdefault("content_type", "application/json")
        return self.service.invoke(name, Invocation(body=data, **more))

    def log(self, name: str) -> str:
        """Everything in an endpoint's logs."""
        streams = self.service.log_streams(name)
        pages = [self.service.logs(name, stream.name, 0, 10_000) for stream in streams]
        return "\n".join(line.message for page in pages for line in page.lines)

    def logged(self, name: str, text: str) -> str:
        """The logs, once they hold `text`."""
        wait_for(lambda: text in self.log(name), f"{text!r} in the log of {name}", 30)
        return self.log(name)

    def worker(self, name: str) -> dict[str, Any]:
        """Who the (last started) worker's stub is."""
        paths = self.folder(name).generations.glob("*/*/attempts/*/hosts/worker/process.json")
        last = max(paths, key=lambda path: path.stat().st_mtime)
        identity = read_identity(last)
        assert identity is not None
        return identity

    def folder(self, name: str) -> EndpointFolder:
        return self.home.endpoint(name)

    def restart(self) -> None:
        """As after a control plane was killed: another one, over the same folder."""
        self.service.close()
        self.service = EndpointService(self.home, self.store, settings=self.settings)
        self.service.start()

    def choose(self, monkeypatch: pytest.MonkeyPatch, **chosen: float) -> None:
        """Other settings, for supervisors too."""
        self.settings = dataclasses.replace(self.settings, **chosen)
        for setting, value in chosen.items():
            monkeypatch.setenv(f"HOUNDSIGHT_ENDPOINTS_{setting.upper()}", str(value))
        self.restart()

    def supervisor(self, name: str) -> dict[str, Any]:
        """Who the supervisor is."""
        identity = wait_for(lambda: read_identity(self.folder(name).supervisor), "a supervisor")
        assert isinstance(identity, dict)
        return identity

    def gone(self, name: str) -> bool:
        try:
            self.service.describe(name)
        except NotFoundError:
            return True
        return False


@pytest.fixture(scope="session")
def known_isolation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this system allows, found out once."""
    folder = tmp_path_factory.mktemp("isolation")
    before = os.environ.get("HOUNDSIGHT_CACHE")
    os.environ["HOUNDSIGHT_CACHE"] = str(folder)
    try:
        namespace.isolation(folder)
    finally:
        os.environ.pop("HOUNDSIGHT_CACHE")
        if before is not None:
            os.environ["HOUNDSIGHT_CACHE"] = before
    return folder


@pytest.fixture
def endpoints(
    tmp_path: Path, known_isolation: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Endpoints]:
    monkeypatch.setenv("HOUNDSIGHT_CACHE", str(known_isolation))
    monkeypatch.setenv("HOUNDSIGHT_ENDPOINTS_DELETE_SECONDS", "0")
    settings = EndpointsSettings(delete_seconds=0.0)
    home = PlatformHome(tmp_path / "platform")
    home.root.mkdir()
    store, objects = JobStore(home.database), ObjectStore(home.objects)
    objects.create_bucket("bucket")
    service = EndpointService(home, store, settings=settings)
    service.start()
    made = Endpoints(home, store, objects, service, settings)
    try:
        yield made
    finally:
        made.service.close()
        end_everything(home)
        objects.close()
        store.close()


def end_everything(home: PlatformHome) -> None:
    """Kill every process of every endpoint below `home`."""
    for path in home.endpoints.glob("*/supervisor.json"):
        identity = read_identity(path)
        if identity is not None:
            send(identity, 9)
            wait_for(lambda who=identity: not is_alive(who), "the supervisor's end")
    for path in home.endpoints.glob("*/generations/*/*/attempts/*/hosts/worker/process.json"):
        identity = read_identity(path)
        if identity is not None and identity["pid"] != os.getpid():
            send(identity, 9)
            end_session(identity, f"HOUNDSIGHT_JOB_WORKER={path.parents[2]}")
