"""`houndsight watch`: scripts that know nothing of it, and that must not notice it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from houndsight.debugger import TensorLog
from houndsight.debugger.watch.launch import command_line
from houndsight.debugger.watch.orders import notes
from houndsight.errors import SettingError
from houndsight.runs import Run, RunStatus

PRELUDE = """
import sys, torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
features = torch.randn(256, 8)
labels = (features[:, 0] > 0).long() + 2 * (features[:, 1] > 0).long()

def net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))

def train(model, optimizer, steps=30, scale=1.0):
    for step in range(steps):
        at = torch.arange(step * 32, step * 32 + 32) % 256
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(features[at]) * scale, labels[at])
        loss.backward()
        optimizer.step()
"""


def watch(
    tmp_path: Path,
    script: str,
    *options: str,
    prefix: tuple[str, ...] = (sys.executable,),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Watch a script whose text follows the prelude; its run is `run`."""
    (tmp_path / "train.py").write_text(PRELUDE + textwrap.dedent(script))
    command = [sys.executable, "-m", "houndsight", "watch", "--out", "run", *options, "--"]
    return subprocess.run(
        [*command, *prefix, "train.py", "--lr", "0.1"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def log(folder: Path) -> Any:
    """The scalars' names and the last step."""
    return TensorLog(folder).history()


FEW = ("--rules", "LossNotFinite,ZeroGradMissing,LossNotDecreasing")


def test_a_script_is_watched_and_notices_nothing(tmp_path: Path) -> None:
    done = watch(
        tmp_path,
        """
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        train(model, optimizer)
        print("arguments", sys.argv[1:])
        print(sum(p.double().sum().item() for p in model.parameters()), torch.rand(1).item())
        print("complaint", file=sys.stderr)
        sys.exit(3)
        """,
        *FEW,
    )
    assert done.returncode == 3
    command = [sys.executable, "train.py", "--lr", "0.1"]
    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == plain.stdout and "arguments ['--lr', '0.1']" in done.stdout
    assert "complaint" in done.stderr and "Nothing is wrong" in done.stderr, done.stderr
    history = log(tmp_path / "run")
    assert history.ended and len(history.scalar("loss")) == 30
    assert history.structure.loss.kind == "cross_entropy"
    assert history.structure.optimizer.kind == "SGD"
    run = Run.open(tmp_path / "run")
    assert run.status == RunStatus.FAILED and "exit status 3" in run.reason
    rules = json.loads((tmp_path / "run" / "rules.json").read_text())
    assert rules["ended"] and len(rules["rules"]) == 3


def test_findings_come_with_cause_and_fix(tmp_path: Path) -> None:
    done = watch(
        tmp_path,
        """
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        train(model, optimizer, 10)
        train(model, optimizer, 10, scale=float("nan"))
        """,
        *FEW,
    )
    assert done.returncode == 0 and done.stdout == ""
    for text in ("not a finite number", "cause", "fix", "Diagnosis", "houndsight findings run"):
        assert text in done.stderr, done.stderr


@pytest.mark.slow
def test_workers_and_children_are_not_watched_twice(tmp_path: Path) -> None:
    done = watch(
        tmp_path,
        """
        import subprocess
        from torch.utils.data import DataLoader, TensorDataset

        if len(sys.argv) == 2:
            model = net()
            train(model, torch.optim.SGD(model.parameters(), 0.1), 5)
            sys.exit()
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for x, y in DataLoader(TensorDataset(features, labels), 32, num_workers=2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        subprocess.run([sys.executable, __file__, "child"], check=True)
        """,
        *FEW,
    )
    assert done.returncode == 0, done.stderr
    told = [n for n in notes(tmp_path / "run") if n["kind"] == "attached"]
    assert [Path(n["folder"]).name for n in told] == ["run", "model-2"]
    assert len(log(tmp_path / "run").scalar("loss")) == 8


@pytest.mark.slow
def test_a_hook_of_the_scripts_own_is_left_to_watch(tmp_path: Path) -> None:
    done = watch(
        tmp_path,
        """
        from houndsight.debugger import Hook
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        hook = Hook(model, optimizer=optimizer, folder="own")
        train(model, optimizer, 5)
        """,
        *FEW,
    )
    assert done.returncode == 0 and "Hook of its own" in done.stderr, done.stderr
    assert (tmp_path / "own" / "tensors").exists()
    assert not (tmp_path / "run" / "tensors").exists()


@pytest.mark.slow
def test_a_script_that_trains_nothing_is_told_why(tmp_path: Path) -> None:
    done = watch(tmp_path, "print(net()(features).shape[0])", *FEW)
    assert done.returncode == 0 and done.stdout == "256\n"
    assert "No training was seen" in done.stderr


@pytest.mark.slow
def test_the_sitecustomize_behind_still_runs(tmp_path: Path) -> None:
    behind = tmp_path / "behind"
    behind.mkdir()
    (behind / "sitecustomize.py").write_text("import builtins; builtins.BEHIND = 7")
    done = watch(tmp_path, "print(BEHIND)", *FEW, PYTHONPATH=str(behind))
    assert done.stdout == "7\n", done.stderr


@pytest.mark.slow
def test_stop_ends_the_training_with_an_error(tmp_path: Path) -> None:
    done = watch(
        tmp_path,
        """
        import time
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        train(model, optimizer, 8)
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < 60:
                train(model, optimizer, 1, scale=float("nan"))
                time.sleep(0.05)
        finally:
            print("cleaned up")
        """,
        "--stop",
        *FEW,
    )
    assert done.returncode == 1 and done.stdout == "cleaned up\n"
    assert "TrainingStoppedError" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_script_and_its_end_is_passed_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = """
        import time
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        begun = time.monotonic()
        while True:
            train(model, optimizer, 1)
            time.sleep(0.1)
            if time.monotonic() - begun > 3:
                print("trained", flush=True)
    """
    (tmp_path / "train.py").write_text(PRELUDE + textwrap.dedent(script))
    command = [sys.executable, "-m", "houndsight", "watch", "--out", "run", *FEW, "--"]
    process = subprocess.Popen(
        [*command, sys.executable, "train.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"trained\n"
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    # Python ends by the signal itself after an uncaught KeyboardInterrupt.
    assert process.returncode == -number, (out, error)
    run = Run.open(tmp_path / "run")
    assert run.status == RunStatus.STOPPED and number.name in run.reason


@pytest.mark.slow
def test_an_order_that_makes_no_sense_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch; print(1)")
    from houndsight.debugger.watch.launch import SITE

    for value in ("{", '{"folder": "/nowhere"}', '{"colour": 1}'):
        done = subprocess.run(
            [sys.executable, "train.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SITE), "HOUNDSIGHT_WATCH": value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "1\n" and done.stderr == ""


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", kind="job", config={})
    done = watch(tmp_path, "", *FEW)
    assert done.returncode == 1 and "holds a run already" in done.stderr


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = watch(tmp_path, "", prefix=("no-such-command",))
    assert done.returncode == 2 and "no-such-command cannot be started" in done.stderr


@pytest.mark.slow
def test_ranks_write_logs_of_one_run(tmp_path: Path) -> None:
    done = watch(
        tmp_path,
        """
        import torch.distributed as dist
        dist.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(net())
        train(model, torch.optim.SGD(model.parameters(), 0.1), 8)
        dist.destroy_process_group()
        """,
        *FEW,
        prefix=(
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
        ),
    )
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        assert len(log(tmp_path / "run" / "tensors" / f"rank-{rank}").scalar("loss")) == 8
    assert not (tmp_path / "run" / "watched").exists()


@pytest.mark.slow
def test_a_compiled_model_is_watched_without_a_warning(tmp_path: Path) -> None:
    done = watch(
        tmp_path,
        """
        import warnings
        warnings.simplefilter("error", UserWarning)
        inner = net()
        optimizer = torch.optim.SGD(inner.parameters(), 0.1)
        model = torch.compile(inner, backend="eager")
        train(model, optimizer, 10)
        print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        """,
        *FEW,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n"
    told = [n["model"] for n in notes(tmp_path / "run") if n["kind"] == "attached"]
    assert told == ["Sequential"] and log(tmp_path / "run").structure.compiled


def test_it_costs_the_script_little_before_it_trains(tmp_path: Path) -> None:
    """What every Python of the script passes through imports nothing heavy."""
    from houndsight.debugger.watch.launch import SITE

    heavy = ("torch", "numpy", "pyarrow", "pandas", "rich", "typer")
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; print([m for m in {heavy} if m in sys.modules])"],
        env={**os.environ, "PYTHONPATH": str(SITE), "HOUNDSIGHT_WATCH": "{}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n" and time.monotonic() - begun < 30


def test_a_script_alone_is_run_by_this_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert command_line(["train.py", "--lr", "1"]) == [sys.executable, "train.py", "--lr", "1"]
    assert command_line(["torchrun", "train.py"]) == ["torchrun", "train.py"]
    # A python of another environment, which has no Houndsight.
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_line(["python", "train.py"]) == [sys.executable, "train.py"]
    with pytest.raises(SettingError, match="Name the script"):
        command_line([])
