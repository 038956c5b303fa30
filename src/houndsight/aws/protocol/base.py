"""A request as it came, an answer as it goes, and what a protocol makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from houndsight.aws.service import AwsError

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

__all__ = ["Incoming", "Outgoing", "Protocol", "error_shape", "error_status"]


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A request with its whole body."""

    method: str
    path: str
    """As it came, percent signs and all."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name, decoded as Latin-1."""
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """An answer with its whole body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Protocol(ABC):
    """One protocol, spoken for one service model.

    A request's life: `operation` names what is asked, `parse` gives its parameters in Python's
    types (which may still break the model's rules: `validation.py`), and then there is one of
    `answer` and `error`.
    """

    def __init__(self, model: ServiceModel) -> None:
        self.model = model

    @abstractmethod
    def operation(self, incoming: Incoming) -> str:
        """The operation's name, as the client wrote it.

        Raises:
            AwsError: the request names none.
        """

    @abstractmethod
    def parse(self, operation: OperationModel, incoming: Incoming) -> dict[str, Any]:
        """The parameters. Names that the model lacks are kept, for validation to name them.

        Raises:
            AwsError: the body is no such message, or a value is of another type.
        """

    @abstractmethod
    def answer(
        self, operation: OperationModel, response: Mapping[str, Any], request_id: str
    ) -> Outgoing:
        """The response, of which members that the model lacks are left out."""

    @abstractmethod
    def error(
        self, error: AwsError, request_id: str, operation: OperationModel | None = None
    ) -> Outgoing:
        """The error."""


def error_shape(error: AwsError, operation: OperationModel | None) -> Any:
    """The model's shape of an error, when the operation has one with this code."""
    for shape in operation.error_shapes if operation is not None else ():
        if error.code in (shape.name, shape.error_code):
            return shape
    return None


def error_status(error: AwsError, shape: Any) -> int:
    """The status the service chose, else the model's, else 400."""
    modelled = shape.metadata.get("error", {}).get("httpStatusCode") if shape is not None else None
    return error.status if error.status != 400 or modelled is None else int(modelled)
