"""Scripts that fail: what a person reads must name what to change."""

from __future__ import annotations

from .case import Case

FAILED = "Failed"
SCRIPT = "AlgorithmError: ExecuteUserScriptError"

CASES = (
    Case(
        name="a script that does not parse",
        status=FAILED,
        script="""
            def train(:
                pass
        """,
        failure=[SCRIPT, "SyntaxError", r"train\.py"],
    ),
    Case(
        name="a hyperparameter that the script does not take",
        status=FAILED,
        hyperparameters={"lr": "0.1", "momentum": "0.9"},
        script="""
            import argparse
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float)
            parser.parse_args()
        """,
        failure=[SCRIPT, "ExitCode 2", "unrecognized arguments: --momentum 0.9"],
    ),
    Case(
        name="a module that is not there",
        status=FAILED,
        script="import a_module_nobody_has\n",
        failure=[SCRIPT, "ModuleNotFoundError: No module named 'a_module_nobody_has'"],
    ),
    Case(
        name="a channel that was not given",
        status=FAILED,
        script="""
            import os
            os.environ["SM_CHANNEL_TRAIN"]
        """,
        failure=[SCRIPT, "KeyError: 'SM_CHANNEL_TRAIN'"],
    ),
    Case(
        name="an exit code of its own",
        status=FAILED,
        script="""
            import sys
            print("I give up")
            sys.exit(3)
        """,
        failure=[SCRIPT, "ExitCode 3"],
    ),
    Case(
        name="a head of another size than the classes",
        status=FAILED,
        script="""
            import torch
            torch.nn.CrossEntropyLoss()(torch.randn(4, 2), torch.tensor([0, 1, 2, 1]))
        """,
        failure=[SCRIPT, "IndexError: Target 2 is out of bounds"],
    ),
    Case(
        name="weights that are not on the machine",
        status=FAILED,
        script="""
            import torchvision.models as models
            models.resnet152(pretrained=True)
        """,
        logged=[r"resnet152-[0-9a-f]{8}\.pth", "HOUNDSIGHT_WEIGHTS"],
        failure=[SCRIPT],
    ),
    Case(
        name="an entry point that is not in the archive",
        status=FAILED,
        entry="other.py",
        hyperparameters={"sagemaker_program": '"train.py"'},
        script="print(1)\n",
        failure=[r"train\.py", r"other\.py"],
    ),
    Case(
        name="a requirement that nobody can meet",
        status=FAILED,
        script="print(1)\n",
        files={"requirements.txt": "numpy==1.0.0\n"},
        failure=["numpy==1.0.0"],
    ),
    Case(
        name="a process killed by a signal",
        status=FAILED,
        script="""
            import os, signal
            os.kill(os.getpid(), signal.SIGSEGV)
        """,
        failure=[SCRIPT, "SIGSEGV|segmentation|signal 11"],
    ),
)
