"""Whether this process belongs to a training job."""

from __future__ import annotations

import os

__all__ = ["is_sagemaker_job"]


def is_sagemaker_job() -> bool:
    """Whether it does."""
    return bool(os.environ.get("TRAINING_JOB_NAME") or os.environ.get("HOUNDSIGHT_JOB_RUN"))
