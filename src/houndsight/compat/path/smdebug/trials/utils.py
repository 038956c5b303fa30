"""Opening a trial."""

from __future__ import annotations

import os
from typing import Any

from ..core.utils import is_s3
from .local_trial import LocalTrial
from .s3_trial import S3Trial
from .trial import Trial

__all__ = ["create_trial"]


def create_trial(
    path: str, name: str | None = None, profiler: bool = False, **kwargs: Any
) -> Trial:
    """What a training saved under `path`, an S3 URI or a folder.

    Raises:
        MissingCollectionFiles: there is nothing, and nothing comes within a minute.
        SMDebugNotImplementedError: `profiler` asks for a trial of the profiler's data.
    """
    from ..exceptions import SMDebugNotImplementedError

    if profiler:
        raise SMDebugNotImplementedError(
            "There are no profiler trials: read the profiler's data by "
            "smdebug.profiler.analysis.notebook_utils.training_job.TrainingJob."
        )
    path = os.fspath(path).strip()
    kwargs.pop("output_dir", None)
    name = name or path.rstrip("/").rpartition("/")[2]
    in_s3, bucket, prefix = is_s3(path)
    if in_s3:
        return S3Trial(name, str(bucket), str(prefix), **kwargs)
    return LocalTrial(name, path, **kwargs)
