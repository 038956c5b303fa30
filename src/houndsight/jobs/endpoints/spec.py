"""What an endpoint is asked to be: a snapshot of its configuration and of the models in it.

Made from requests of the API when an endpoint is created or updated, since both may be deleted
afterwards, and written as `wanted.json`. The supervisor copies what it has put in service to
`current.json`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from houndsight.errors import RunError
from houndsight.files import write_atomic

__all__ = ["EndpointSpec", "ModelSpec", "VariantSpec"]

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What `CreateModel` was told of its one container."""

    name: str
    image: str = ""
    data_uri: str = ""
    """`s3://…/model.tar.gz`, or a prefix whose objects are the model; empty for none."""
    is_prefix: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VariantSpec:
    """A production variant."""

    name: str
    model: ModelSpec
    weight: float = 1.0
    instances: int = 1
    instance_type: str = ""
    start_seconds: float | None = None
    """`ContainerStartupHealthCheckTimeoutInSeconds`."""


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """An endpoint with its variants."""

    name: str
    arn: str
    config: str
    created: float
    """Of the endpoint; epoch seconds."""
    generation: int = 1
    """Another one needs other workers."""
    revision: int = 1
    """Grows with every change."""
    region: str = "us-east-1"
    variants: tuple[VariantSpec, ...]

    def write(self, path: Path) -> None:
        """Write it as JSON, by rename."""
        row = {"version": VERSION, **dataclasses.asdict(self)}
        write_atomic(path, json.dumps(row, indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            RunError: the file is missing, damaged or of a newer version.
        """
        try:
            row = json.loads(path.read_bytes())
            version = row.pop("version")
            if version > VERSION:
                raise RunError(
                    f"{path} was written by a newer Houndsight (format {version}, this one reads"
                    f" {VERSION}): update Houndsight."
                )
            row["variants"] = tuple(_variant(v) for v in row["variants"])
            return cls(**row)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{path} cannot be read: {error}. Delete the endpoint and create it again."
            ) from error


def _variant(row: Mapping[str, Any]) -> VariantSpec:
    return VariantSpec(**{**row, "model": ModelSpec(**row["model"])})
