"""JSON 1.0 and 1.1: the operation in `X-Amz-Target`, the parameters as a JSON body.

Services that once spoke the query protocol (CloudWatch) also tell an error's old code, in
`x-amzn-query-error`.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from houndsight.aws.protocol.base import Incoming, Outgoing, Protocol, error_shape, error_status
from houndsight.aws.protocol.values import epoch, iso8601, read_scalar, wrong
from houndsight.aws.service import AwsError

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

__all__ = ["JsonProtocol", "load_object", "read", "write"]

AS_THEY_ARE = frozenset({"string", "integer", "long", "float", "double", "boolean"})
"""Types that JSON has, too."""


class JsonProtocol(Protocol):
    """JSON 1.0 or 1.1, as the model says."""

    def operation(self, incoming: Incoming) -> str:
        """What follows the dot of `X-Amz-Target`."""
        target = incoming.headers.get("x-amz-target", "")
        _, dot, name = target.rpartition(".")
        if not dot or not name:
            raise AwsError(
                "UnknownOperationException",
                f"X-Amz-Target is {target[:80]!r}; it must be"
                f" {self.model.metadata.get('targetPrefix')}.Operation.",
            )
        return name

    def parse(self, operation: OperationModel, incoming: Incoming) -> dict[str, Any]:
        """The body's members."""
        values = load_object(incoming.body)
        if operation.input_shape is None:
            return values
        parsed: dict[str, Any] = read(operation.input_shape, values, "")
        return parsed

    def answer(
        self, operation: OperationModel, response: Mapping[str, Any], request_id: str
    ) -> Outgoing:
        """A JSON object; an operation without output has an empty body."""
        shape = operation.output_shape
        body = b"" if shape is None else _dumped(write(shape, response))
        return Outgoing(headers=self._headers(request_id), body=body)

    def error(
        self, error: AwsError, request_id: str, operation: OperationModel | None = None
    ) -> Outgoing:
        """`{"__type": code, "message": …}` and what more the error's shape has."""
        shape = error_shape(error, operation)
        body = {**error.fields, "message": error.message}
        if shape is not None:
            body = write(shape, error.fields)
            body[next((m for m in shape.members if m.lower() == "message"), "message")] = (
                error.message
            )
        code = error.code if shape is None else shape.name
        headers = self._headers(request_id)
        if self.model.metadata.get("awsQueryCompatible") is not None:
            headers["x-amzn-query-error"] = f"{_header_safe(error.code)};Sender"
        return Outgoing(
            status=error_status(error, shape),
            headers=headers,
            body=_dumped({"__type": code, **body}),
        )

    def _headers(self, request_id: str) -> dict[str, str]:
        version = self.model.metadata.get("jsonVersion", "1.1")
        return {
            "content-type": f"application/x-amz-json-{version}",
            "x-amzn-requestid": request_id,
        }


def load_object(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object; an empty one is an empty object.

    Raises:
        AwsError: it is none.
    """
    if not body.strip():
        return {}
    try:
        values = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = "is nested too deep" if isinstance(error, RecursionError) else f"is no JSON: {error}"
        raise wrong("The body", why[:200]) from error
    if not isinstance(values, dict):
        raise wrong("The body", "must be a JSON object")
    return values


def read(shape: Shape, value: Any, path: str) -> Any:
    """A JSON value in Python's types; null members count as not sent.

    Raises:
        AwsError: it is of another type than the model's.
    """
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        if not isinstance(value, dict):
            raise wrong(path, "must be an object")
        members = shape.members
        return {
            name: read(members[name], member, f"{path}.{name}" if path else name)
            if name in members
            else member
            for name, member in value.items()
            if member is not None
        }
    if kind == "list":
        if not isinstance(value, list):
            raise wrong(path, "must be a list")
        return [read(shape.member, item, f"{path}[{i}]") for i, item in enumerate(value)]
    if kind == "map":
        if not isinstance(value, dict):
            raise wrong(path, "must be an object")
        return {
            read_scalar("string", key, path): read(shape.value, item, f"{path}.{key}")
            for key, item in value.items()
        }
    return read_scalar(kind, value, path)


def write(shape: Shape, value: Any) -> Any:
    """A value of a response as JSON has it."""
    kind = shape.type_name
    if kind in AS_THEY_ARE:
        return value
    if kind == "structure":
        members = _members(shape)
        if members is None:
            return value
        # Few of the many members are there: an answer goes through those that are.
        return {
            members[name][0]: write(members[name][1], member)
            for name, member in value.items()
            if member is not None and name in members
        }
    if kind == "list":
        return [write(shape.member, item) for item in value]
    if kind == "map":
        return {str(key): write(shape.value, item) for key, item in value.items()}
    if kind == "timestamp":
        iso = shape.serialization.get("timestampFormat") == "iso8601"
        return iso8601(value) if iso else epoch(value)
    assert kind == "blob", kind
    return base64.b64encode(value).decode()


@functools.cache
def _members(shape: Shape) -> dict[str, tuple[str, Shape]] | None:
    """A structure's members with their names on the wire; None for a document of any form."""
    if getattr(shape, "is_document_type", False):
        return None
    return {
        name: (member.serialization.get("name", name), member)
        for name, member in shape.members.items()
    }


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _header_safe(text: str) -> str:
    return "".join(c for c in text if c.isascii() and c.isprintable())
