"""Small scripts in the manner of those that people have, run whole."""

from __future__ import annotations

import json
import re

import pytest

TELL = """
import json, os, sys
print("RESULT " + json.dumps({"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(),
                              "path": sys.path[:2]}))
"""
PARSER = """
import argparse, json, os, sys
parser = argparse.ArgumentParser()
add = parser.add_argument
"""
PRINT = "\nprint('RESULT ' + json.dumps(vars(parser.parse_args())))\n"


def test_a_script_finds_its_place(platform, channel):
    platform.put("data/train/a/1.txt", "one")
    spec = platform.spec(
        {"train.py": TELL},
        hyperparameters={"batch-size": "32", "lr": '"0.1"', "name": '"a b"'},
        channels=(channel("training", "data/train"),),
    )
    ended = platform.run(spec)
    assert ended.codes == {"algo-1": 0}, ended.log
    said = ended.said()
    assert said["argv"] == ["train.py", "--batch-size", "32", "--lr", "0.1", "--name", "a b"]
    environment = said["env"]
    ml = environment["SM_MODEL_DIR"].removesuffix("/model")
    assert said["cwd"] == f"{ml}/code" == said["path"][0]
    assert environment["SM_CHANNEL_TRAINING"] == f"{ml}/input/data/training"
    assert json.loads(environment["SM_HPS"]) == {"batch-size": 32, "lr": "0.1", "name": "a b"}
    assert environment["SM_HP_BATCH-SIZE"] == "32"
    assert environment["SM_MODULE_DIR"] == "s3://bucket/job-1/source/sourcedir.tar.gz"
    assert environment["SM_MODULE_NAME"] == "train"
    assert json.loads(environment["SM_USER_ARGS"])[:2] == ["--batch-size", "32"]
    for line in (
        "Training Env:",
        "Invoking script with the following command:",
        "Reporting training SUCCESS",
        "asks for PyTorch 1.8 (py36)",
    ):
        assert ended.log.count(line) == 1, line
    assert re.search(r'\S*python\S* train.py --batch-size 32 --lr 0.1 --name "a b"\n', ended.log)


NAMES = [
    "MODEL_DIR",
    "CHANNELS",
    "CHANNEL_TRAINING",
    "HPS",
    "HP_LR",
    "HOSTS",
    "CURRENT_HOST",
    "NUM_GPUS",
    "NUM_CPUS",
    "OUTPUT_DATA_DIR",
    "OUTPUT_DIR",
    "INPUT_DIR",
    "MODULE_DIR",
    "USER_ARGS",
    "TRAINING_ENV",
    "RESOURCE_CONFIG",
    "FRAMEWORK_MODULE",
    "LOG_LEVEL",
    "NETWORK_INTERFACE_NAME",
    "CURRENT_INSTANCE_TYPE",
    "USER_ENTRY_POINT",
    "FRAMEWORK_PARAMS",
    "INPUT_DATA_CONFIG",
    "CURRENT_INSTANCE_GROUP",
    "CURRENT_INSTANCE_GROUP_HOSTS",
    "INSTANCE_GROUPS",
    "INSTANCE_GROUPS_DICT",
    "DISTRIBUTION_INSTANCE_GROUPS",
    "IS_HETERO",
    "MODULE_NAME",
    "INPUT_CONFIG_DIR",
    "NUM_NEURONS",
    "OUTPUT_INTERMEDIATE_DIR",
]


