"""A job's hyperparameters: decoded, and told apart from what is meant for the container.

SDK 2 sends JSON (`"0.01"`, `"\\"a b\\""`), SDK 3 and boto3 bare strings: JSON is tried first, as
SageMaker's training toolkit does (sagemaker-training 5.1.4, `environment.read_hyperparameters`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Hyperparameters"]

_PREFIX = "sagemaker_"
_STRIPPED = frozenset({"_tuning_objective_metric", "default_user_module_name"})
_KNOWN = frozenset(
    _PREFIX + name
    for name in (
        "program",
        "submit_directory",
        "enable_cloudwatch_metrics",
        "region",
        "container_log_level",
        "job_name",
        "s3_output",
    )
)


@dataclass(frozen=True)
class Hyperparameters:
    """`user` become arguments of the script; `container` are SageMaker's own."""

    user: Mapping[str, Any] = field(default_factory=dict)
    container: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> Self:
        """From the strings of the request."""
        decoded = {name: _decoded(value) for name, value in raw.items()}
        container = {k: v for k, v in decoded.items() if _is_container(k)}
        return cls({k: v for k, v in decoded.items() if k not in container}, container)

    def text(self, name: str) -> str:
        """A value of the container's, such as `program` for `sagemaker_program`; "" if absent."""
        value = self.container.get(_PREFIX + name)
        return "" if value is None else str(value)

    def enabled(self, name: str) -> bool:
        """Whether a switch such as `mpi_enabled` is on, however its client writes true."""
        return str(self.container.get(_PREFIX + name, "")).strip().lower() in ("true", "1")

    @property
    def framework(self) -> dict[str, Any]:
        """`SM_FRAMEWORK_PARAMS`: the container's that no part of the toolkit itself reads."""
        known = _KNOWN | _STRIPPED
        return {k: v for k, v in self.container.items() if k not in known}


def _is_container(name: str) -> bool:
    return name.startswith(_PREFIX) or name in _STRIPPED


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return value
