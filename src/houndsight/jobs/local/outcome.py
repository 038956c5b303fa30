"""How a job ended, told from how its hosts did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from houndsight.jobs.layout import JobFolder
from houndsight.jobs.local.ending import Ending, Why, read_ending
from houndsight.jobs.local.hosts import HostExit
from houndsight.jobs.local.launching import read_launch
from houndsight.jobs.local.processes import boot_id
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import JobState

__all__ = ["Outcome", "outcome_of"]

MEMORY_RAN_OUT = (
    "The machine's memory ran out, and the system killed the script. Use a smaller batch size or"
    " smaller images, fewer data-loading workers, or run fewer jobs at once."
)
DISK_RAN_OUT = (
    "The disk is full. Make room, or have the script write less (old checkpoints, unpacked data)."
)
SIGNS_OF_FULL_DISK = ("No space left on device", "Disk quota exceeded", "[Errno 28]")
NEARLY_FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """A final state, why it is not the best one, and the script's exit code."""

    state: JobState
    reason: str
    exit_code: int | None


def outcome_of(spec: TrainingSpec, folder: JobFolder, exits: Mapping[str, HostExit]) -> Outcome:
    """The job's end; where it was a failure, it is told in the log, too."""
    ending = read_ending(folder)
    failed = {name: end for name, end in exits.items() if end.status != 0}
    failed = _first_to_fail(failed, ending)
    code = next(iter(failed.values())).shell_code if failed else 0
    if ending is not None and ending.why in (Why.DISK, Why.LOG):
        return Outcome(JobState.FAILED, ending.text, code)
    if ending is not None and ending.why != Why.HOST_FAILED:
        stopped = ending.why == Why.STOP
        return Outcome(JobState.STOPPED if stopped else JobState.MAX_RUNTIME_EXCEEDED, "", code)
    if not failed:
        return Outcome(JobState.COMPLETED, "", code)
    lost = [name for name, end in failed.items() if end.lost]
    if lost:
        return Outcome(JobState.FAILED, _why_lost(folder, lost[0]), code)
    return Outcome(JobState.FAILED, _reason(spec, folder, failed), code)


def _first_to_fail(failed: Mapping[str, HostExit], ending: Ending | None) -> dict[str, HostExit]:
    """Without the hosts that were ended because another had failed."""
    before = {n: e for n, e in failed.items() if ending is None or e.ended <= ending.time}
    return before or dict(failed)


def _why_lost(folder: JobFolder, host: str) -> str:
    launch = read_launch(folder)
    if launch is not None and launch["boot_id"] != boot_id():
        return (
            "InternalServerError: the machine was restarted while the script ran. Start the job"
            " again; with CheckpointConfig it can go on from its last checkpoint."
        )
    return (
        f"InternalServerError: the process that waited for the script on {host} was killed, and the"
        " script with it. Start the job again."
    )


def _reason(spec: TrainingSpec, folder: JobFolder, failed: Mapping[str, HostExit]) -> str:
    from houndsight.jobs.container.finish import failure_reason

    codes = dict.fromkeys(spec.hosts, 0) | {name: end.status for name, end in failed.items()}
    return failure_reason(spec, folder, codes, note=_note(folder, failed))


def _note(folder: JobFolder, failed: Mapping[str, HostExit]) -> str:
    """What the machine knows of it and the log may not say."""
    for name, end in failed.items():
        if end.oom_kills:
            return MEMORY_RAN_OUT
        if _disk_was_full(folder, name):
            return DISK_RAN_OUT
    return ""


def _disk_was_full(folder: JobFolder, host: str) -> bool:
    log = folder.host(host).log
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            tail = file.read().decode(errors="replace")
    except OSError:
        return False
    return any(sign in tail for sign in SIGNS_OF_FULL_DISK)
