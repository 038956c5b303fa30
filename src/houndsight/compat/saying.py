"""One line in the log for each thing that Houndsight does in a script's place."""

from __future__ import annotations

import os
import sys

__all__ = ["FOLDER", "say_once"]

FOLDER = "HOUNDSIGHT_JOB_SAID"
"""Names a folder in which the processes of a job note what has been said."""

_said: set[str] = set()


def say_once(key: str, text: str) -> None:
    """Write `houndsight: text` to stderr, unless this job has said it already."""
    if key in _said:
        return
    _said.add(key)
    if _is_first(key):
        print(f"houndsight: {text}", file=sys.stderr, flush=True)


def _is_first(key: str) -> bool:
    folder = os.environ.get(FOLDER)
    if not folder:
        return True
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in key)
    try:
        descriptor = os.open(f"{folder}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    except OSError:
        return True
    os.close(descriptor)
    return True
