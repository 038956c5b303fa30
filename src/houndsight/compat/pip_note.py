"""One line for whoever installs smdebug where Houndsight's stands in for it.

Every Python that starts with `compat/path` on its path imports this: it needs nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import PurePath

__all__ = ["note", "say"]

SMDEBUG = re.compile(r"smdebug(?:\s*(?:[<>=!~\[;].*)?)?$", re.IGNORECASE)
NOTE = (
    "houndsight: smdebug is Houndsight's own here (it stands in for 1.0.34); pip has nothing to "
    "install for it."
)


def note(arguments: Sequence[str]) -> str:
    """What to say of a Python started with these arguments; empty for all but pip and smdebug."""
    if "install" not in arguments:
        return ""
    before = arguments[: arguments.index("install")]
    pip = any(re.fullmatch(r"pip[\d.]*(\.exe)?", PurePath(word).name) for word in before)
    wanted = arguments[arguments.index("install") + 1 :]
    return NOTE if pip and any(SMDEBUG.fullmatch(word.strip()) for word in wanted) else ""


def say(arguments: Sequence[str] | None = None) -> None:
    """Say it, on stderr, where there is something to say."""
    line = note(list(sys.orig_argv if arguments is None else arguments))
    if line:
        print(line, file=sys.stderr)
