"""The query protocol: a form with `Action` and dotted names, answered in XML."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from houndsight.aws.protocol.base import Incoming, Outgoing, Protocol, error_shape, error_status
from houndsight.aws.protocol.values import iso8601, scalar_of_text, wrong
from houndsight.aws.service import AwsError

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

__all__ = ["QueryProtocol", "read_form"]

MOST_FIELDS = 10_000
DEEPEST = 16
ABOUT_ITSELF = ("Action", "Version")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_form(incoming: Incoming) -> dict[str, str]:
    """The fields of a form, of a GET those of the URL.

    Raises:
        AwsError: it is no form.
    """
    try:
        text = incoming.query if incoming.method == "GET" else incoming.body.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise AwsError("MalformedQueryString", f"The form cannot be read: {error}.") from error
    return dict(pairs)


class QueryProtocol(Protocol):
    """Forms in, XML out."""

    def operation(self, incoming: Incoming) -> str:
        """`Action`."""
        name = read_form(incoming).get("Action", "")
        if not name:
            raise AwsError("MissingAction", "The form has no field Action.")
        return name

    def parse(self, operation: OperationModel, incoming: Incoming) -> dict[str, Any]:
        """The fields as a tree, read along the input's shape."""
        fields = {
            name: value
            for name, value in read_form(incoming).items()
            if name not in ABOUT_ITSELF and not name.startswith("X-Amz-")
        }
        tree = _tree(fields)
        if operation.input_shape is None:
            return tree
        parsed: dict[str, Any] = _read(operation.input_shape, tree, "")
        return parsed

    def answer(
        self, operation: OperationModel, response: Mapping[str, Any], request_id: str
    ) -> Outgoing:
        """`<OpResponse><OpResult>…</OpResult><ResponseMetadata>…`."""
        namespace = escape(self.model.metadata.get("xmlNamespace", ""), {'"': "&quot;"})
        inner, shape = "", operation.output_shape
        if shape is not None:
            inner = _members(shape, response)
            wrapper = shape.serialization.get("resultWrapper")
            inner = f"<{wrapper}>{inner}</{wrapper}>" if wrapper else inner
        text = (
            f'<{operation.name}Response xmlns="{namespace}">{inner}<ResponseMetadata>'
            f"<RequestId>{request_id}</RequestId></ResponseMetadata></{operation.name}Response>"
        )
        return _xml(200, text, request_id)

    def error(
        self, error: AwsError, request_id: str, operation: OperationModel | None = None
    ) -> Outgoing:
        """`<ErrorResponse><Error>…`."""
        shape = error_shape(error, operation)
        code = error.code if shape is None else shape.error_code or shape.name
        status = error_status(error, shape)
        text = (
            f"<ErrorResponse><Error><Type>{'Sender' if status < 500 else 'Receiver'}</Type>"
            f"<Code>{_text(code)}</Code><Message>{_text(error.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return _xml(status, text, request_id)


def _tree(fields: Mapping[str, str]) -> dict[str, Any]:
    """`{"A.member.1": "x"}` → `{"A": {"member": {"1": "x"}}}`."""
    root: dict[str, Any] = {}
    for name, value in fields.items():
        parts = name.split(".")
        if len(parts) > DEEPEST:
            raise wrong(name[:80], "is nested too deep")
        place = root
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise wrong(name[:80], "is given as a value and as a structure")
        if isinstance(place.get(parts[-1]), dict):
            raise wrong(name[:80], "is given as a value and as a structure")
        place[parts[-1]] = value
    return root


def _read(shape: Shape, value: Any, path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _read_structure(shape, value, path)
    if kind == "list":
        if value == "":
            return []
        name = shape.member.serialization.get("name", "member")
        items = _branch(value, path)
        if not shape.serialization.get("flattened"):
            items = _branch(items.get(name, {}), path)
        return [_read(shape.member, items[i], f"{path}.{i}") for i in _in_order(items, path)]
    if kind == "map":
        entries = _branch(_branch(value, path).get("entry", {}), path)
        pairs = [_branch(entries[i], path) for i in _in_order(entries, path)]
        return {
            str(pair.get("key", "")): _read(shape.value, pair.get("value", ""), path)
            for pair in pairs
        }
    if isinstance(value, dict):
        raise wrong(path, "must be a single value")
    return scalar_of_text(kind, value, path)


def _read_structure(shape: Shape, value: Any, path: str) -> dict[str, Any]:
    named = {member.serialization.get("name", name): name for name, member in shape.members.items()}
    read = {}
    for wire, item in _branch(value, path).items():
        name = named.get(wire, wire)
        inside = f"{path}.{name}" if path else name
        read[name] = _read(shape.members[name], item, inside) if name in shape.members else item
    return read


def _branch(value: Any, path: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if value == "":
        return {}
    raise wrong(path, "must be a structure, not a single value")


def _in_order(items: Mapping[str, Any], path: str) -> list[str]:
    if not all(i.isascii() and i.isdigit() and len(i) < 7 for i in items):
        raise wrong(path, "must be numbered: .1, .2 …")
    return sorted(items, key=int)


def _members(shape: Shape, value: Mapping[str, Any]) -> str:
    return "".join(
        _element(member.serialization.get("name", name), member, value[name])
        for name, member in shape.members.items()
        if value.get(name) is not None
    )


def _element(name: str, shape: Shape, value: Any) -> str:
    kind = shape.type_name
    if kind == "structure":
        inner = _members(shape, value)
    elif kind == "list":
        item = shape.member.serialization.get("name", "member")
        if shape.serialization.get("flattened"):
            return "".join(_element(name, shape.member, one) for one in value)
        inner = "".join(_element(item, shape.member, one) for one in value)
    elif kind == "map":
        inner = "".join(
            f"<entry><key>{_text(key)}</key>{_element('value', shape.value, one)}</entry>"
            for key, one in value.items()
        )
    else:
        inner = _text(_plain(kind, value))
    return f"<{name}>{inner}</{name}>"


def _plain(kind: str, value: Any) -> str:
    if kind == "timestamp":
        return iso8601(value)
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind == "boolean":
        return "true" if value else "false"
    return str(value)


def _text(value: str) -> str:
    return escape(_NO_XML.sub("\ufffd", value), {"\r": "&#13;"})


def _xml(status: int, text: str, request_id: str) -> Outgoing:
    headers = {"content-type": "text/xml", "x-amzn-requestid": request_id}
    return Outgoing(status=status, headers=headers, body=text.encode("utf-8", "replace"))
