"""One host of a job, as everything that is written for it needs to know it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from houndsight.jobs.container.hyperparameters import Hyperparameters
from houndsight.jobs.layout import HostFolder, JobFolder
from houndsight.jobs.spec import TrainingSpec

__all__ = ["Host", "free_port", "make_folders"]

FOLDERS = (
    "input/config",
    "input/data",
    "model",
    "output/data",
    "output/intermediate",
    "code",
    "checkpoints",
)


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host: what it is called, what it may use, and where the script sees `/opt/ml`."""

    spec: TrainingSpec
    hyperparameters: Hyperparameters
    job: JobFolder
    name: str
    cores: int = 1
    gpus: tuple[int, ...] = ()
    ml: str = "/opt/ml"
    """`/opt/ml`, or the real folder where the system allows no private view."""
    master_port: int = 7777

    @property
    def folder(self) -> HostFolder:
        """Its folder on disk."""
        return self.job.host(self.name)

    @property
    def program(self) -> str:
        """The entry point of script mode, "" when none is named."""
        named = self.hyperparameters.text("program")
        return named or self.spec.environment.get("SAGEMAKER_PROGRAM", "")

    @property
    def submit_directory(self) -> str:
        """Where the source of script mode lies, an S3 URI; "" when it is not said."""
        named = self.hyperparameters.text("submit_directory")
        return named or self.spec.environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")

    @property
    def rank(self) -> int:
        """0 for `algo-1`."""
        return self.spec.hosts.index(self.name)

    @property
    def master(self) -> str:
        """The first host's name, or its address where names do not resolve."""
        return self.spec.hosts[0] if self.private else "127.0.0.1"

    @property
    def private(self) -> bool:
        """Whether the script has its own `/opt/ml`, `/etc/hosts` and host name."""
        return self.ml == "/opt/ml"

    def seen(self, path: str) -> str:
        """A path below `/opt/ml` as the script sees it."""
        return f"{self.ml}/{path}"

    def real(self, seen: str) -> Path | None:
        """Where a path lies that a script names, if it is below `/opt/ml`."""
        for root in ("/opt/ml", self.ml):
            if seen == root or seen.startswith(root + "/"):
                return self.folder.ml / seen[len(root) :].lstrip("/")
        return None


def make_folders(host: Host) -> None:
    """The folders of `/opt/ml`; what is there stays."""
    for name in FOLDERS:
        (host.folder.ml / name).mkdir(parents=True, exist_ok=True)


def free_port() -> int:
    """A port of this machine that nobody listens on: several jobs share the one network."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
