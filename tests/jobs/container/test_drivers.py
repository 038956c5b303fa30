"""Jobs of SDK 3: source and drivers as channels, and a shell command over `/opt/ml`."""

from __future__ import annotations

import json

import pytest

from houndsight.jobs.container.command import ContainerError

# In the manner of the SDK's own template and drivers (3.27).
SM_TRAIN = """#!/bin/bash
set -e
SM_PYTHON_CMD=$(command -v python3 || command -v python)
cat /opt/ml/input/config/resourceconfig.json
$SM_PYTHON_CMD /opt/ml/input/data/sm_drivers/scripts/environment.py
source /opt/ml/input/sm_training.env
cd /opt/ml/input/data/code
cat requirements.txt
$SM_PYTHON_CMD /opt/ml/input/data/sm_drivers/driver.py
"""
ENVIRONMENT = """
import json
SM_MODEL_DIR = "/opt/ml/model"
SM_MASTER_PORT = 7777
with open("/opt/ml/input/sm_training.env", "w") as file:
    file.write(f"export SM_MODEL_DIR='{SM_MODEL_DIR}'\\n")
    file.write(f"export SM_MASTER_PORT={SM_MASTER_PORT}\\n")
"""
DRIVER = """
import subprocess, sys
done = subprocess.run([sys.executable, "train.py"])
if done.returncode:
    with open("/opt/ml/output/failure", "w") as file:
        file.write("File '/opt/ml/input/data/sm_drivers/common/utils.py'\\nCalledProcessError")
    sys.exit(done.returncode)
"""
COMMAND = (
    "chmod +x /opt/ml/input/data/sm_drivers/sm_train.sh"
    " && /opt/ml/input/data/sm_drivers/sm_train.sh"
)


@pytest.fixture
def job(platform, channel):
    def make(script, requirements="torch==1.8.0\ntqdm\n"):
        files = {
            "sm_drivers/sm_train.sh": SM_TRAIN,
            "sm_drivers/scripts/environment.py": ENVIRONMENT,
            "sm_drivers/driver.py": DRIVER,
            "sm_drivers/sourcecode.json": json.dumps({"requirements": "requirements.txt"}),
            "code/train.py": script,
            "code/requirements.txt": requirements,
        }
        for key, content in files.items():
            platform.put(f"input/{key}", content)
        channels = [channel(name, f"input/{name}/") for name in ("code", "sm_drivers")]
        return platform.spec(
            {},
            channels=tuple(channels),
            entrypoint=("/bin/bash",),
            arguments=("-c", COMMAND),
            hyperparameters={"sagemaker_program": "", "sagemaker_submit_directory": ""},
        )

    return make


@pytest.mark.parametrize("namespaces", ["on", "off"])
def test_the_drivers_run(platform, job, monkeypatch, namespaces):
    monkeypatch.setenv("HOUNDSIGHT_NAMESPACES", namespaces)
    script = "import os; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').write('x'); print('RESULT 1')"
    ended = platform.run(job(script))
    assert ended.codes == {"algo-1": 0}, ended.log
    assert ended.said() == 1
    assert platform.members(ended.model) == {"m": b"x"}
    assert "torch==1.8.0 is left out" in ended.log
    assert "\ntorch" not in ended.log.partition("network_interface_name")[2]
    assert ended.commands[0].forkable is None
    assert platform.objects.path("bucket", "input/code/requirements.txt").read_text()[:5] == "torch"


@pytest.mark.parametrize("namespaces", ["on", "off"])
def test_the_script_is_what_failed_not_the_driver(platform, job, monkeypatch, namespaces):
    monkeypatch.setenv("HOUNDSIGHT_NAMESPACES", namespaces)
    ended = platform.run(job("raise ValueError('bad photo')"))
    assert ended.codes == {"algo-1": 1}
    assert 'ErrorMessage "ValueError: bad photo' in ended.reason


def test_requirements_of_the_code_channel_are_checked_too(platform, job):
    with pytest.raises(ContainerError, match=r"requirements\.txt line 1: 'numpy==1\.0'"):
        platform.prepare(job("", "numpy==1.0"))


def test_a_source_in_a_channel_may_be_an_archive(platform, channel):
    from container_support import tar_gz

    platform.put("input/code/sourcedir.tar.gz", tar_gz({"train.py": "print('RESULT 1')"}))
    spec = platform.spec(
        {},
        channels=(channel("code", "input/code/"),),
        hyperparameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz",
        },
    )
    assert platform.run(spec).said() == 1
