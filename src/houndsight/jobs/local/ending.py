"""Why a supervisor ends a job before its scripts do: decided once, written down before it acts."""

from __future__ import annotations

import enum
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from houndsight.files import write_atomic
from houndsight.jobs.layout import JobFolder
from houndsight.wording import size

__all__ = ["Ending", "Why", "disk_is_filled_by", "free_bytes", "read_ending"]

HOST_FAILED_SECONDS = 30.0
"""When one host has failed, how long the others may take to notice."""


class Why(enum.StrEnum):
    """What ends a job."""

    STOP = "stop"
    MAX_RUNTIME = "max-runtime"
    DISK = "disk"
    LOG = "log"
    HOST_FAILED = "host-failed"


@dataclass(frozen=True)
class Ending:
    """The decision; `time` in epoch seconds, `text` for the FailureReason."""

    why: Why
    time: float
    text: str = ""

    @classmethod
    def decide(cls, folder: JobFolder, why: Why, text: str = "") -> Ending:
        """Decide and write it down: a supervisor that takes over goes on with the same clock."""
        ending = cls(why, time.time(), text)
        write_atomic(_path(folder), json.dumps({"format": 1, **asdict(ending)}).encode())
        return ending

    def patience_s(self, stop_s: float) -> float:
        """How long after SIGTERM the scripts are killed."""
        return min(stop_s, HOST_FAILED_SECONDS) if self.why == Why.HOST_FAILED else stop_s


def read_ending(folder: JobFolder) -> Ending | None:
    """The decision, if one was made."""
    try:
        row = json.loads(_path(folder).read_bytes())
    except FileNotFoundError:
        return None
    return Ending(Why(row["why"]), row["time"], row["text"])


def free_bytes(path: Path) -> int:
    """What is left of the disk."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def disk_is_filled_by(folder: JobFolder, reserve_bytes: int) -> str:
    """The sentence for a job whose files have taken the disk's last bytes; "" if none has."""
    free = free_bytes(folder.path)
    if free >= reserve_bytes:
        return ""
    used = _used_bytes(folder.path / "hosts")
    if used < max(reserve_bytes, 1 << 20):
        return ""
    disk = os.statvfs(folder.path)
    return (
        f"The disk is full: {size(free)} of {size(disk.f_blocks * disk.f_frsize)} are left, and"
        f" this job's files take {size(used)}. It was stopped before it harmed others. Make room,"
        " or have the script write less (old checkpoints, unpacked data)."
    )


def _path(folder: JobFolder) -> Path:
    return folder.path / "ending.json"


def _used_bytes(root: Path) -> int:
    """What a folder takes on its own disk; links are not followed."""
    total, device = 0, root.stat().st_dev
    waiting = [root]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_dev == device:
                total += status.st_blocks * 512 // max(1, status.st_nlink)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
    return total
