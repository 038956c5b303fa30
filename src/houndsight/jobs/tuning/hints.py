"""What is probably wrong with a regular expression that found no metric in a log.

    python -I -S hints.py        {"regex": …, "lines": […]} on stdin, a sentence on stdout; JSON

The expression is the client's and may take for ever, and a matcher at work lets no other thread of
its process do anything. So it is tried in a process of its own, which ends when its time is over.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["LONGEST_LINE", "hint"]

LONGEST_LINE = 120
SCANNED_CHARACTERS = 16_384
"""Of a longer line only this much is looked through."""
PATIENCE_S = 2.0


def hint(regex: str, lines: Sequence[str]) -> str:
    """One sentence; "" where nothing is to be seen."""
    asked = json.dumps({"regex": regex, "lines": [line[:SCANNED_CHARACTERS] for line in lines]})
    command = [sys.executable, "-I", "-S", __file__]
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return "It takes too long over these lines: avoid repeats within repeats in it."
    except OSError:  # a hint is not worth a failure of its own
        return ""
    return str(json.loads(done.stdout)) if done.returncode == 0 else ""


def _hint(regex: str, lines: Sequence[str]) -> str:
    pattern = re.compile(regex)
    if pattern.groups == 0:
        return "It has no group: put the number's part in parentheses."
    for line in reversed(lines):
        found = pattern.search(line)
        if found is not None:
            return f"It matches, but its group is {found[1]!r}, which is no finite number."
    loose = re.compile(re.sub(r"(?<!\\) +", r"\\s*", regex), re.IGNORECASE)
    for line in reversed(lines):
        if loose.search(line):
            return f"But for case or spaces it would match: {line.strip()[:LONGEST_LINE]!r}."
    return ""


if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps(_hint(told["regex"], told["lines"])))
