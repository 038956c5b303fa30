"""Follows one host's growing log: when its bytes were there, metrics, and what is kept of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from houndsight.jobs.layout import HostFolder
from houndsight.jobs.local.logs import HEAD_BYTES, LINE_BYTES, TimeIndex, left_out_until, shorten
from houndsight.jobs.local.metrics import Line, MetricReader

__all__ = ["LogFollower", "note_growth"]

CHUNK_BYTES = 4 << 20
"""Most that is looked through at once, so that limits are kept while a script prints a gigabyte."""
SLACK_BYTES = 32 << 20
"""How much a log may outgrow its limit until it is shortened again."""


def note_growth(host: HostFolder) -> None:
    """Give a time to what was added to the log after its last follower had ended."""
    index = TimeIndex(host.log_times)
    with contextlib.suppress(OSError):
        end = host.log.stat().st_size
        if end > index.last_end():
            index.add(end, int(time.time() * 1000))


class LogFollower:
    """One host's log; only the supervisor has one."""

    def __init__(self, host: HostFolder, metrics: MetricReader, *, keep_bytes: int) -> None:
        self.host = host
        self._metrics, self._keep_bytes = metrics, keep_bytes
        self._index = TimeIndex(host.log_times)
        self._seen = self._index.last_end()
        self._offset = metrics.known_until(host.name)
        self._shortened_at = 0
        self.cannot_shorten = False

    def follow(self, *, to_the_end: bool = False) -> bool:
        """Take in what is new, all of it with `to_the_end`; whether there was anything new."""
        try:
            end = self.host.log.stat().st_size
        except FileNotFoundError:
            return False
        grew = end > self._seen
        if grew:
            self._index.add(end, int(time.time() * 1000))
            self._seen = end
            self._shorten(end)
        if self._metrics.wanted:
            while self._scan(end, last=to_the_end) and to_the_end:
                pass
        return grew or self._offset < end - CHUNK_BYTES

    @property
    def size_bytes(self) -> int:
        """How far the log has grown, with what was not kept of it."""
        return self._seen

    def tail(self, size_bytes: int = 16_384) -> str:
        """The last of the log."""
        try:
            with self.host.log.open("rb") as file:
                file.seek(max(0, self._seen - size_bytes))
                return file.read(2 * size_bytes).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _shorten(self, end: int) -> None:
        limit = HEAD_BYTES + self._keep_bytes + SLACK_BYTES
        if end > limit and end - self._shortened_at > SLACK_BYTES and not self.cannot_shorten:
            self._shortened_at = end
            self.cannot_shorten = not shorten(self.host.log, self._keep_bytes)

    def _scan(self, end: int, *, last: bool) -> bool:
        """Look through the next chunk; whether there is more."""
        with self.host.log.open("rb") as file:
            self._offset = left_out_until(file.fileno(), self._offset, end)
            data = os.pread(file.fileno(), min(CHUNK_BYTES, end - self._offset), self._offset)
        is_last = last and self._offset + len(data) >= end
        whole = len(data) if is_last else data.rfind(b"\n") + 1
        if not whole and len(data) >= LINE_BYTES:
            whole = len(data)
        if not whole:
            return False
        text = data[:whole]
        if self._metrics.may_hold(text.decode(errors="replace")):
            self._metrics.read(self.host.name, self._lines(text), self._time_at)
        self._offset += whole
        return self._offset < end

    def _time_at(self, offset: int) -> float:
        now = int(time.time() * 1000)
        return self._index.times([offset], now)[0] / 1000

    def _lines(self, text: bytes) -> Iterator[Line]:
        position = 0
        for raw in text.split(b"\n"):
            if raw:
                yield Line(self._offset + position, raw.decode(errors="replace"))
            position += len(raw) + 1