def test_every_variable_and_file_is_there(platform, channel, monkeypatch):
    monkeypatch.setenv("SM_MODEL_DIR", "/of/another/job")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    platform.put("data/x", "x")
    spec = platform.spec(
        {"train.py": TELL},
        hyperparameters={"lr": "0.1"},
        channels=(channel("training", "data", content_type="image/jpeg"),),
        environment={"MY_OWN": "value", "OMP_NUM_THREADS": "7"},
    )
    folder, [command] = platform.prepare(spec, cores=3)
    environment = command.environment
    assert [name for name in NAMES if f"SM_{name}" not in environment] == []
    assert {"TRAINING_JOB_NAME", "MASTER_ADDR", "MASTER_PORT", "AWS_REGION"} <= environment.keys()
    assert environment["SM_MODEL_DIR"].endswith("/ml/model")
    assert environment["SM_NUM_CPUS"] == "3" == environment["MKL_NUM_THREADS"]
    assert (environment["OMP_NUM_THREADS"], environment["MY_OWN"]) == ("7", "value")
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert environment["SM_HOSTS"] == '["algo-1"]'
    config = folder.host("algo-1").ml / "input" / "config"
    resources = json.loads((config / "resourceconfig.json").read_text())
    assert {"current_host", "current_instance_type", "current_group_name", "hosts"} < set(resources)
    inputs = json.loads((config / "inputdataconfig.json").read_text())
    assert inputs["training"] == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "ContentType": "image/jpeg",
    }
    sent = json.loads((config / "hyperparameters.json").read_text())
    assert sent["sagemaker_program"] == '"train.py"'


