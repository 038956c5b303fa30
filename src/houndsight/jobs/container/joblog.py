"""Lines that the platform itself adds to a host's log, in the manner of SageMaker's toolkit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from houndsight.jobs.container.environment import training_environment
from houndsight.jobs.container.host import Host
from houndsight.jobs.layout import HostFolder

__all__ = ["preamble", "say"]

_SECRET = ("SECRET", "TOKEN", "PASSWORD", "AWS_ACCESS_KEY")


def say(folder: HostFolder, text: str, *, level: str = "INFO") -> None:
    """Append a line to the host's log."""
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.log.open("ab") as log:
        log.write(f"{_head(level)} {text}\n".encode("utf-8", "backslashreplace"))


def preamble(host: Host, program: str, environment: Mapping[str, str], command: str) -> Path:
    """Write what a log begins with: "Training Env:" and the command; returns the file."""
    variables = {k: v for k, v in sorted(environment.items()) if _is_shown(k)}
    text = "\n".join(
        [
            f"{_head('INFO')} Invoking user script",
            "\nTraining Env:\n",
            json.dumps(training_environment(host, program), indent=4),
            "\nEnvironment variables:\n",
            *(f"{name}={value}" for name, value in variables.items()),
            "\nInvoking script with the following command:\n",
            command,
            "\n\n",
        ]
    )
    path = host.folder.path / "preamble"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def _head(level: str) -> str:
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    return f"{stamp},{int(now * 1000) % 1000:03d} sagemaker-training-toolkit {level:<8}"


def _is_shown(name: str) -> bool:
    ours = name.startswith(("SM_", "PYTHONPATH", "MASTER_", "TRAINING_JOB_"))
    return ours and not any(word in name.upper() for word in _SECRET)
