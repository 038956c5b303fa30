"""One AWS service: its operations by name, called with parsed and validated parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

__all__ = ["AwsError", "Call", "Service", "operation"]

F = TypeVar("F", bound=Callable[..., Any])


class AwsError(Exception):
    """An error the client gets: `code` is AWS's, the message a sentence for a person."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, fields: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status
        self.fields = dict(fields or {})


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, parsed by botocore's model of the service."""

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """As boto3 takes them: blobs are bytes, timestamps datetimes."""
    region: str = "us-east-1"
    access_key: str = ""
    request_id: str = ""
    patience_s: float = 0.0
    """How long a Describe may hold its answer open for a change of state; 0 when many wait."""


def operation(name: str) -> Callable[[F], F]:
    """Mark a method `(self, call) -> response` as the operation `name` of its service."""

    def mark(method: F) -> F:
        method.__dict__["operation"] = name
        return method

    return mark


class Service:
    """An AWS service. A subclass marks its methods with `@operation`.

    Each is called in a worker thread with a `Call` whose parameters the model accepts, and returns
    the response as boto3 shows it (without ResponseMetadata), or raises `AwsError`. An operation
    that no method is marked for is answered with an error that names it.
    """

    name: ClassVar[str]
    """As botocore calls it: `sagemaker`, `sagemaker-runtime`, `logs` …"""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        inherited: dict[str, str] = dict(getattr(cls, "_operations", {}))
        for attribute, method in vars(cls).items():
            marked = getattr(method, "__dict__", {}).get("operation")
            if marked is not None:
                inherited[marked] = attribute
        cls._operations = inherited

    _operations: ClassVar[dict[str, str]] = {}

    @classmethod
    def operations(cls) -> tuple[str, ...]:
        """The operations that are implemented."""
        return tuple(sorted(cls._operations))

    def call(self, call: Call) -> Mapping[str, Any]:
        """Answer a request.

        Raises:
            AwsError: what the client is told.
        """
        attribute = self._operations.get(call.operation)
        if attribute is None:
            raise AwsError(
                "NotImplementedException",
                f"Houndsight does not implement {call.operation} of {self.name} yet.",
                status=501,
            )
        answer: Mapping[str, Any] | None = getattr(self, attribute)(call)
        return answer or {}
