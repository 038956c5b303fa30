"""Claim: the platform adds little to what a client waits anyway.

Each figure is taken through the official clients from a control plane of its own, on an otherwise
idle machine: how long a script waits for its first line, what `fit` and `deploy` of the SageMaker
SDK 2.x take (they sleep for 5 s and 30 s by themselves), the example notebook on 200 photos, API
calls a second, a list of 10,000 jobs, and memory at rest.

Calls are counted with one signed request sent again and again over 16 connections: making a
request costs the official client more than answering it costs the server.

    python benchmarks/local_platform.py [--only start fit deploy notebook calls listing memory]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import psutil
from _common import DOGS, RESNET50, Table, machine, there

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLE = PROJECT / "examples" / "dog_breeds"
BUCKET = "sagemaker-us-east-1-000000000000"
ROLE = "arn:aws:iam::000000000000:role/houndsight"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.13.1-cpu-py39"
CONNECTIONS, CALL_SECONDS = 16, 10.0
JOBS = 10_000


@dataclass(frozen=True)
class Row:
    """One figure against its goal."""

    text: str
    values: Sequence[float]
    unit: str
    goal: float
    at_least: bool = False

    def cells(self) -> tuple[str, str, str, str]:
        """As printed: the median, and the range of several."""
        middle = statistics.median(self.values)
        spread = f" ({min(self.values):.3g} to {max(self.values):.3g})"
        holds = middle >= self.goal if self.at_least else middle <= self.goal
        bound = "at least" if self.at_least else "at most"
        return (
            self.text,
            f"{middle:.3g} {self.unit}" + (spread if len(self.values) > 1 else ""),
            f"{bound} {self.goal:g} {self.unit}",
            "holds" if holds else "FAILS",
        )


@dataclass(frozen=True)
class Plane:
    """A running control plane."""

    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """For a client's process."""
        return {**os.environ, **self.variables}

    def client(self, service: str) -> Any:
        """A boto3 client of it."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            region_name=self.variables["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
        )

    def process(self) -> psutil.Process:
        """The control plane's process."""
        record = json.loads((self.home / "platform" / "server.json").read_text())
        return psutil.Process(int(record["pid"]))


@contextmanager
def running(
    prepare: Callable[[Path], None] | None = None, weights: Path | None = None
) -> Iterator[Plane]:
    """A control plane with a home of its own."""
    with tempfile.TemporaryDirectory(prefix="houndsight-") as folder:
        home = Path(folder) / "state"
        own = {"HOUNDSIGHT_HOME": str(home), "HOUNDSIGHT_CACHE": str(Path(folder) / "cache")}
        if weights is not None:
            own["HOUNDSIGHT_WEIGHTS"] = str(weights)
        if prepare is not None:
            prepare(home)
        environment = {**os.environ, **own}
        houndsight(["up", "--port", "0"], environment)
        try:
            lines = houndsight(["env"], environment).splitlines()
            words = [w for line in lines for w in shlex.split(line.removeprefix("export "))]
            variables = dict(word.split("=", 1) for word in words if "=" in word)
            yield Plane(home, {**own, **variables})
        finally:
            houndsight(["down"], environment)


def houndsight(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "houndsight", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


# -- how long a script waits ------------------------------------------------------------------

FIRST_LINE = "import torch, torchvision\nimport time\nprint('FIRST', time.time())\n"


def start(rounds: int = 10) -> list[Row]:
    """From CreateTrainingJob to the first line after the imports."""
    with running() as plane:
        waited = [first_line(plane, FIRST_LINE, number) for number in range(rounds + 1)]
    return [
        Row("first job's first line, launcher started by it", waited[:1], "s", 15),
        Row("first line after `import torch, torchvision`", waited[1:], "s", 1.0),
    ]


def first_line(plane: Plane, script: str, number: int) -> float:
    """Seconds until the script printed the time."""
    sagemaker, name = plane.client("sagemaker"), f"first-line-{number}"
    request = training(plane, name, script)
    began = time.time()
    sagemaker.create_training_job(**request)
    ended(sagemaker, name)
    logs = plane.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/"
    )
    line = next(e["message"] for e in logs["events"] if e["message"].startswith("FIRST "))
    return float(line.split()[1]) - began


def training(plane: Plane, name: str, script: str) -> dict[str, Any]:
    """A request for a job that runs a script; its archive is uploaded."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(script.encode())
        archive.addfile(member, io.BytesIO(script.encode()))
    s3 = plane.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=f"{name}/sourcedir.tar.gz", Body=whole.getvalue())
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": f'"s3://{BUCKET}/{name}/sourcedir.tar.gz"',
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def ended(sagemaker: Any, name: str) -> None:
    """Wait until a job has ended well."""
    while True:
        job = sagemaker.describe_training_job(TrainingJobName=name)
        if job["TrainingJobStatus"] == "Completed":
            return
        if job["TrainingJobStatus"] in ("Failed", "Stopped"):
            raise RuntimeError(job.get("FailureReason", job["TrainingJobStatus"]))
        time.sleep(0.05)


# -- what the SDK's calls take ----------------------------------------------------------------

SDK = """
import time
import sagemaker
from sagemaker.pytorch import PyTorch, PyTorchModel
common = dict(role=sagemaker.get_execution_role(), framework_version="1.13.1", py_version="py39")
"""
FIT = (
    SDK
    + """
