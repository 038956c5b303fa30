"""An S3 request as the operations see it, and their answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import unquote_plus, unquote_to_bytes

from houndsight.aws.hosts import bucket_of_host
from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.xml import Markup, document
from houndsight.aws.signature import Identity

__all__ = ["S3Request", "S3Response", "read_query", "split_path", "xml_response"]

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class S3Request:
    """Who wants what of which bucket and object."""

    method: str
    path: str
    """As it came, percent signs and all."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name."""
    bucket: str
    key: str
    identity: Identity
    insecure: bool = False
    body: bytes = b""
    """Of operations that take a document."""

    def number(self, name: str, default: int, *, largest: int = 2**31 - 1) -> int:
        """A number in the query.

        Raises:
            AwsError: InvalidArgument: it is none, or negative.
        """
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > largest:
            raise s3_error(
                "InvalidArgument",
                f"Provided {name} not an integer or within integer range",
                ArgumentName=name,
                ArgumentValue=text[:100],
            )
        return int(text)


@dataclass
class S3Response:
    """An answer; a body that is not at hand comes from `file`, which is closed afterwards."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    file: BinaryIO | None = None
    start: int = 0
    length: int = 0
    """Of the stretch of `file` to send, bytes; of a HEAD's object without `file`."""


def xml_response(root: Markup, *headers: tuple[str, str]) -> S3Response:
    """An answer that is a document."""
    return S3Response(headers=[("content-type", "application/xml"), *headers], body=document(root))


def read_query(raw: str) -> dict[str, str]:
    """The query's values by name; the first of several counts.

    Raises:
        AwsError: it is no UTF-8.
    """
    values: dict[str, str] = {}
    for part in raw.split("&"):
        if part:
            name, _, value = part.partition("=")
            values.setdefault(_decoded(name), _decoded(value))
    return values


def split_path(raw_path: str, host: str) -> tuple[str, str]:
    """Bucket and key, each empty where the request names none.

    The bucket stands in the path, or before `.s3.localhost` or `.localhost` in the host.

    Raises:
        AwsError: InvalidURI: the path is no UTF-8.
    """
    try:
        path = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError as error:
        raise s3_error("InvalidURI", "Couldn't parse the specified URI.") from error
    path = path.removeprefix("/")
    bucket = bucket_of_host(host)
    if bucket:
        return bucket, path
    bucket, _, key = path.partition("/")
    return bucket, key


def _decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as error:
        raise s3_error("InvalidURI", "Couldn't parse the specified URI.") from error
