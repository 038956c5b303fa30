"""Why a script failed, read from its log: the form is SageMaker's, the sentence a person's."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from houndsight.jobs.container.hints import Failed, hint_for
from houndsight.jobs.container.removed_names import replacement_for
from houndsight.jobs.layout import HostFolder, JobFolder
from houndsight.jobs.spec import TrainingSpec

__all__ = ["MAX_CHARACTERS", "failure_reason", "last_error"]

MAX_CHARACTERS = 1_024
"""What SageMaker keeps of a FailureReason."""
TAIL_BYTES = 256_000
MAX_ERROR_CHARACTERS = 600

_ERROR = re.compile(
    r"^(?:\[[\w:,-]*\]:? ?)?"  # the rank that torchrun puts before a line
    r"((?:[A-Za-z_][\w.]*\.)?[A-Za-z_]\w*"
    r"(?:Error|Exception|Interrupt|Exit|Failure|Empty|Timeout|Iteration))(?::\s|$)"
)
_USAGE = re.compile(r"^[\w./ -]+: error: ")
_SHELL = re.compile(r"^(?:/bin/)?(?:ba|da)?sh: (?:line )?\d+: |^python[\d.]*: can't open file")
_WRAPPERS = ("torch.distributed.elastic", "ChildFailedError", "subprocess.CalledProcessError")
_DRIVERS = re.compile(r"sm_drivers/common/utils\.py|^\s*Training Execution failed\. For more")
"""What SDK 3's drivers write when a script fails: their own traceback, or nothing but that."""
_OURS = " sagemaker-training-toolkit "


def failure_reason(
    spec: TrainingSpec, folder: JobFolder, exit_codes: Mapping[str, int], *, note: str = ""
) -> str:
    """At most 1,024 characters; see `finish.failure_reason`."""
    hosts = [name for name in spec.hosts if exit_codes.get(name, 0) != 0] or list(spec.hosts[:1])
    host = folder.host(hosts[0])
    written = _written(host)
    if written and not _DRIVERS.search(written):
        return _cut(f"AlgorithmError: {written}, exit code: {_shell_code(exit_codes, host)}")
    code = exit_codes.get(host.name, 1)
    error = last_error(_tail(host.log))
    message = error or _signal_text(code) or _last_line(_tail(host.log))
    parts = [message, *filter(None, (_signal_extra(code, error), note))]
    failed = Failed(message, _tail(host.log), spec, _no_private_folder(host))
    advice = "" if note else replacement_for(message) or hint_for(failed)
    return _form(_shell_code(exit_codes, host), "\n".join(parts), advice, _command(host))


def last_error(log: str) -> str:
    """The last exception of a log, with what followed its first line; "" if there is none."""
    lines = [line for line in log.splitlines() if _OURS not in line]
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if any(wrapper in line for wrapper in _WRAPPERS) or "Traceback (most recent" in line:
            continue
        if _ERROR.match(line) or _USAGE.match(line) or _SHELL.match(line):
            return _whole(lines, number)
    return ""


def _last_line(log: str) -> str:
    """What `sys.exit("no photos")` prints, say."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and _OURS not in line]
    said = log.partition("Invoking script with the following command:")[2].strip().splitlines()[1:]
    return lines[-1][:MAX_ERROR_CHARACTERS] if lines and any(said) else "the script wrote no error"


def _whole(lines: list[str], number: int) -> str:
    """An exception's line and the indented ones after it, such as each size that mismatches."""
    message = [lines[number]]
    for line in lines[number + 1 : number + 8]:
        if not line.strip() or not line[0].isspace():
            break
        message.append(line)
    return "\n".join(message)[:MAX_ERROR_CHARACTERS]


def _form(code: int, message: str, advice: str, command: str) -> str:
    text = message.replace('"', "'").strip()
    if advice:
        text = f"{text[: MAX_ERROR_CHARACTERS - 100]}\n{advice}"
    head = f'AlgorithmError: ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{text}"'
    tail = f'\nCommand "{command}", exit code: {code}'
    if len(head) + len(tail) > MAX_CHARACTERS:
        room = max(40, MAX_CHARACTERS - len(head) - len(f'\nCommand "…", exit code: {code}'))
        tail = f'\nCommand "{command[:room]}…", exit code: {code}'
    return _cut(head + tail)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _written(host: HostFolder) -> str:
    """What the script itself has written to `output/failure`."""
    try:
        text = (host.ml / "output" / "failure").read_bytes()[: 4 * MAX_CHARACTERS]
    except OSError:
        return ""
    return text.decode("utf-8", "replace").strip()[: MAX_CHARACTERS - 60]


def _shell_code(exit_codes: Mapping[str, int], host: HostFolder) -> int:
    code = exit_codes.get(host.name, 1)
    return 128 - code if code < 0 else code


def _signal_text(code: int) -> str:
    number = -code if code < 0 else code - 128
    if not 0 < number < 65:
        return ""
    try:
        return f"the script was ended by {signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"the script was ended by signal {number}"


def _signal_extra(code: int, error: str) -> str:
    """Said also beside an error of the log, which a killed process need not have caused."""
    return _signal_text(code) if error and code in (-9, 137, -11, 139, -7, 135, -6, 134) else ""


def _command(host: HostFolder) -> str:
    try:
        text = (host.path / "preamble").read_text(errors="replace")
    except OSError:
        return ""
    command = text.partition("Invoking script with the following command:")[2].strip()
    return command.replace('"', "'")


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    # What was printed over itself, such as a progress bar, and colours.
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", re.sub(r"[^\n]*\r(?!\n)", "", text))


def _no_private_folder(host: HostFolder) -> str:
    """Why this host has no /opt/ml of its own; "" when it has one."""
    try:
        plan = json.loads((host.path / "plan.json").read_bytes())
    except (OSError, ValueError):
        return ""
    return "" if plan.get("namespace") else str(plan.get("why") or "the system does not allow it")