for number in range({rounds}):
    estimator = PyTorch(
        entry_point="empty.py", instance_count=1, instance_type="ml.m5.xlarge", **common
    )
    began = time.monotonic()
    estimator.fit(wait=True)
    print("TOOK", time.monotonic() - began)
"""
)
DEPLOY = (
    SDK
    + """
estimator = PyTorch(
    entry_point="model.py", instance_count=1, instance_type="ml.m5.xlarge", **common
)
estimator.fit(wait=True)
model = PyTorchModel(model_data=estimator.model_data, entry_point="answer.py", **common)
began = time.monotonic()
predictor = model.deploy(initial_instance_count=1, instance_type="ml.m5.large")
print("TOOK", time.monotonic() - began)
predictor.delete_endpoint()
"""
)
FILES = {
    "empty.py": "",
    "model.py": "import os\nopen(os.environ['SM_MODEL_DIR'] + '/model.txt', 'w').write('1')\n",
    "answer.py": "def model_fn(folder):\n    return folder\n",
}


def fit() -> list[Row]:
    """`estimator.fit` of an empty script; the first has to start the launcher."""
    with running() as plane:
        took = timed(plane, FIT.format(rounds=4))
    return [Row("`estimator.fit()` of an empty script", took[1:], "s", 7)]


def deploy() -> list[Row]:
    """`deploy` of a model that answers at once."""
    with running() as plane:
        took = timed(plane, DEPLOY)
    return [Row("`model.deploy()`", took, "s", 33)]


def timed(plane: Plane, code: str) -> list[float]:
    """What a client's script says that it took."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (Path(folder) / name).write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=plane.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    # The SDK's marks of progress may stand before it on the line.
    return [float(seconds) for seconds in re.findall(r"TOOK ([0-9.]+)", done.stdout)]


def notebook(photos: int = 200) -> list[Row]:
    """The whole example, cell by cell, with real photos and weights."""
    if not there(DOGS, RESNET50):
        return []
    with tempfile.TemporaryDirectory(prefix="houndsight-") as folder:
        place = Path(folder)
        copy_photos(DOGS, place / "dogs", photos)
        shutil.copytree(EXAMPLE, place / "example")
        with running(weights=write_weights(place / "weights")) as plane:
            file = str(place / "example" / "train_and_deploy.ipynb")
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "houndsight", "notebook", "--execute", file],
                cwd=place / "example",
                env={**plane.environment, "PHOTOS": str(place / "dogs")},
                check=True,
            )
            seconds = time.monotonic() - began
    return [Row(f"the example notebook on {photos} photos", [seconds / 60], "min", 6)]


def copy_photos(source: Path, target: Path, count: int, breeds: int = 10) -> None:
    """`count` photos of some breeds as train, valid and test: 70, 15 and 15 %."""
    each = count // breeds
    splits = ["valid", "test"] * round(each * 0.15) + ["train"] * each
    for breed in sorted(p for p in (source / "train").iterdir() if p.is_dir())[:breeds]:
        for photo, split in zip(sorted(breed.iterdir())[:each], splits, strict=False):
            folder = target / split / breed.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, folder)


def write_weights(folder: Path) -> Path:
    """The shared trunk as torchvision's file; its head is drawn, for nobody uses it."""
    import torch
    from safetensors.torch import load_file
    from torchvision.models import resnet50

    folder.mkdir()
    state = resnet50(weights=None).state_dict()
    state |= {name: value.float() for name, value in load_file(RESNET50).items()}
    torch.save(state, folder / "resnet50-0676ba61.pth")
    return folder


# -- the control plane at work and at rest -------------------------------------------------------


def calls() -> list[Row]:
    """DescribeTrainingJob over 16 connections."""
    with running() as plane:
        request = training(plane, "described", "print(1)\n")
        plane.client("sagemaker").create_training_job(**request)
        ended(plane.client("sagemaker"), "described")
        rate = hammered(plane, "described")
    text = f"DescribeTrainingJob, {CONNECTIONS} clients"
    return [Row(text, [rate], "a second", 500, at_least=True)]


