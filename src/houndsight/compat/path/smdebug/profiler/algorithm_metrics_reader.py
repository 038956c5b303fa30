"""Reads what the framework did: here, the training's steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .metrics_files import LocalMetricsFiles, MetricsFiles, S3MetricsFiles
from .metrics_reader_base import MetricsReaderBase
from .profiler_constants import DEFAULT_PREFIX
from .trace_event_file_parser import TraceEvent

__all__ = ["AlgorithmMetricsReader", "LocalAlgorithmMetricsReader", "S3AlgorithmMetricsReader"]

FILE = re.compile(r"/(\d{16})_[^/]+\.json$")


class AlgorithmMetricsReader(MetricsReaderBase):
    """`TraceEvent`s by time."""

    def __init__(self, files: MetricsFiles) -> None:
        super().__init__(files, DEFAULT_PREFIX)

    def time_of(self, name: str) -> int | None:
        """See `MetricsReaderBase`."""
        found = FILE.search(name)
        return int(found.group(1)) if found else None

    def parse(self, content: bytes) -> Iterator[TraceEvent]:
        """See `MetricsReaderBase`: a Chrome trace."""
        try:
            rows = json.loads(content)
        except ValueError:
            return
        phases = {r.get("pid"): r.get("args", {}).get("name") for r in rows if r.get("ph") == "M"}
        for row in rows:
            if row.get("ph") != "X":
                continue
            begin = int(row["ts"]) * 1000
            yield TraceEvent(
                begin,
                begin + int(row.get("dur", 0)) * 1000,
                str(row.get("name", "")),
                str(phases.get(row.get("pid")) or row.get("name", "")),
                row.get("args") or {},
                int(row.get("tid", 0)),
                int(row.get("pid", 0)),
            )

    def microseconds(self, event: Any) -> float:
        """See `MetricsReaderBase`."""
        return float(event.end_time / 1000)


class LocalAlgorithmMetricsReader(AlgorithmMetricsReader):
    """Those in a folder, a `profiler-output`."""

    def __init__(self, trace_root_folder: str, use_in_memory_cache: bool = False) -> None:
        del use_in_memory_cache
        super().__init__(LocalMetricsFiles(trace_root_folder))


class S3AlgorithmMetricsReader(AlgorithmMetricsReader):
    """Those in S3."""

    def __init__(self, s3_trial_path: str, use_in_memory_cache: bool = False) -> None:
        del use_in_memory_cache
        super().__init__(S3MetricsFiles(s3_trial_path))
