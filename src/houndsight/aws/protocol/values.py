"""Single values between the wire and Python: numbers, strings, blobs, moments."""

from __future__ import annotations

import base64
import binascii
import math
from datetime import UTC, datetime
from typing import Any

from houndsight.aws.service import AwsError

__all__ = ["epoch", "iso8601", "moment", "read_scalar", "scalar_of_text", "wrong"]

BITS = {"integer": 31, "long": 63}


def wrong(path: str, why: str) -> AwsError:
    """A value that cannot be read, as AWS names it."""
    return AwsError("SerializationException", f"{path or 'The request'} {why}.")


def read_scalar(kind: str, value: Any, path: str) -> Any:
    """A JSON value as the type that the model calls `kind`.

    Raises:
        AwsError: it is of another type.
    """
    if kind == "string":
        return _string(value, path)
    if kind in BITS:
        if type(value) is not int:
            raise wrong(path, f"must be a whole number, not {_shown(value)}")
        if not -(1 << BITS[kind]) <= value < 1 << BITS[kind]:
            raise wrong(path, f"does not fit into {BITS[kind] + 1} bits")
        return value
    if kind in ("float", "double"):
        return _number(value, path)
    if kind == "boolean":
        if not isinstance(value, bool):
            raise wrong(path, f"must be true or false, not {_shown(value)}")
        return value
    if kind == "timestamp":
        return moment(value, path)
    if kind == "blob":
        return _blob(value, path)
    raise wrong(path, f"has the type {kind}, which is not read here")


def scalar_of_text(kind: str, text: str, path: str) -> Any:
    """The same from text, as forms, headers and query strings have it.

    Raises:
        AwsError: it cannot be read as such.
    """
    try:
        if kind in BITS:
            return read_scalar(kind, int(text), path)
        if kind in ("float", "double"):
            return _number(float(text), path)
    except ValueError as error:
        raise wrong(path, f"must be a number, not {_shown(text)}") from error
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise wrong(path, f"must be true or false, not {_shown(text)}")
        return text.lower() == "true"
    return read_scalar(kind, text, path)


def moment(value: Any, path: str) -> datetime:
    """Epoch seconds, or ISO 8601, as an aware datetime.

    Raises:
        AwsError: it is neither, or lies outside the years 1 to 9999.
    """
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
        return datetime.fromtimestamp(_number(value, path), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise wrong(path, f"must be a time, not {_shown(value)}") from error


def epoch(value: datetime | float) -> float:
    """Seconds since 1970, to the millisecond as AWS tells them."""
    if isinstance(value, datetime):
        value = value.replace(tzinfo=value.tzinfo or UTC).timestamp()
    return round(value, 3)


def iso8601(value: datetime | float) -> str:
    """`2026-11-23T06:00:00.000Z`."""
    at = datetime.fromtimestamp(epoch(value), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise wrong(path, f"must be a string, not {_shown(value)}")
    if "\0" in value:
        raise wrong(path, "holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise wrong(path, "holds half a surrogate pair, which is no character") from error
    return value


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, f"must be a number, not {_shown(value)}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise wrong(path, "must be a finite number")
    return value


def _blob(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(_string(value, path).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise wrong(path, "must be base64") from error


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits
        text = "something longer"
    return text if len(text) <= 60 else f"{text[:57]}…"
