"""A host's log: when its lines were written, a page of it, and what is kept of a long one.

The log is the script's own stdout and stderr, so nobody stands between the script and the disk.
`log.times` says when which byte was there, in rows of one width: a torn last row is overwritten,
and a line's time is found by halving. Of a log that grows too long the middle is given back to the
disk (`FALLOC_FL_PUNCH_HOLE`): offsets stay what they were, and readers say what is missing.
"""

from __future__ import annotations

import bisect
import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from houndsight.jobs.engine import LogLine, LogPage
from houndsight.jobs.layout import HostFolder
from houndsight.wording import size

__all__ = ["LINE_BYTES", "TimeIndex", "left_out_until", "read_page", "shorten"]

LINE_BYTES = 256_000
"""A longer line is told in parts (CloudWatch's own limit: 256 kB an event)."""
PAGE_BYTES = 8_000_000
ROW_BYTES = 30
HEAD_BYTES = 8 << 20
"""The beginning of a shortened log that is kept."""
BLOCK = 1 << 20
_KEEP_SIZE, _PUNCH_HOLE = 1, 2


class TimeIndex:
    """`log.times`: one writer, any number of readers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_ms = 0

    def add(self, end: int, time_ms: int) -> None:
        """All before byte `end` was there at `time_ms`; a clock that is put back stands still."""
        self._last_ms = time_ms = max(time_ms, self._last_ms or self._last_row()[1])
        with self._path.open("ab") as file:
            torn = file.tell() % ROW_BYTES
            if torn:
                file.truncate(file.tell() - torn)
            file.write(b"%015d %013d\n" % (end, time_ms))

    def last_end(self) -> int:
        """Up to where times are known."""
        return self._last_row()[0]

    def _last_row(self) -> tuple[int, int]:
        try:
            with self._path.open("rb") as file:
                rows = os.fstat(file.fileno()).st_size // ROW_BYTES
                return _row(file.fileno(), rows - 1) if rows else (0, 0)
        except FileNotFoundError:
            return (0, 0)

    def times(self, offsets: Sequence[int], otherwise: int) -> list[int]:
        """When the bytes at these offsets, in order, were there; `otherwise` where unknown."""
        if not offsets:
            return []
        try:
            with self._path.open("rb") as file:
                descriptor = file.fileno()
                rows = os.fstat(descriptor).st_size // ROW_BYTES
                first = _first_behind(descriptor, rows, offsets[0])
                last = _first_behind(descriptor, rows, offsets[-1])
                text = os.pread(descriptor, (last + 1 - first) * ROW_BYTES, first * ROW_BYTES)
        except FileNotFoundError:
            return [otherwise] * len(offsets)
        known = [line.split() for line in text.splitlines() if len(line) == ROW_BYTES - 1]
        ends = [int(end) for end, _ in known]
        places = [bisect.bisect_right(ends, offset) for offset in offsets]
        return [int(known[at][1]) if at < len(known) else otherwise for at in places]


def _first_behind(descriptor: int, rows: int, offset: int) -> int:
    """The first row whose end lies behind `offset`."""
    low, high = 0, rows
    while low < high:
        middle = (low + high) // 2
        if _row(descriptor, middle)[0] > offset:
            high = middle
        else:
            low = middle + 1
    return low


def _row(descriptor: int, number: int) -> tuple[int, int]:
    end, time_ms = os.pread(descriptor, ROW_BYTES, number * ROW_BYTES).split()
    return int(end), int(time_ms)


def read_page(host: HostFolder, offset: int, limit: int, *, ended: bool) -> LogPage:
    """At most `limit` lines from a byte offset on.

    Until it `ended`, only whole lines, and only those whose time is known for good: who reads on
    by the last time, as CloudWatch's clients do, must not meet a time that changes.
    """
    index = TimeIndex(host.log_times)
    known = index.last_end()
    try:
        with host.log.open("rb") as file:
            status = os.fstat(file.fileno())
            stop = status.st_size if ended else min(status.st_size, known)
            lines, end = _lines(file.fileno(), max(0, offset), limit, stop, ended=ended)
    except FileNotFoundError:
        return LogPage([], offset)
    times = index.times([at for at, _ in lines], int(status.st_mtime * 1000))
    return LogPage([LogLine(t, text, at) for t, (at, text) in zip(times, lines, strict=True)], end)


def _lines(
    descriptor: int, offset: int, limit: int, end: int, *, ended: bool
) -> tuple[list[tuple[int, str]], int]:
    found: list[tuple[int, str]] = []
    behind = left_out_until(descriptor, offset, end)
    if behind > offset:
        found.append((offset, f"[{size(behind - offset)} of the log were not kept]"))
        offset = behind
    stop_at = _hole_after(descriptor, offset, end)
    data = os.pread(descriptor, min(PAGE_BYTES, stop_at - offset), offset)
    whole = stop_at < end or ended
    position = 0
    while position < len(data) and len(found) < limit:
        newline = data.find(b"\n", position, position + LINE_BYTES)
        stop = newline if newline >= 0 else min(len(data), position + LINE_BYTES)
        unfinished = newline < 0 and stop - position < LINE_BYTES
        if unfinished and not (whole and offset + stop >= stop_at):
            break
        text = data[position:stop].decode(errors="replace").rstrip("\r")
        found.append((offset + position, text))
        position = stop + (newline >= 0)
    return found, offset + position


def left_out_until(descriptor: int, offset: int, end: int) -> int:
    """Where the log goes on at or behind `offset`: further, where its middle was given back."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        return end if error.errno == errno.ENXIO and offset < end else offset


def _hole_after(descriptor: int, offset: int, end: int) -> int:
    if offset >= end:
        return offset
    try:
        return min(end, os.lseek(descriptor, offset, os.SEEK_HOLE))
    except OSError:
        return end


def shorten(path: Path, keep_bytes: int) -> bool:
    """Give the middle of a long log back to the disk; False where the file system cannot."""
    end = path.stat().st_size
    start, stop = HEAD_BYTES, (end - keep_bytes) // BLOCK * BLOCK
    if stop <= start:
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb+") as file:
        result = libc.fallocate(
            file.fileno(),
            _KEEP_SIZE | _PUNCH_HOLE,
            ctypes.c_longlong(start),
            ctypes.c_longlong(stop - start),
        )
    return bool(result == 0)
