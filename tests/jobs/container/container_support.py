"""A job without a supervisor: prepare, run every host's command, finish."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from houndsight.jobs.container.command import HostCommand
from houndsight.jobs.container.finish import failure_reason, upload_results
from houndsight.jobs.container.prepare import prepare
from houndsight.jobs.engine import Allotment
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.spec import TrainingSpec

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.8-cpu-py36"
BUCKET = "bucket"


def tar_gz(files: Mapping[str, str | bytes]) -> bytes:
    """An archive of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Ended:
    """What a job has left."""

    folder: JobFolder
    codes: dict[str, int]
    log: str
    reason: str = ""
    model: str = ""
    output: str = ""
    commands: list[HostCommand] = field(default_factory=list)

    def said(self) -> dict[str, Any]:
        """The JSON that the script printed after `RESULT`."""
        line = next(line for line in self.log.splitlines() if line.startswith("RESULT "))
        return json.loads(line.removeprefix("RESULT "))


@dataclass
class Platform:
    """A store and a place for jobs."""

    objects: ObjectStore
    root: Path
    jobs: int = 0

    def put(self, key: str, content: str | bytes) -> str:
        """Store an object; returns its URI."""
        self.objects.put(BUCKET, key, content.encode() if isinstance(content, str) else content)
        return f"s3://{BUCKET}/{key}"

    def spec(self, files: Mapping[str, str | bytes], **changes: Any) -> TrainingSpec:
        """A job in script mode, whose entry point is the first file."""
        self.jobs += 1
        name = f"job-{self.jobs}"
        uri = self.put(f"{name}/source/sourcedir.tar.gz", tar_gz(files))
        sent = {
            "sagemaker_program": json.dumps(changes.pop("program", next(iter(files), ""))),
            "sagemaker_submit_directory": json.dumps(uri),
            "sagemaker_region": '"us-east-1"',
            "sagemaker_job_name": json.dumps(name),
            "sagemaker_container_log_level": "20",
            **changes.pop("hyperparameters", {}),
        }
        settings = {
            "name": name,
            "arn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
            "image": IMAGE,
            "hyperparameters": sent,
            "output_s3_uri": f"s3://{BUCKET}/out",
        }
        return TrainingSpec(**settings | changes)

    def prepare(self, spec: TrainingSpec, **allotted: Any) -> tuple[JobFolder, list[HostCommand]]:
        """The job's folder and commands."""
        folder = JobFolder(self.root / spec.name)
        folder.path.mkdir(parents=True, exist_ok=True)
        allotment = Allotment(**{"cores": 2, **allotted})
        return folder, prepare(spec, folder, self.objects, allotment, report=lambda _: None)

    def run(self, spec: TrainingSpec, **allotted: Any) -> Ended:
        """Run the job to its end."""
        folder, commands = self.prepare(spec, **allotted)
        started = [_start(command, folder) for command in commands]
        try:
            codes = {c.host: p.wait(120) for c, p in zip(commands, started, strict=True)}
        finally:
            for process in started:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        succeeded = not any(codes.values())
        reason = "" if succeeded else failure_reason(spec, folder, codes)
        model, output = upload_results(spec, folder, self.objects, succeeded=succeeded)
        log = folder.host("algo-1").log.read_text(errors="replace")
        return Ended(folder, codes, log, reason, model, output, commands)

    def members(self, uri: str) -> dict[str, bytes]:
        """Files of a stored archive."""
        key = uri.removeprefix(f"s3://{BUCKET}/")
        with self.objects.open(BUCKET, key) as file, tarfile.open(fileobj=file) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def _start(command: HostCommand, folder: JobFolder) -> subprocess.Popen[bytes]:
    with folder.host(command.host).log.open("ab") as log:
        return subprocess.Popen(
            command.argv,
            env=dict(command.environment),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
