"""A control plane as a process: `tuning_control.py HOME JOBS` makes a tuning job, awaits its end.

With `DIE_AT=control:NUMBER` it is killed after its NUMBERth write; supervisors die likewise.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from small_platform import PATIENCE_S, make_service
from stand_ins import mortal

from houndsight.jobs.states import ExistsError, Kind
from houndsight.jobs.tuning.service import TuningService

ARN = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/tuning"
SCRIPT = """
import os, time
name = os.path.basename(os.path.dirname(os.path.dirname(os.getcwd())))
with open({runs!r}, "a") as file:
    file.write(name + chr(10))
for step in range(3):
    print("loss=" + str(int(name[-8:], 16) / 2**32), flush=True)
    time.sleep(0.03)
"""


def request(home: Path, jobs: int) -> dict[str, Any]:
    """Search a learning rate at random, two jobs at once."""
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}]
            },
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"script": SCRIPT.format(runs=str(home / "runs"))},
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=([0-9.e-]+)"}],
            },
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
    }


def main(home: Path, jobs: int) -> None:
    note = mortal("control")
    service = make_service(home)
    sa.event.listen(service.store._engine, "commit", lambda _: note("commit"))
    tuning = TuningService(service)
    service.start()
    tuning.start()
    with contextlib.suppress(ExistsError):
        tuning.create("tuning", ARN, request(home, jobs))
    deadline = time.monotonic() + PATIENCE_S
    while (record := service.store.get(Kind.TUNING_JOB, "tuning")).status == "InProgress":
        assert time.monotonic() < deadline, record
        time.sleep(0.02)
    print(json.dumps({"status": record.status, **record.detail}))
    tuning.close()
    service.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
