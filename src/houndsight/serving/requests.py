"""What a request asks for: its body taken apart, and what it accepts as an answer.

    image/jpeg, image/png, image/webp     the bytes of one photo
    application/json  {"url": "https://…"}                    one photo by its address
                      {"instances": ["base64…", …]}           many photos
                      and beside either: "top": 5 or "all"

`?top=5` or `?top=all` in the address does the same as "top".
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from houndsight.errors import RequestError

__all__ = ["ALL", "IMAGE_TYPES", "Asked", "Url", "accepts_json", "parse_asked", "parse_top"]

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/jpg", "application/x-image")
"""Content types of a photo's bytes; the last is what SageMaker's own image endpoints take."""
JSON_TYPES = ("application/json",)
ALL = -1
"""`top` when every class is asked for."""


@dataclass(frozen=True)
class Url:
    """A photo named by its address."""

    text: str


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    photos: tuple[bytes | Url | RequestError, ...]
    """Encoded photos in order; an error stands for one that could not be taken apart."""
    many: bool
    """Whether it came as `instances`, so that each photo is answered by itself."""
    top: int | None
    """How many classes; `ALL` for every one, None when it does not say."""


def parse_asked(content_type: str | None, body: bytes, *, max_instances: int) -> Asked:
    """Take a request's body apart.

    Raises:
        RequestError: 400 for a body that is not what its type says, 413 for too many photos,
            415 for another type.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in JSON_TYPES:
        return _parse_json(body, max_instances)
    if kind not in IMAGE_TYPES:
        said = f"{kind[:100]!r} is not taken" if kind else "The request has no Content-Type"
        raise RequestError(
            f"{said}; send image/jpeg, image/png or image/webp bytes, or application/json with "
            '{"url": …} or {"instances": [base64…]}.',
            status=415,
        )
    if not body:
        raise RequestError("The body is empty; send the bytes of a photo.")
    return Asked((body,), many=False, top=None)


def parse_top(value: Any) -> int:
    """How many classes `value` asks for: a number from 1, or "all".

    Raises:
        RequestError: it is neither.
    """
    if value == "all":
        return ALL
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RequestError('top must be a whole number from 1 on, or "all".')
    return value


def accepts_json(accept: str | None) -> bool:
    """Whether an Accept header allows `application/json` (RFC 9110, 12.5.1)."""
    if accept is None or not accept.strip():
        return True
    best, quality = -1, 0.0
    for part in accept.split(","):
        media, *parameters = (p.strip().lower() for p in part.split(";"))
        rank = {"*/*": 0, "application/*": 1, "application/json": 2}.get(media, -1)
        if rank >= 0 and rank >= best:
            best, quality = rank, _quality(parameters)
    return best >= 0 and quality > 0


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _parse_json(body: bytes, max_instances: int) -> Asked:
    record = _json_object(body)
    if unknown := sorted(set(record) - {"url", "instances", "top"}):
        raise RequestError(f"The JSON holds {unknown[0][:100]!r}; it may hold url, instances, top.")
    if ("url" in record) == ("instances" in record):
        raise RequestError('The JSON must hold either "url" or "instances".')
    top = parse_top(record["top"]) if "top" in record else None
    if "url" in record:
        if not isinstance(record["url"], str):
            raise RequestError('"url" must be a string.')
        return Asked((Url(record["url"]),), many=False, top=top)
    instances = record["instances"]
    if not isinstance(instances, list) or not instances:
        raise RequestError('"instances" must be a list with at least one photo in base64.')
    if len(instances) > max_instances:
        raise RequestError(
            f"The request holds {len(instances):,} photos; at most {max_instances:,} are taken.",
            status=413,
        )
    return Asked(tuple(_instance(i) for i in instances), many=True, top=top)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        record = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("The body is not valid JSON.") from error
    if not isinstance(record, dict):
        raise RequestError('The JSON must be an object, such as {"url": "https://…"}.')
    return record


def _instance(value: Any) -> bytes | RequestError:
    """One photo; `{"b64": "…"}`, as TensorFlow Serving has it, is taken too."""
    if isinstance(value, dict) and set(value) == {"b64"}:
        value = value["b64"]
    if not isinstance(value, str):
        return RequestError("An instance must be a string with a photo in base64.")
    try:
        content = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return RequestError("The instance is not valid base64.")
    return content or RequestError("The instance is empty.")
