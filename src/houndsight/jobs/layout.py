"""Where everything lies under `HOUNDSIGHT_HOME/platform`: the one place that names its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from houndsight.config import state_home

__all__ = ["EndpointFolder", "HostFolder", "JobFolder", "PlatformHome", "VariantFolder"]


@dataclass(frozen=True)
class HostFolder:
    """One host of a job: its `/opt/ml`, its log and how its script ended."""

    path: Path

    @property
    def name(self) -> str:
        """`algo-1`, `algo-2` …"""
        return self.path.name

    @property
    def ml(self) -> Path:
        """What the script sees as `/opt/ml`."""
        return self.path / "ml"

    @property
    def log(self) -> Path:
        """The script's own stdout and stderr."""
        return self.path / "log"

    @property
    def log_times(self) -> Path:
        """When which byte of the log was there: rows of `offset milliseconds`."""
        return self.path / "log.times"

    @property
    def exit(self) -> Path:
        """Written by the stub, by rename, when the script has ended."""
        return self.path / "exit.json"

    @property
    def process(self) -> Path:
        """Pid, start time and boot id of the stub."""
        return self.path / "process.json"


@dataclass(frozen=True)
class JobFolder:
    """A training job's folder. Its supervisor owns it; the control plane reads."""

    path: Path

    @property
    def name(self) -> str:
        """The job's name."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """What is asked (`TrainingSpec`); written before the supervisor starts."""
        return self.path / "spec.json"

    @property
    def allotment(self) -> Path:
        """Cores, memory and GPUs that the scheduler gave it."""
        return self.path / "allotment.json"

    @property
    def status(self) -> Path:
        """Where it stands (`JobStatus`), by rename."""
        return self.path / "status.json"

    @property
    def supervisor(self) -> Path:
        """Pid, start time and boot id of the supervisor."""
        return self.path / "supervisor.json"

    @property
    def lock(self) -> Path:
        """Held (`flock`) by the supervisor: there are never two."""
        return self.path / "supervisor.lock"

    @property
    def stop(self) -> Path:
        """Its presence asks the supervisor to stop the script."""
        return self.path / "stop"

    @property
    def metrics(self) -> Path:
        """Metrics read from the log: JSON lines of name, value, time, host."""
        return self.path / "metrics.jsonl"

    @property
    def run(self) -> Path:
        """The job's run folder (`houndsight.runs.Run`): tensors, findings, report."""
        return self.path / "run"

    @property
    def messages(self) -> Path:
        """What the supervisor itself has to say."""
        return self.path / "supervisor.log"

    def host(self, name: str) -> HostFolder:
        """The folder of one host."""
        return HostFolder(self.path / "hosts" / name)


@dataclass(frozen=True)
class VariantFolder:
    """What one production variant of an endpoint runs from."""

    path: Path

    @property
    def ml(self) -> Path:
        """What its workers see as `/opt/ml`."""
        return self.path / "ml"

    @property
    def model(self) -> Path:
        """`/opt/ml/model`: the unpacked archive."""
        return self.ml / "model"

    @property
    def code(self) -> Path:
        """`/opt/ml/model/code`: the handlers."""
        return self.model / "code"

    @property
    def prepared(self) -> Path:
        """What its workers execute; written, by rename, when all of it is in place."""
        return self.path / "prepared.json"

    @property
    def attempts(self) -> Path:
        """A folder for each start of each worker: `w0-1`, `w0-2`, `w1-1` …"""
        return self.path / "attempts"


@dataclass(frozen=True)
class EndpointFolder:
    """An endpoint's folder. Its supervisor owns it; the control plane reads.

    `wanted` and `delete` alone are the control plane's: what it asks for.
    """

    path: Path

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self.path.name

    @property
    def wanted(self) -> Path:
        """What is asked (`EndpointSpec`), by rename."""
        return self.path / "wanted.json"

    @property
    def delete(self) -> Path:
        """Its presence asks the supervisor to stop everything and leave."""
        return self.path / "delete"

    @property
    def current(self) -> Path:
        """What is in service (`EndpointSpec`), by rename."""
        return self.path / "current.json"

    @property
    def status(self) -> Path:
        """Where it stands and where its workers listen (`EndpointState`), by rename."""
        return self.path / "status.json"

    @property
    def supervisor(self) -> Path:
        """Pid, start time and boot id of the supervisor."""
        return self.path / "supervisor.json"

    @property
    def lock(self) -> Path:
        """Held (`flock`) by the supervisor: there are never two."""
        return self.path / "supervisor.lock"

    @property
    def messages(self) -> Path:
        """What the supervisor itself has to say."""
        return self.path / "supervisor.log"

    @property
    def generations(self) -> Path:
        """A folder for each configuration that was put in service."""
        return self.path / "generations"

    @property
    def logs(self) -> Path:
        """The workers' logs; they stay when the endpoint is deleted."""
        return self.path / "logs"

    def variant(self, generation: int, name: str) -> VariantFolder:
        """The folder of a variant; the name was checked by the API."""
        return VariantFolder(self.generations / str(generation) / name)

    def stream(self, variant: str, stream: str) -> HostFolder:
        """One log stream of a variant."""
        return HostFolder(self.logs / variant / stream)


@dataclass(frozen=True)
class PlatformHome:
    """The folder of one control plane."""

    root: Path

    @classmethod
    def default(cls) -> PlatformHome:
        """Under `HOUNDSIGHT_HOME`, else the platform's data folder."""
        return cls(state_home() / "platform")

    @property
    def database(self) -> Path:
        """The store's SQLite file, unless `HOUNDSIGHT_PLATFORM_DATABASE` names a URL."""
        return self.root / "jobs.sqlite"

    @property
    def objects(self) -> Path:
        """The S3 store."""
        return self.root / "objects"

    @property
    def keys(self) -> Path:
        """Access keys, readable by the owner alone."""
        return self.root / "keys.json"

    @property
    def server(self) -> Path:
        """Address, pid and start time of the running control plane."""
        return self.root / "server.json"

    @property
    def lock(self) -> Path:
        """Held by the control plane."""
        return self.root / "server.lock"

    @property
    def log(self) -> Path:
        """What the control plane has to say."""
        return self.root / "server.log"

    def training_job(self, name: str) -> JobFolder:
        """The folder of a training job. The name was checked by the API."""
        return JobFolder(self.root / "training-jobs" / name)

    @property
    def endpoints(self) -> Path:
        """The folder of all endpoints, for the owner's eyes: environments hold secrets."""
        return self.root / "endpoints"

    def endpoint(self, name: str) -> EndpointFolder:
        """The folder of an endpoint."""
        return EndpointFolder(self.endpoints / name)
