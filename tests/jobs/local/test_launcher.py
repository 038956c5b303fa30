"""Scripts that are forked behave as scripts that Python was started for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_platform import make_engine, make_service, make_spec, printed, wait_ended, wait_until

from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.engine import LocalEngine
from houndsight.jobs.local.launcher import needs_fresh_start
from houndsight.jobs.local.launching import launcher_identity
from houndsight.jobs.local.processes import is_alive
from houndsight.jobs.service import JobService

FORKED = {"fork": "yes"}
FACTS = """
import json, multiprocessing, os, random, sys, threading
print(json.dumps({
    "argv": sys.argv, "name": __name__, "file": os.path.basename(__file__), "path": sys.path[0],
    "main": sys.modules["__main__"].__dict__ is globals(), "cwd": os.getcwd(),
    "path_1": sys.path[1], "stdin": sys.stdin.read(), "threads": threading.active_count(),
    "environment": sorted(os.environ), "group": os.getpgid(0) == os.getpid(),
    "modules": "torch" in sys.modules and "torchvision" in sys.modules,
    "number": random.random(), "encoding": sys.stdout.encoding, "unbuffered": True,
    "launcher": [name for name in dir() if not name.startswith("__")],
}))
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobService]:
    """One launcher for all these tests: it imports PyTorch."""
    service = make_service(tmp_path_factory.mktemp("platform"), launcher=True)
    service.start()
    # However long a busy machine takes to import it, the next script is forked.
    run(service, "first", "print('ran')")
    yield service
    service.close()


def run(service: JobService, name: str, script: str, **changes: object) -> list[str]:
    hyperparameters = changes.pop("hyperparameters", FORKED)
    spec = make_spec(name, script, hyperparameters=hyperparameters, **changes)
    service.create_training_job(spec, {})
    wait_ended(service, name)
    return printed(service, name)


def was_forked(service: JobService, name: str) -> bool:
    return "starts afresh" not in service.home.training_job(name).messages.read_text()


def test_a_forked_script_is_what_python_would_have_made_of_it(service: JobService) -> None:
    environment = {"PYTHONPATH": "/somewhere", "MINE": "1"}
    forked = run(service, "forked", FACTS, environment=environment)
    fresh = run(service, "fresh", FACTS, environment=environment, hyperparameters={},
                entrypoint=(sys.executable, "script.py", "--lr", "0.1"))  # fmt: skip
    assert was_forked(service, "forked")
    assert not was_forked(service, "fresh")
    one, other = json.loads(forked[-1]), json.loads(fresh[-1])
    assert one.pop("modules") and not other.pop("modules")
    assert one.pop("number") != other.pop("number")
    for facts, name in ((one, "forked"), (other, "fresh")):
        place = str(service.home.training_job(name).host("algo-1").path)
        assert facts.pop("cwd") == facts.pop("path") == place
        # Python sets it itself where there is no locale.
        facts["environment"] = [v for v in facts["environment"] if v != "LC_CTYPE"]
    assert one == other


def test_traceback_exit_codes_and_destructors_are_pythons(service: JobService) -> None:
    script = (
        "import atexit\n"
        "class Late:\n    def __del__(self): print('destroyed')\n"
        "late = Late()\n"
        "atexit.register(print, 'atexit')\n"
        "file = open('unclosed', 'w'); file.write('kept')\n"
        "def fail(): raise ValueError('no')\n"
        "fail()\n"
    )
    lines = run(service, "failing", script)
    place = service.home.training_job("failing").host("algo-1").path
    begin = lines.index("Traceback (most recent call last):")
    assert lines[begin + 1] == f'  File "{place}/script.py", line 8, in <module>'
    assert lines[-3:] == ["ValueError: no", "atexit", "destroyed"]
    assert (place / "unclosed").read_text() == "kept"
    assert service.training_status("failing").exit_code == 1
    for name, end, code in (("text", "'bye'", 1), ("large", "258", 2), ("none", "", 0)):
        said = run(service, name, f"import sys\nsys.exit({end})")
        assert service.training_status(name).exit_code == code
        assert ("bye" in said) == (name == "text")
    run(service, "syntax", "def\n")
    assert printed(service, "syntax")[-1].startswith("SyntaxError")
    run(service, "signal", "import os; os.kill(os.getpid(), 11)")
    assert service.training_status("signal").exit_code == 139


