"""Reads the samples of the system."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .metrics_files import LocalMetricsFiles, MetricsFiles, S3MetricsFiles
from .metrics_reader_base import MetricsReaderBase
from .profiler_constants import DEFAULT_SYSTEM_PROFILER_PREFIX
from .system_profiler_file_parser import ProfilerSystemEvent

__all__ = ["LocalSystemMetricsReader", "S3SystemMetricsReader", "SystemMetricsReader"]

FILE = re.compile(r"/(\d{10})\.[^/]+\.json$")


class SystemMetricsReader(MetricsReaderBase):
    """`ProfilerSystemEvent`s by time."""

    def __init__(self, files: MetricsFiles) -> None:
        super().__init__(files, DEFAULT_SYSTEM_PROFILER_PREFIX)

    def time_of(self, name: str) -> int | None:
        """See `MetricsReaderBase`."""
        found = FILE.search(name)
        return int(found.group(1)) * 1_000_000 if found else None

    def parse(self, content: bytes) -> Iterator[ProfilerSystemEvent]:
        """See `MetricsReaderBase`; torn lines are left out."""
        for line in content.splitlines():
            try:
                row = json.loads(line)
                yield ProfilerSystemEvent(
                    str(row["Type"]),
                    str(row.get("Name", "")),
                    str(row["Dimension"]),
                    float(row["Value"]),
                    str(row["NodeId"]),
                    float(row["Timestamp"]),
                )
            except (ValueError, KeyError, TypeError):
                continue

    def microseconds(self, event: Any) -> float:
        """See `MetricsReaderBase`."""
        return float(event.timestamp * 1e6)


class LocalSystemMetricsReader(SystemMetricsReader):
    """Those in a folder, a `profiler-output`."""

    def __init__(self, trace_root_folder: str, use_in_memory_cache: bool = False) -> None:
        del use_in_memory_cache
        super().__init__(LocalMetricsFiles(trace_root_folder))


class S3SystemMetricsReader(SystemMetricsReader):
    """Those in S3."""

    def __init__(self, s3_trial_path: str, use_in_memory_cache: bool = False) -> None:
        del use_in_memory_cache
        super().__init__(S3MetricsFiles(s3_trial_path))