# Styles of scripts: hyperparameters, the script, what it must print after RESULT.
STYLES = {
    "arguments with defaults from SM_*": (
        {"epochs": "2", "batch-size": "64", "lr": "0.01"},
        PARSER + "add('--epochs', type=int, default=1); add('--batch-size', type=int)\n"
        "add('--lr', type=float); add('--model-dir', default=os.environ['SM_MODEL_DIR'])\n"
        "a = parser.parse_args(); open(os.path.join(a.model_dir, 'model.pth'), 'w').close()\n"
        "print('RESULT ' + json.dumps([a.epochs, a.batch_size, a.lr]))",
        [2, 64, 0.01],
    ),
    "underscores": (
        {"batch_size": '"128"', "learning_rate": "0.1"},
        PARSER + "add('--batch_size', type=int); add('--learning_rate', type=float)" + PRINT,
        {"batch_size": 128, "learning_rate": 0.1},
    ),
    "quotes of best_estimator().hyperparameters()": (
        {"batch_size": json.dumps('"16"')},
        PARSER + "add('--batch_size', type=int)" + PRINT,
        {"batch_size": 16},
    ),
    "hosts as type=list": (
        {},
        PARSER + "add('--hosts', type=list, default=json.loads(os.environ['SM_HOSTS']))\n"
        "add('--current-host', default=os.environ['SM_CURRENT_HOST'])\n"
        "add('--num-gpus', type=int, default=os.environ['SM_NUM_GPUS'])" + PRINT,
        {"hosts": ["algo-1"], "current_host": "algo-1", "num_gpus": 0},
    ),
    "a flag by an empty value": (
        {"verbose": '""'},
        PARSER + "add('--verbose', action='store_true')" + PRINT,
        {"verbose": True},
    ),
    "str2bool": (
        {"gpu": "true"},
        PARSER + "add('--gpu', type=lambda x: x.lower() in ('true', '1'))" + PRINT,
        {"gpu": True},
    ),
    "unknown arguments are passed over": (
        {"lr": "0.1", "other": "1"},
        PARSER
        + "add('--lr', type=float); print('RESULT ' + json.dumps(parser.parse_known_args()[1]))",
        ["--other", "1"],
    ),
    "hyperparameters from the file": (
        {"lr": "0.1"},
        "import json, os\npath = os.environ['SM_INPUT_DIR'] + '/config/hyperparameters.json'\n"
        "print('RESULT ' + json.dumps(json.load(open(path))['lr']))",
        "0.1",
    ),
    "hyperparameters from SM_HPS": (
        {"lr": "0.1", "name": '"x"'},
        "import json, os\nprint('RESULT ' + json.dumps(json.loads(os.environ['SM_HPS'])))",
        {"lr": 0.1, "name": "x"},
    ),
    "a module beside the script": (
        {},
        "import json, helper\nprint('RESULT ' + json.dumps(helper.VALUE))",
        42,
    ),
    "a fork of its own": (
        {},
        "import json, multiprocessing as m\nif __name__ == '__main__':\n"
        "    with m.Pool(1) as pool: print('RESULT ' + json.dumps(pool.map(abs, [-3])))",
        [3],
    ),
    "sys.exit(0)": ({}, "import sys; print('RESULT 1'); sys.exit(0)", 1),
    "a main that reads the training environment": (
        {},
        "import json, os\ne = json.loads(os.environ['SM_TRAINING_ENV'])\n"
        "print('RESULT ' + json.dumps([e['job_name'] == os.environ['TRAINING_JOB_NAME'],"
        " e['current_host'], e['model_dir'] == os.environ['SM_MODEL_DIR']]))",
        [True, "algo-1", True],
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_styles_of_scripts(platform, style):
    hyperparameters, script, expected = STYLES[style]
    files = {"hpo.py": script, "helper.py": "VALUE = 42"}
    ended = platform.run(platform.spec(files, hyperparameters=hyperparameters))
    assert ended.codes == {"algo-1": 0}, ended.log
    assert ended.said() == expected


def test_without_namespaces_the_variables_lead_to_the_folders(platform, monkeypatch):
    monkeypatch.setenv("HOUNDSIGHT_NAMESPACES", "off")
    hyperparameters, script, expected = STYLES["arguments with defaults from SM_*"]
    ended = platform.run(platform.spec({"t.py": script}, hyperparameters=hyperparameters))
    assert (ended.codes, ended.said()) == ({"algo-1": 0}, expected), ended.log
    assert ended.log.count("gives a job no private /opt/ml") == 1
    assert "model.pth" in platform.members(ended.model)


def test_a_plain_script_may_be_forked_and_others_may_not(platform):
    def forkable(files, **changes):
        return platform.prepare(platform.spec(files, **changes))[1][0].forkable

    plain = forkable({"train.py": ""}, hyperparameters={"xx": "\"'a b'\"", "yy": '""'})
    assert plain.script == "train.py"
    assert plain.argv == ("train.py", "--xx", "a b", "--yy")
    assert forkable({"train.py": ""}, hyperparameters={"x": '"$HOME"'}) is None
    assert forkable({"run.sh": "#!/bin/sh"}) is None
    assert forkable({"train.py": "", "setup.py": ""}) is None
    ddp = {"sagemaker_torch_distributed_enabled": "true"}
    assert forkable({"train.py": ""}, hyperparameters=ddp) is None
    assert forkable({"train.py": "", "requirements.txt": "# nothing\ntorch==1.8.0\n"}) is not None


def test_a_shell_script_is_an_entry_point_too(platform):
    script = "#!/bin/sh\necho RESULT \\\"$1 $2 $X_EXTRA\\\"\npython3 -c 'import torch' || exit 3\n"
    script = script.replace("python3 -c 'import torch'", "python3 -c 'import houndsight'")
    spec = platform.spec(
        {"run.sh": script}, hyperparameters={"lr": "0.1"}, environment={"X_EXTRA": "more"}
    )
    ended = platform.run(spec)
    assert ended.codes == {"algo-1": 0}, ended.log
    assert ended.said() == "--lr 0.1 more"


def test_a_package_is_run_as_a_module(platform):
    files = {
        "train.py": "print(f'RESULT \"{__spec__.name}\"')",
        "setup.py": "from setuptools import setup; setup(name='x')",
    }
    assert platform.run(platform.spec(files)).said() == "train"


MODEL = """
import os
host = os.environ["SM_CURRENT_HOST"]
os.makedirs(os.environ["SM_MODEL_DIR"] + "/code", exist_ok=True)
open(os.environ["SM_MODEL_DIR"] + "/model.pth", "w").write("weights of " + host)
open(os.environ["SM_MODEL_DIR"] + "/code/inference.py", "w").write("x")
open(os.environ["SM_OUTPUT_DATA_DIR"] + "/history.json", "w").write("[]")
"""


@pytest.mark.parametrize("namespaces", ["on", "off"])
def test_model_and_output_are_uploaded(platform, monkeypatch, namespaces):
    monkeypatch.setenv("HOUNDSIGHT_NAMESPACES", namespaces)
    ended = platform.run(platform.spec({"train.py": MODEL}, output_s3_uri="s3://bucket/out/"))
    assert ended.model == "s3://bucket/out/job-1/output/model.tar.gz"
    assert ended.output == "s3://bucket/out/job-1/output/output.tar.gz"
    members = platform.members(ended.model)
    assert members == {"model.pth": b"weights of algo-1", "code/inference.py": b"x"}
    assert platform.members(ended.output) == {"history.json": b"[]"}
    assert (ended.folder.host("algo-1").ml / "output" / "success").exists()


def test_an_empty_model_is_uploaded_too_but_not_after_a_failure(platform):
    assert platform.members(platform.run(platform.spec({"t.py": ""})).model) == {}
    failed = platform.run(platform.spec({"t.py": "raise SystemExit(3)"}))
    assert (failed.codes, failed.model, failed.output) == ({"algo-1": 3}, "", "")


HARD_CODED = """
import os
assert sorted(os.listdir("/opt/ml")) == ["checkpoints", "code", "input", "model", "output"]
open("/opt/ml/model/model.pth", "w").write("weights")
assert os.path.samefile("/opt/ml/model", os.environ["SM_MODEL_DIR"])
import socket
assert socket.gethostname() == "algo-1"
print("RESULT", '"' + socket.gethostbyname("algo-1") + '"')
"""


def _private(platform) -> bool:
    return platform.prepare(platform.spec({"t.py": ""}))[1][0].namespace


def test_hard_coded_folders_are_there_where_the_system_allows(platform):
    if not _private(platform):
        pytest.skip("this system has no mount namespaces for us")
    ended = platform.run(platform.spec({"t.py": HARD_CODED}))
    assert ended.codes == {"algo-1": 0}, ended.log
    assert ended.said().startswith("127.")
    assert platform.members(ended.model) == {"model.pth": b"weights"}


INSTALLS = """
import sysconfig, os
path = sysconfig.get_path("purelib") + "/left_by_a_job.py"
assert not os.path.exists(path)
open(path, "w").write("x = 1")
import left_by_a_job
"""


def test_what_a_script_installs_is_gone_with_the_job(platform):
    import sys

    if not _private(platform) or sys.prefix == sys.base_prefix:
        pytest.skip("this system has no overlays for us, or no virtual environment")
    for _ in range(2):
        ended = platform.run(platform.spec({"t.py": INSTALLS}))
        assert ended.codes == {"algo-1": 0}, ended.log


TWO_HOSTS = """
import json, os, socket
hosts = json.loads(os.environ["SM_HOSTS"])
rank = hosts.index(os.environ["SM_CURRENT_HOST"])
address = (hosts[0], int(os.environ["MASTER_PORT"]))
if rank == 0:
    with socket.create_server(("", address[1])) as server:
        connection, _ = server.accept()
        print("RESULT", json.dumps(connection.recv(100).decode()))
else:
    import time
    for _ in range(500):
        try:
            connection = socket.create_connection(address)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    connection.sendall(("hello from " + socket.gethostname()).encode())
"""


def test_two_hosts_find_each_other_by_name(platform):
    if not _private(platform):
        pytest.skip("this system has no mount namespaces for us")
    ended = platform.run(platform.spec({"t.py": TWO_HOSTS}, instance_count=2))
    assert ended.codes == {"algo-1": 0, "algo-2": 0}, ended.log
    assert ended.said() == "hello from algo-2"