def hammered(plane: Plane, name: str) -> float:
    """Answers a second."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    address = plane.variables["AWS_ENDPOINT_URL"]
    body = json.dumps({"TrainingJobName": name})
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "SageMaker.DescribeTrainingJob",
    }
    request = AWSRequest("POST", f"{address}/", data=body, headers=headers)
    keys = (plane.variables["AWS_ACCESS_KEY_ID"], plane.variables["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(Credentials(*keys), "sagemaker", "us-east-1").add_auth(request)
    host = urlparse(address).netloc
    lines = [f"{name}: {value}" for name, value in {"Host": host, **request.headers}.items()]
    lines += [f"Content-Length: {len(body)}", "", body]
    wire = "\r\n".join(["POST / HTTP/1.1", *lines]).encode()
    return asyncio.run(_sent_again_and_again(host, wire)) / CALL_SECONDS


async def _sent_again_and_again(host: str, wire: bytes) -> int:
    """How often `wire` was answered, over all connections."""
    name, _, port = host.partition(":")
    until = time.monotonic() + CALL_SECONDS

    async def client() -> int:
        reader, writer = await asyncio.open_connection(name, int(port))
        count = 0
        while time.monotonic() < until:
            writer.write(wire)
            head = await reader.readuntil(b"\r\n\r\n")
            told = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            text = await reader.readexactly(int(told[b"content-length"]))
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(text.decode())
            count += 1
        writer.close()
        return count

    return sum(await asyncio.gather(*(client() for _ in range(CONNECTIONS))))


def listing() -> list[Row]:
    """All pages of 10,000 jobs, and how much slower the last ten are than the first ten."""
    with running(fill) as plane:
        sagemaker, pages, token = plane.client("sagemaker"), list[float](), None
        seen = 0
        while token is not None or not pages:
            more: dict[str, str] = {"NextToken": token} if token else {}
            began = time.monotonic()
            page = sagemaker.list_training_jobs(MaxResults=100, **more)
            pages.append(time.monotonic() - began)
            seen += len(page["TrainingJobSummaries"])
            token = page.get("NextToken")
    if seen != JOBS:
        raise RuntimeError(f"{seen} jobs were listed, not {JOBS}")
    slower = statistics.median(pages[-10:]) / statistics.median(pages[:10])
    return [
        Row(f"a list of {JOBS:,} jobs, 100 a page", [sum(pages)], "s", 10),
        Row("its last pages against its first", [slower], "times", 1.5),
    ]


def fill(home: Path) -> None:
    """Many finished jobs."""
    from houndsight.jobs.layout import PlatformHome
    from houndsight.jobs.states import Kind
    from houndsight.jobs.store import JobStore, Record

    place = PlatformHome(home / "platform")
    place.root.mkdir(parents=True)
    store = JobStore.open(place.database)
    for number in range(JOBS):
        name = f"job-{number:05d}"
        arn = f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}"
        store.add(Record(kind=Kind.TRAINING_JOB, name=name, arn=arn, status="Completed"))
    store.close()


def memory() -> list[Row]:
    """Resident memory at rest, and of a supervisor whose script sleeps."""
    with running() as plane:
        plane.client("sagemaker").list_training_jobs()
        control = resident(plane.process())
        request = training(plane, "sleeper", "import time\nprint('SLEEPS')\ntime.sleep(30)\n")
        plane.client("sagemaker").create_training_job(**request)
        time.sleep(15)
        supervisors = [resident(p) for p in those("houndsight.jobs.local.supervisor", plane)]
        launchers = [resident(p) for p in those("houndsight.jobs.local.launcher", plane)]
        plane.client("sagemaker").stop_training_job(TrainingJobName="sleeper")
    rows = [Row("control plane and one supervisor", [control + sum(supervisors)], "MB", 150)]
    if launchers:
        rows.append(Row("the launcher, apart", launchers[:1], "MB", 1000))
    return rows


def those(module: str, plane: Plane) -> list[psutil.Process]:
    """Processes of this home that run a module."""
    return [
        p
        for p in psutil.process_iter(["cmdline"])
        if any(module in word for word in p.info["cmdline"] or ())
        and str(plane.home) in " ".join([*(p.info["cmdline"] or ()), *environ_of(p)])
    ]


def environ_of(process: psutil.Process) -> list[str]:
    """The values of its environment."""
    try:
        return list(process.environ().values())
    except psutil.Error:
        return []


def resident(process: psutil.Process) -> float:
    """MB."""
    return float(process.memory_info().rss) / 1e6


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "start": start,
    "fit": fit,
    "deploy": deploy,
    "notebook": notebook,
    "calls": calls,
    "listing": listing,
    "memory": memory,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(MEASURES), default=list(MEASURES))
    rows: list[Row] = []
    for name in parser.parse_args().only:
        rows += (found := MEASURES[name]())
        for row in found:
            print(*row.cells(), sep="; ", file=sys.stderr, flush=True)
    print(f"{machine()}; median and range.\n")
    print(Table(("figure", "measured", "goal", ""), [row.cells() for row in rows]))


if __name__ == "__main__":
    main()
