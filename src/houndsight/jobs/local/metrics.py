"""Metrics read from a live log by the job's regular expressions.

The first group of a regular expression, anywhere on a line, is a value; the last value is the
metric's. The expressions are the client's: one that takes longer than two seconds over a few lines
is not followed further (Python's matcher lets signals in), and that is said.
"""

from __future__ import annotations

import functools
import json
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from houndsight.files import read_json_lines
from houndsight.jobs.spec import MetricDefinition

__all__ = ["Line", "MetricReader", "read_metrics"]

SCANNED_CHARACTERS = 16_384
"""Of a longer line only this much is looked through."""
LINES_AT_ONCE = 256
PATIENCE_S = 2.0
"""How long one expression may take over that many lines."""


_BEYOND_LINES = re.compile(r"\\[AZ]|\(\?(?!:|P)")
"""What may hold on a line but not in a text of several lines, or the other way round."""


@dataclass(frozen=True)
class Line:
    """A line of a host's log, and where it begins."""

    offset: int
    text: str


class MetricReader:
    """Finds metrics in lines and appends them to `metrics.jsonl`; knows which it has already.

    Args:
        say: told once of an expression that is wrong or takes too long.
    """

    def __init__(
        self, path: Path, definitions: Sequence[MetricDefinition], say: Callable[[str], None]
    ) -> None:
        self._path, self._say = path, say
        self._patterns: dict[int, tuple[str, re.Pattern[str]]] = {}
        for number, definition in enumerate(definitions):
            try:
                self._patterns[number] = (definition.name, re.compile(definition.regex))
            except (re.error, RecursionError, OverflowError) as error:
                say(f"Metric {definition.name}: {definition.regex!r} cannot be read: {error}.")
        self.last: dict[str, tuple[float, float]] = {}
        """The last value of each metric, and its time."""
        self._known: dict[str, int] = {}
        self._on_last_line: set[tuple[Any, ...]] = set()
        self._remember(read_json_lines(path))

    @property
    def wanted(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._patterns)

    def known_until(self, host: str) -> int:
        """Where the last line that held a value begins; lines before it need no second look."""
        return self._known.get(host, 0)

    def may_hold(self, text: str) -> bool:
        """Whether it is worth the time to look at each line of `text`."""
        for _, pattern in self._patterns.values():
            try:
                with _patience(PATIENCE_S):
                    if _BEYOND_LINES.search(pattern.pattern) or _over_lines(pattern).search(text):
                        return True
            except TimeoutError:
                return True
        return False

    def read(self, host: str, lines: Iterable[Line], time_at: Callable[[int], float]) -> int:
        """Write down the values that these lines hold; how many there were.

        Args:
            time_at: when the byte at an offset was there, in epoch seconds.
        """
        count, waiting = 0, iter(lines)
        while some := list(islice(waiting, LINES_AT_ONCE)):
            rows = [row for row in self._rows(host, some) if _key(row) not in self._on_last_line]
            rows = [{**row, "time": time_at(row["offset"])} for row in rows]
            if rows:
                _append(self._path, rows)
                self._remember(rows)
            count += len(rows)
        return count

    def _rows(self, host: str, lines: Sequence[Line]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for number, (name, pattern) in list(self._patterns.items()):
            try:
                with _patience(PATIENCE_S):
                    for line in lines:
                        for column, value in _values(pattern, line.text[:SCANNED_CHARACTERS]):
                            row = {"name": name, "value": value, "host": host}
                            rows.append({**row, "offset": line.offset, "column": column})
            except TimeoutError:
                del self._patterns[number]
                self._say(
                    f"Metric {name}: {pattern.pattern!r} took longer than {PATIENCE_S:.0f} s over a"
                    " few lines and is not followed further. Avoid repeats within repeats in it."
                )
        return sorted(rows, key=lambda row: (row["offset"], row["column"]))

    def _remember(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            self.last[row["name"]] = (float(row["value"]), row["time"])
            if row["offset"] > self._known.get(row["host"], -1):
                self._known[row["host"]] = row["offset"]
                self._on_last_line = {k for k in self._on_last_line if k[0] != row["host"]}
            self._on_last_line.add(_key(row))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; every value is a number again."""
    return [{**row, "value": float(row["value"])} for row in read_json_lines(path)]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["host"], row["offset"], row["name"], row["column"])


@functools.cache
def _over_lines(pattern: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(pattern.pattern, re.MULTILINE)


def _values(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, float | str]]:
    for match in pattern.finditer(text):
        value = _number(match[1] if pattern.groups else match[0])
        if value is not None:
            yield match.start(), value


def _number(said: str | None) -> float | str | None:
    """What a person reads as a number, `0.31.` at the end of a sentence too.

    One that is not finite stays a word, since JSON has none such; `float` reads the words again.
    """
    try:
        value = float((said or "").strip().rstrip(".,;%"))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else str(value)


def _append(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Append rows in one write; a line that a killed writer tore is ended first."""
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    with path.open("ab+") as file:
        if file.seek(0, 2):
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                content = b"\n" + content
        file.write(content)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block when it takes longer; only the main thread can do this."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
