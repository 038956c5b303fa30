"""A training job's profiler, from its name."""

from __future__ import annotations

import time
from typing import Any

from ....core.logger import get_logger
from ...algorithm_metrics_reader import S3AlgorithmMetricsReader
from ...system_metrics_reader import S3SystemMetricsReader
from ...utils import us_since_epoch_to_human_readable_time

__all__ = ["TrainingJob"]

EVERY_SECONDS = 2.0
ENDED = ("Completed", "Failed", "Stopped")


class TrainingJob:
    """Finds what the profiler of a job saw, through boto3 with the environment's endpoint."""

    def __init__(self, training_job_name: str, region: str | None = None) -> None:
        import boto3

        self.name = training_job_name
        self.sm_client = boto3.client("sagemaker", **({"region_name": region} if region else {}))
        self.system_metrics_reader: S3SystemMetricsReader | None = None
        self.framework_metrics_reader: S3AlgorithmMetricsReader | None = None
        found = self.get_config_and_profiler_s3_output_path()
        self.profiler_config, self.profiler_s3_output_path = found

    def get_systems_metrics_reader(self) -> S3SystemMetricsReader | None:
        """Reads the samples of the system; opened at need."""
        if self.system_metrics_reader is None and self.profiler_s3_output_path:
            self.system_metrics_reader = S3SystemMetricsReader(self.profiler_s3_output_path)
        return self.system_metrics_reader

    def get_framework_metrics_reader(self) -> S3AlgorithmMetricsReader | None:
        """Reads the training's steps; opened at need."""
        if self.framework_metrics_reader is None and self.profiler_s3_output_path:
            self.framework_metrics_reader = S3AlgorithmMetricsReader(self.profiler_s3_output_path)
        return self.framework_metrics_reader

    def get_sm_client(self) -> Any:
        """boto3's client."""
        return self.sm_client

    def describe_training_job(self) -> Any:
        """What SageMaker says of the job."""
        return self.sm_client.describe_training_job(TrainingJobName=self.name)

    def get_config_and_profiler_s3_output_path(self) -> tuple[Any, str | None]:
        """The job's `ProfilerConfig`, and where its data are; None without a profiler."""
        config = self.describe_training_job().get("ProfilerConfig") or {}
        base = config.get("S3OutputPath")
        path = f"{base.rstrip('/')}/{self.name}/profiler-output" if base else None
        print(f"ProfilerConfig:{config or None}")
        print(f"s3 path:{path}")
        return config or None, path

    def wait_for_sys_profiling_data_to_be_available(self) -> None:
        """Return when there are samples of the system.

        Raises:
            RuntimeError: the job has no profiler, or has ended without any.
        """
        reader = self._wait_for(self.get_systems_metrics_reader, "system")
        self.system_metrics_reader = reader
        print("\n\nProfiler data from system is available")

    def wait_for_framework_profiling_data_to_be_available(self) -> None:
        """Return when there are steps of the training, which come at the job's end.

        Raises:
            RuntimeError: the job has no profiler, or has ended without any.
        """
        reader = self._wait_for(self.get_framework_metrics_reader, "framework")
        self.framework_metrics_reader = reader
        print("\n\n Profiler data from framework is available")
        last = reader.get_timestamp_of_latest_available_file()
        print(
            "Found recorded framework annotations. Latest available timestamp "
            f"microsseconds_since_epoch is:{last} , human_readable_timestamp in utc:",
            us_since_epoch_to_human_readable_time(last),
        )

    def _wait_for(self, get_reader: Any, what: str) -> Any:
        reader, before = get_reader(), None
        if reader is None:
            raise RuntimeError(f"{self.name} has no profiler: its ProfilerConfig names no S3 path.")
        while reader.get_timestamp_of_latest_available_file() == 0:
            described = self.describe_training_job()
            status = described["TrainingJobStatus"]
            reader.refresh_event_file_list()
            if reader.get_timestamp_of_latest_available_file():
                break
            if status in ENDED:
                raise RuntimeError(
                    f"{self.name} is {status} and left no profiler data of the {what} under "
                    f"{self.profiler_s3_output_path}."
                )
            if status != before:
                print(f"Profiler data from {what} not available yet")
                print(
                    f"time: {time.time()} TrainingJobStatus:{status} "
                    f"TrainingJobSecondaryStatus:{described.get('SecondaryStatus')}"
                )
                before = status
            time.sleep(EVERY_SECONDS)
        get_logger().debug("profiler data of the %s are there", what)
        return reader
