"""What a person may choose about endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting

__all__ = ["EndpointsSettings"]


@dataclass(frozen=True, kw_only=True)
class EndpointsSettings(Settings):
    """Limits of endpoints; the defaults are SageMaker's, so that what works here works there."""

    section: ClassVar[str] = "endpoints"

    answer_seconds: float = setting(60.0, minimum=1.0, maximum=3_600)
    """Longest time from an invocation to its answer; then it fails and the worker, which is still
    busy with it, is started again."""

    max_body_bytes: int = setting(6_291_456, minimum=1, maximum=25_000_000)
    """Longest body of an invocation and of its answer."""

    start_seconds: float = setting(600.0, minimum=1.0, maximum=3_600)
    """Longest time for a worker to load its model and answer its first ping, where the endpoint
    configuration names none."""

    delete_seconds: float = setting(2.0, minimum=0.0, maximum=120)
    """When an endpoint is deleted, time for requests under way."""
