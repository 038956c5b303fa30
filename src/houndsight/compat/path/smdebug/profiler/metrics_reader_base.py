"""What the readers of the profiler's files have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from ..core.logger import get_logger
from .metrics_files import MetricsFiles
from .utils import TimeUnits, convert_utc_timestamp_to_microseconds

__all__ = ["MetricsReaderBase"]


class MetricsReaderBase(ABC):
    """Events by time; `refresh_event_file_list` finds files that are new.

    Files that were read to their end and have not changed in length are kept.
    """

    def __init__(self, files: MetricsFiles, prefix: str) -> None:
        self.files, self.prefix = files, prefix
        self.logger = get_logger()
        self._names: list[str] = []
        self._parsed: dict[str, tuple[bytes, list[Any]]] = {}
        self.refresh_event_file_list()

    def refresh_event_file_list(self) -> None:
        """Look for files that are new."""
        self._names = [n for n in self.files.names(self.prefix) if self.time_of(n) is not None]

    def get_timestamp_of_first_available_file(self) -> int:
        """Microseconds since the epoch of the first file; 0 without any."""
        return min((self.time_of(name) or 0 for name in self._names), default=0)

    def get_timestamp_of_latest_available_file(self) -> int:
        """Microseconds since the epoch of the last file; 0 without any."""
        return max((self.time_of(name) or 0 for name in self._names), default=0)

    def get_events(
        self,
        start_time: float,
        end_time: float,
        unit: TimeUnits = TimeUnits.MICROSECONDS,
        event_type: str | None = None,
        file_suffix_filter: list[str] | None = None,
    ) -> list[Any]:
        """The events between two times since the epoch, in order."""
        self.refresh_event_file_list()
        start = convert_utc_timestamp_to_microseconds(start_time, unit)
        # A file's name is its first minute, and a caller asks by the last file's name.
        margin = 60_000_000 if end_time == self.get_timestamp_of_latest_available_file() else 0
        end = convert_utc_timestamp_to_microseconds(end_time, unit) + margin
        found = []
        for name in self._names:
            if file_suffix_filter and not any(name.endswith(s) for s in file_suffix_filter):
                continue
            for event in self._events(name):
                fits = event_type is None or getattr(event, "type", event_type) == event_type
                if fits and start <= self.microseconds(event) <= end:
                    found.append(event)
        return sorted(found, key=self.microseconds)

    def _events(self, name: str) -> list[Any]:
        content = self.files.read(name)
        if name not in self._parsed or self._parsed[name][0] != content:
            self._parsed[name] = (content, list(self.parse(content)))
        return self._parsed[name][1]

    @abstractmethod
    def time_of(self, name: str) -> int | None:
        """Microseconds since the epoch by a file's name; None for another kind of file."""

    @abstractmethod
    def parse(self, content: bytes) -> Iterator[Any]:
        """The events in a file."""

    @abstractmethod
    def microseconds(self, event: Any) -> float:
        """When an event was, since the epoch."""
