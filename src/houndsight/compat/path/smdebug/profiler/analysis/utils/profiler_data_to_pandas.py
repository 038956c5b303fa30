"""The profiler's figures as pandas tables."""

from __future__ import annotations

from typing import Any

from ....core.utils import is_s3
from ...metrics_files import LocalMetricsFiles, MetricsFiles, S3MetricsFiles
from ...system_metrics_reader import SystemMetricsReader

__all__ = ["PandasFrame"]


class PandasFrame:
    """Tables of the figures under a path, an S3 URI or a folder. Needs pandas."""

    def __init__(self, path: str, **ignored: Any) -> None:
        del ignored
        self.path = path
        files: MetricsFiles = S3MetricsFiles(path) if is_s3(path)[0] else LocalMetricsFiles(path)
        self.system_reader = SystemMetricsReader(files)

    def get_all_system_metrics(self, selected_system_metrics: Any = ()) -> Any:
        """A row a figure: timestamp, value, system_metric, dimension, nodeID, type."""
        import pandas  # type: ignore[import-untyped, unused-ignore]

        events = self.system_reader.get_events(0, 1e17)
        rows = [
            {
                "timestamp_us": int(event.timestamp * 1e6),
                "value": event.value,
                "system_metric": event.name,
                "dimension": event.dimension,
                "nodeID": event.node_id,
                "type": event.type,
            }
            for event in events
            if not selected_system_metrics or event.dimension in selected_system_metrics
        ]
        return pandas.DataFrame(rows)
