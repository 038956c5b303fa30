"""Training jobs without a supervisor: the attendant, and the script as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from houndsight.jobs.debugging import Attendant
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.spec import TrainingSpec

REGISTRY = "503895931360.dkr.ecr.us-east-1.amazonaws.com"


class Job:
    """One job's attendant with a store of its own."""

    def __init__(self, root: Path, **asked: Any) -> None:
        self.spec = TrainingSpec(
            name="pytorch-training-1",
            arn="arn:aws:sagemaker:us-east-1:000000000000:training-job/pytorch-training-1",
            image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.8-cpu-py36",
            output_s3_uri="s3://bucket/",
            **asked,
        )
        self.folder = JobFolder(root / "job")
        for host in self.spec.hosts:
            self.folder.host(host).ml.mkdir(parents=True)
        self.spec.write(self.folder.spec)
        self.objects = ObjectStore(root / "objects")
        self.objects.create_bucket("bucket", "us-east-1")
        self.attendant = Attendant(self.spec, self.folder, self.objects)

    def run(self, script: Path) -> str:
        """Run a script to its end, as the engine would; what it says."""
        extra = dict(self.attendant.environment())
        extra["PYTHONPATH"] = os.pathsep.join([str(script.parent), extra["PYTHONPATH"]])
        extra |= {"OMP_NUM_THREADS": "1", "TRAINING_JOB_NAME": self.spec.name}
        extra |= {"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1"}
        done = subprocess.run(
            [sys.executable, str(script)],
            env=os.environ | extra,
            capture_output=True,
            text=True,
            check=False,
            cwd=script.parent,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def end(self) -> None:
        """Leave nothing running."""
        judge, sampler = self.attendant._judge, self.attendant._sampler
        if judge is not None and judge.poll() is None:
            judge.kill()
            judge.wait()
        if sampler is not None:
            sampler.close()
        self.objects.close()

    def listing(self, prefix: str = "") -> list[str]:
        """What lies in the bucket."""
        return sorted(info.key for info in self.objects.iterate("bucket", prefix))

    def download(self, prefix: str, to: Path) -> Path:
        """A copy of what lies under a prefix."""
        for key in self.listing(prefix):
            path = to / key.removeprefix(prefix).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.objects.open("bucket", key) as source:
                path.write_bytes(source.read())
        return to


def rule(name: str, **parameters: str) -> dict[str, Any]:
    """A `DebugRuleConfigurations` entry as the SDK sends it."""
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": f"{REGISTRY}/sagemaker-debugger-rules:latest",
        "RuleParameters": {"rule_to_invoke": name, **parameters},
    }
