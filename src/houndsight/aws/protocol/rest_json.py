"""REST-JSON: the operation in method and path, parameters in path, query, headers and body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from houndsight.aws.protocol.base import Incoming, Outgoing, Protocol, error_shape, error_status
from houndsight.aws.protocol.json import load_object, read, write
from houndsight.aws.protocol.values import read_scalar, scalar_of_text, wrong
from houndsight.aws.service import AwsError

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel, Shape

__all__ = ["RestJsonProtocol"]


class RestJsonProtocol(Protocol):
    """REST-JSON, as SageMaker's runtime speaks it."""

    def __init__(self, model: ServiceModel) -> None:
        super().__init__(model)
        self._routes: list[tuple[str, re.Pattern[str], str]] = []
        for name in model.operation_names:
            http = model.operation_model(name).http
            uri = http["requestUri"].partition("?")[0]
            parts = re.split(r"{(\w+)(\+?)}", uri)
            pattern = re.escape(parts[0])
            for label, greedy, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
                pattern += f"(?P<{label}>{'.+' if greedy else '[^/]+'}){re.escape(literal)}"
            self._routes.append((http["method"], re.compile(pattern), name))

    def operation(self, incoming: Incoming) -> str:
        """The operation whose method and path these are."""
        for method, pattern, name in self._routes:
            if method == incoming.method and pattern.fullmatch(incoming.path):
                return name
        raise AwsError(
            "UnknownOperationException",
            f"There is no operation at {incoming.method} {incoming.path[:200]}.",
            status=404,
        )

    def parse(self, operation: OperationModel, incoming: Incoming) -> dict[str, Any]:
        """The parameters from all places."""
        shape = operation.input_shape
        if shape is None:
            return {}
        labels = self._labels(operation.name, incoming.path)
        query = dict(parse_qsl(incoming.query, keep_blank_values=True))
        parsed: dict[str, Any] = {}
        for name, member in shape.members.items():
            where, wire = member.serialization.get("location"), _wire_name(name, member)
            text = None
            if where == "uri":
                text = labels.get(wire)
            elif where == "header":
                text = incoming.headers.get(wire.lower())
            elif where == "querystring":
                text = query.get(wire)
            if text is not None:
                parsed[name] = scalar_of_text(member.type_name, text, name)
        parsed.update(_read_body(shape, incoming.body))
        return parsed

    def answer(
        self, operation: OperationModel, response: Mapping[str, Any], request_id: str
    ) -> Outgoing:
        """Headers, and the payload as it is or a JSON object."""
        headers = {"x-amzn-requestid": request_id, "content-type": "application/json"}
        shape = operation.output_shape
        if shape is None:
            return Outgoing(headers=headers)
        in_headers = {
            name: member
            for name, member in shape.members.items()
            if member.serialization.get("location") == "header"
        }
        for name, member in in_headers.items():
            if response.get(name) is not None:
                headers[_wire_name(name, member).lower()] = _one_line(str(response[name]))
        payload = shape.serialization.get("payload")
        if payload is not None and shape.members[payload].type_name == "blob":
            return Outgoing(headers=headers, body=bytes(response.get(payload) or b""))
        rest = {name: value for name, value in response.items() if name not in in_headers}
        body = (
            write(shape.members[payload], rest.get(payload, {})) if payload else write(shape, rest)
        )
        return Outgoing(headers=headers, body=json.dumps(body).encode())

    def error(
        self, error: AwsError, request_id: str, operation: OperationModel | None = None
    ) -> Outgoing:
        """The code in `x-amzn-ErrorType`, the members of the error's shape as JSON."""
        shape = error_shape(error, operation)
        body = dict(error.fields) if shape is None else write(shape, error.fields)
        names = shape.members if shape is not None else ()
        body[next((name for name in names if name.lower() == "message"), "message")] = error.message
        headers = {
            "x-amzn-requestid": request_id,
            "x-amzn-errortype": _one_line(error.code),
            "content-type": "application/json",
        }
        return Outgoing(
            status=error_status(error, shape), headers=headers, body=json.dumps(body).encode()
        )

    def _labels(self, operation: str, path: str) -> dict[str, str]:
        for _, pattern, name in self._routes:
            found = pattern.fullmatch(path) if name == operation else None
            if found:
                labels = {label: unquote(text) for label, text in found.groupdict().items()}
                return {k: read_scalar("string", v, k) for k, v in labels.items()}
        return {}


def _read_body(shape: Shape, body: bytes) -> dict[str, Any]:
    payload = shape.serialization.get("payload")
    if payload is None:
        inside = load_object(body)
        placed = {n for n, m in shape.members.items() if "location" in m.serialization}
        for name in placed & inside.keys():
            raise wrong(name, "does not belong into the body")
        parsed: dict[str, Any] = read(shape, inside, "")
        return parsed
    member = shape.members[payload]
    if member.type_name == "blob":
        return {payload: body}
    return {payload: read(member, load_object(body), payload)} if body else {}


def _wire_name(name: str, member: Shape) -> str:
    return str(member.serialization.get("name", name))


def _one_line(text: str) -> str:
    """A header's value: no line breaks, nothing outside Latin-1."""
    return "".join(c if c.isprintable() and c < "\u0100" else "?" for c in text)
