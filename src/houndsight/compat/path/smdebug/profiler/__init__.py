"""What the system did while a job ran.

The readers and `TrainingJob` with its charts are here; SageMaker's framework profiling is not,
beyond the times of the steps.
"""

from __future__ import annotations

from .algorithm_metrics_reader import LocalAlgorithmMetricsReader, S3AlgorithmMetricsReader
from .system_metrics_reader import LocalSystemMetricsReader, S3SystemMetricsReader

__all__ = [
    "LocalAlgorithmMetricsReader",
    "LocalSystemMetricsReader",
    "S3AlgorithmMetricsReader",
    "S3SystemMetricsReader",
]