def test_operators_threads_and_workers_work_in_a_forked_child(service: JobService) -> None:
    script = (
        "import torch, torchvision\n"
        "model = torchvision.models.resnet18()\n"
        "model(torch.randn(2, 3, 64, 64)).sum().backward()\n"
        "data = torch.utils.data.TensorDataset(torch.arange(6.0))\n"
        "loader = torch.utils.data.DataLoader(data, num_workers=2)\n"
        "print(sum(float(x) for (x,) in loader), torch.get_num_threads())\n"
    )
    assert run(service, "training", script)[-1] == "15.0 2"
    assert was_forked(service, "training")


def test_what_python_reads_when_it_starts_needs_a_fresh_start(service: JobService) -> None:
    lines = run(service, "seeded", "import sys; print(sys.flags.hash_randomization)",
                environment={"PYTHONHASHSEED": "0"},
                entrypoint=(sys.executable, "script.py"))  # fmt: skip
    assert lines[-1] == "0"
    said = service.home.training_job("seeded").messages.read_text()
    assert "PYTHONHASHSEED is read when Python starts" in said


@pytest.mark.parametrize(
    ("name", "value", "fresh"),
    [("PYTHONPATH", "x", False), ("OMP_NUM_THREADS", "1", False), ("MY_VARIABLE", "x", False),
     ("TORCH_HOME", "x", False), ("LD_PRELOAD", "x", True), ("PYTHONOPTIMIZE", "1", True)],
)  # fmt: skip
def test_which_variables_need_a_fresh_start(name: str, value: str, fresh: bool) -> None:
    assert needs_fresh_start({name: value}) == (name if fresh else "")


def test_a_second_launcher_leaves_at_once(service: JobService) -> None:
    run(service, "warm", "print('ran')")
    first = launcher_identity(service.home)
    second = subprocess.run(
        [sys.executable, "-m", "houndsight.jobs.local.launcher", str(service.home.root), "60"],
        timeout=60,
        check=False,
    )
    assert second.returncode == 0
    assert launcher_identity(service.home) == first
    assert is_alive(first)


def test_scripts_outlive_the_launcher_and_jobs_do_without_it(service: JobService) -> None:
    marker = service.home.root / "go"
    script = (
        "import os, time\nprint('begun', flush=True)\n"
        f"while not os.path.exists({str(marker)!r}): time.sleep(0.05)\nprint('done')\n"
    )
    service.create_training_job(make_spec("waits", script, hyperparameters=FORKED), {})
    wait_until(lambda: "begun" in printed(service, "waits"))
    launcher = launcher_identity(service.home)
    assert launcher is not None
    os.kill(launcher["pid"], 9)
    wait_until(lambda: not is_alive(launcher))
    marker.touch()
    assert wait_ended(service, "waits").state == "Completed"
    assert printed(service, "waits")[-2:] == ["begun", "done"]


def test_an_idle_launcher_ends(tmp_path: Path) -> None:
    engine: LocalEngine = make_engine(PlatformHome(tmp_path), launcher=True, launcher_minutes=0.01)
    engine.warm()
    wait_until(lambda: not is_alive(launcher_identity(engine.home)))
    engine.close()


def test_the_next_job_gets_the_spare_supervisor(service: JobService) -> None:
    assert isinstance(service.engine, LocalEngine)
    run(service, "before", "print('ran')")
    keeper = service.engine._keeper
    spare = wait_until(lambda: keeper._spare)
    assert run(service, "after", "print('ran')")[-1] == "ran"
    folder = service.home.training_job("after")
    assert json.loads(folder.supervisor.read_bytes())["pid"] == spare.pid
    assert folder.messages.read_text()
    unused = wait_until(lambda: keeper._spare)
    keeper.close()
    assert unused.returncode == 0
