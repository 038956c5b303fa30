"""Runs `-m MODULE ARGUMENTS` as Python would, with small stand-ins for the container and rules.

The job's script is its hyperparameter `script`. With `DIE_AT=WHO:NUMBER` in the environment, the
process that is WHO (`supervisor`, `stub`, `control`) is killed after its NUMBERth persisted write
(rename, link, fsync, commit), once; `DIE_LOG` names a file that lists them.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def mortal(who: str) -> Callable[[str], None]:
    """Have this process die where the environment says; returns what counts a write."""
    name, _, number = os.environ.get("DIE_AT", "").partition(":")
    log, count = os.environ.get("DIE_LOG", ""), 0
    listed, fsync = os.open, os.fsync

    def note(what: str) -> None:
        nonlocal count
        count += 1
        if log:
            line = f"{who} {count} {what}\n".encode()
            descriptor = listed(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(descriptor, line)
            os.close(descriptor)
        if name == who and count == int(number):
            try:
                fsync(listed(f"{log}.died", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    for function in ("replace", "rename", "link", "fsync"):
        setattr(os, function, _followed(getattr(os, function), function, note))
    return note


def _followed(function: Any, name: str, note: Callable[[str], None]) -> Any:
    def call(*args: Any, **named: Any) -> Any:
        result = function(*args, **named)
        note(f"{name} {args[-1] if name != 'fsync' else ''}")
        return result

    return call


def prepare(spec: Any, folder: Any, objects: Any, allotment: Any, *, report: Any) -> list[Any]:
    from houndsight.jobs.container.command import ForkPlan, HostCommand

    report("Downloading input data")
    commands = []
    for name in spec.hosts:
        host = folder.host(name)
        (host.ml / "model").mkdir(parents=True, exist_ok=True)
        script, plan = host.path / "script.py", host.path / "plan.json"
        script.write_text(spec.hyperparameters["script"])
        plan.write_text(json.dumps({"cwd": str(host.path)}))
        environment = {
            "PATH": os.environ["PATH"],
            "SM_CURRENT_HOST": name,
            "SM_MODEL_DIR": str(host.ml / "model"),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(allotment.cores),
            **spec.environment,
        }
        argv = tuple(spec.entrypoint) or (sys.executable, "-I", "-S", "script.py")
        fork = None
        if "fork" in spec.hyperparameters:
            fork = ForkPlan(script="script.py", argv=("script.py", "--lr", "0.1"), plan=plan)
        commands.append(
            HostCommand(host=name, argv=argv, environment=environment, cwd=host.path, forkable=fork)
        )
    if "slow_download" in spec.hyperparameters:
        os.system("exec sleep 60")
    return commands


def failure_reason(spec: Any, folder: Any, codes: Mapping[str, int], *, note: str = "") -> str:
    return f"AlgorithmError: {dict(codes)} {note}"


def upload_results(spec: Any, folder: Any, objects: Any, *, succeeded: bool) -> tuple[str, str]:
    if not any((folder.host(spec.hosts[0]).ml / "model").iterdir()):
        return "", ""
    return f"s3://bucket/{spec.name}/model.tar.gz", ""


class CheckpointSync:
    def __init__(self, *_: Any) -> None:
        pass

    def sync(self, *, final: bool = False) -> int:
        return 0


def install() -> None:
    parts = {
        "prepare": {"prepare": prepare},
        "finish": {
            "failure_reason": failure_reason,
            "upload_results": upload_results,
            "clean_up": lambda spec, folder: None,
            "CheckpointSync": CheckpointSync,
        },
    }
    for name, content in parts.items():
        module = types.ModuleType(f"houndsight.jobs.container.{name}")
        module.__dict__.update(content)
        sys.modules[module.__name__] = module


def main() -> None:
    path = sys.argv[1]
    if path == "-m":
        install()
        module = sys.argv[2]
        mortal(module.rpartition(".")[2])
        from houndsight.jobs.local import launching

        if os.environ.get("DIE_AT", "").startswith("stub:"):
            launching.STUB = Path(__file__)
        sys.argv = sys.argv[2:]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    # As the stub: `stand_ins.py JOB HOST`, by an isolated Python.
    mortal("stub")
    sys.argv = ["stub.py", *sys.argv[1:]]
    stub = HERE.parents[2] / "src" / "houndsight" / "jobs" / "local" / "stub.py"
    runpy.run_path(str(stub), run_name="__main__")


if __name__ == "__main__":
    main()
