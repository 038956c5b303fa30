"""A failed job's reason: SageMaker's form, a person's sentence."""

from __future__ import annotations

import pytest

from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.failure import MAX_CHARACTERS, last_error
from houndsight.jobs.container.removed_names import replacement_for

# A broken script, its hyperparameters, what the reason must hold.
BROKEN = {
    "an exception": ("raise ValueError('bad photo')", {}, ["ValueError: bad photo", "ExitCode 1"]),
    "no syntax": ("def f(:\n  pass", {}, ["SyntaxError"]),
    "an exit code": ("import sys; sys.exit(3)", {}, ["ExitCode 3"]),
    "an error text": ("import sys; sys.exit('no photos')", {}, ['"no photos"']),
    "an unknown argument": (
        "import argparse\np = argparse.ArgumentParser(); p.add_argument('--lr'); p.parse_args()",
        {"lr": "1", "momentum": "0.9"},
        ["unrecognized arguments: --momentum 0.9", "The script has no argument --momentum"],
    ),
    "a fraction for a whole number": (
        "import argparse\np = argparse.ArgumentParser()\n"
        "p.add_argument('--epochs', type=int); p.parse_args()",
        {"epochs": "1.5"},
        ["--epochs got '1.5'", "IntegerParameter"],
    ),
    "no such channel": (
        "import os; os.environ['SM_CHANNEL_TRAIN']",
        {},
        ["KeyError: 'SM_CHANNEL_TRAIN'", "The job has no channel train"],
    ),
    "no such module": ("import cv2_not_here", {}, ["Name cv2_not_here in a requirements.txt"]),
    "a removed name": (
        "raise AttributeError(\"module 'numpy' has no attribute 'trapz'\")",
        {},
        ["np.trapz is not in what is installed", "np.trapezoid"],
    ),
    "the disk is full": ("raise OSError(28, 'No space left on device')", {}, ["disk is full"]),
    "killed": ("import os; os.kill(os.getpid(), 9)", {}, ["ExitCode 137", "SIGKILL"]),
    "a segmentation fault": ("import os; os.kill(os.getpid(), 11)", {}, ["SIGSEGV"]),
    "its own failure file": (
        "import os; f = open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w')\n"
        "f.write('my own words'); f.close(); raise SystemExit(1)",
        {},
        ["AlgorithmError: my own words", "exit code: 1"],
    ),
    "a very long message": ("raise ValueError('x' * 10_000)", {}, ["ValueError: xxx", "Command"]),
    "an error of a worker": (
        "try:\n    raise KeyError('inner')\n"
        "except KeyError as e:\n    raise RuntimeError('outer') from e",
        {},
        ['ErrorMessage "RuntimeError: outer"'],
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_reasons_read_well(platform, kind):
    script, hyperparameters, words = BROKEN[kind]
    ended = platform.run(platform.spec({"train.py": script}, hyperparameters=hyperparameters))
    assert any(ended.codes.values())
    assert ended.reason.startswith("AlgorithmError: ")
    for word in words:
        assert word in ended.reason, ended.reason
    if "its own" not in kind:
        assert ended.reason.startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode ")
        assert "train.py" in ended.reason.partition("Command ")[2]
    assert len(ended.reason) <= MAX_CHARACTERS
    assert "Reporting training FAILURE" in ended.log
    assert (ended.folder.host("algo-1").ml / "output" / "failure").read_text()


# What cannot be started, and what the sentence must hold.
UNSTARTABLE = {
    "no such entry point": (
        {"program": "trian.py"},
        ["'trian.py' is not in the source", "train.py"],
    ),
    "an entry point outside": ({"program": "../x.py"}, ["no path inside the source"]),
    "an option": ({"program": "-c"}, ["no path inside the source"]),
    "nothing": (
        {"program": "", "hyperparameters": {"sagemaker_program": '""'}},
        ["nothing to run"],
    ),
    "no such source": (
        {"hyperparameters": {"sagemaker_submit_directory": '"s3://bucket/gone.tar.gz"'}},
        ["s3://bucket/gone.tar.gz cannot be fetched"],
    ),
    "a source that is a folder": (
        {"hyperparameters": {"sagemaker_submit_directory": '"/home/me"'}},
        ["'/home/me'", "s3:// URI"],
    ),
    "checkpoints elsewhere": (
        {"checkpoint": ("s3://bucket/c", "/etc")},
        ["CheckpointConfig.LocalPath is '/etc'"],
    ),
}


@pytest.mark.parametrize("kind", UNSTARTABLE)
def test_what_cannot_start_is_said(platform, kind):
    from houndsight.jobs.spec import CheckpointSpec

    changes, words = UNSTARTABLE[kind]
    changes = dict(changes)
    if "checkpoint" in changes:
        uri, path = changes["checkpoint"]
        changes["checkpoint"] = CheckpointSpec(s3_uri=uri, local_path=path)
    spec = platform.spec({"train.py": ""}, **changes)
    with pytest.raises(ContainerError) as refused:
        platform.prepare(spec)
    for word in words:
        assert word in str(refused.value)
    log = (platform.root / spec.name / "hosts" / "algo-1" / "log").read_text()
    assert str(refused.value) in log


def test_a_hard_coded_folder_without_a_private_one_is_explained(platform, monkeypatch):
    monkeypatch.setenv("HOUNDSIGHT_NAMESPACES", "off")
    ended = platform.run(platform.spec({"t.py": "open('/opt/ml/model/model.pth', 'w')"}))
    assert "no private /opt/ml (HOUNDSIGHT_NAMESPACES is off)" in ended.reason
    assert "SM_MODEL_DIR" in ended.reason
    assert ended.log.count("gives a job no private /opt/ml (") >= 1


# The end of a log, the error in it.
LOGS = [
    ("Traceback (most recent call last):\n  File 'x'\nValueError: a\n", "ValueError: a"),
    ("urllib.error.URLError: <urlopen error [Errno -3] x>\n", "urllib.error.URLError: <urlopen"),
    ("train.py: error: unrecognized arguments: --x\n", "train.py: error: unrecognized"),
    ("RuntimeError: a\n\tsize mismatch\nbye\n", "RuntimeError: a\n\tsize mismatch"),
    ("ValueError: the script's\nsubprocess.CalledProcessError: x\n", "ValueError: the script's"),
    (
        "[rank0]: ValueError: on rank 0\ntorch.distributed.elastic.multiprocessing.errors."
        "ChildFailedError: \n",
        "[rank0]: ValueError: on rank 0",
    ),
    ("/bin/sh: 1: ./run: not found\n", "/bin/sh: 1: ./run: not found"),
    ("KeyboardInterrupt\n", "KeyboardInterrupt"),
    ("Epoch 1: Error: 0.5\nTest set: Average loss: 1.0\n", ""),
    ("", ""),
]


@pytest.mark.parametrize(("log", "error"), LOGS)
def test_the_last_error_of_a_log(log, error):
    found = last_error(log)
    assert found.startswith(error) if error else found == ""


@pytest.mark.parametrize(
    ("message", "replacement"),
    [
        ("AttributeError: module 'numpy' has no attribute 'float'.", "use float."),
        ("AttributeError: module 'PIL.Image' has no attribute 'ANTIALIAS'", "Image.LANCZOS"),
        ("ModuleNotFoundError: No module named 'torch._six'", "collections.abc"),
        (
            "ImportError: cannot import name 'model_urls' from 'torchvision.models.resnet' (x)",
            "hub",
        ),
        ("TypeError: __init__() got an unexpected keyword argument 'verbose'", "get_last_lr"),
        ("AttributeError: module 'numpy' has no attribute 'floaty'", ""),
    ],
)
def test_removed_names_come_with_their_replacement(message, replacement):
    assert replacement in replacement_for(message)
    assert bool(replacement) == bool(replacement_for(message))
