"""An object's properties as headers: from a request into the store, from there into an answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.header import Header, decode_header, make_header
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import parse_qsl

from houndsight.aws.s3.bodies import PREFIX
from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.requests import Headers, S3Request
from houndsight.jobs.objects import Condition, ObjectInfo, Properties
from houndsight.jobs.objects.records import DEFAULT_CONTENT_TYPE

__all__ = [
    "checksum_headers",
    "encryption_headers",
    "iso_time",
    "object_headers",
    "parse_http_time",
    "read_condition",
    "read_properties",
    "read_tags",
]

META = "x-amz-meta-"
MAX_META_BYTES = 2048
KEPT = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
)
OVERRIDES = {
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-content-type": "content-type",
    "response-expires": "expires",
}


def read_properties(request: S3Request) -> Properties:
    """What the headers say of the object that is being written.

    Raises:
        AwsError: MetadataTooLarge, InvalidTag, or NotImplemented: a key of the client's own.
    """
    headers = request.headers
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        raise s3_error(
            "NotImplemented",
            "Houndsight does not encrypt with keys that the client brings (SSE-C).",
        )
    kept = {name: headers[name] for name in KEPT if headers.get(name)}
    encoding = _without_chunked(kept.pop("content-encoding", ""))
    if encoding:
        kept["content-encoding"] = encoding
    if kept.get("x-amz-storage-class") == "STANDARD":
        del kept["x-amz-storage-class"]
    return Properties(
        content_type=headers.get("content-type") or DEFAULT_CONTENT_TYPE,
        metadata=_metadata(headers),
        headers=kept,
        tags=read_tags(headers.get("x-amz-tagging", "")),
    )


def object_headers(info: ObjectInfo, query: Mapping[str, str]) -> Headers:
    """What GetObject and HeadObject say of an object, its length left out.

    Raises:
        AwsError: InvalidArgument: a `response-…` of the query cannot be a header.
    """
    properties = info.properties
    headers = {"content-type": properties.content_type, **properties.headers}
    for name, header in OVERRIDES.items():
        if name in query:
            headers[header] = _printable(name, query[name])
    found = [
        ("etag", f'"{info.etag}"'),
        ("last-modified", formatdate(info.modified, usegmt=True)),
        ("accept-ranges", "bytes"),
        *headers.items(),
        *((META + name, _ascii(value)) for name, value in properties.metadata.items()),
    ]
    if properties.tags:
        found.append(("x-amz-tagging-count", str(len(properties.tags))))
    return found


def checksum_headers(properties: Properties) -> Headers:
    """The stored checksum."""
    if not properties.checksums:
        return []
    found = [(PREFIX + name, value) for name, value in properties.checksums.items()]
    return [*found, ("x-amz-checksum-type", properties.checksum_type)]


def encryption_headers(properties: Properties) -> Headers:
    """What the client asked for, given back."""
    name = "x-amz-server-side-encryption"
    return [(n, v) for n, v in properties.headers.items() if n.startswith(name)]


def read_condition(request: S3Request) -> Condition:
    """The condition of a write.

    Raises:
        AwsError: NotImplemented: S3 knows `If-None-Match: *` alone.
    """
    none_match = request.headers.get("if-none-match")
    if none_match is not None and none_match.strip() != "*":
        raise s3_error(
            "NotImplemented",
            "A header you provided implies functionality that is not implemented: If-None-Match"
            " of a write takes * alone.",
            Header="If-None-Match",
        )
    match = request.headers.get("if-match")
    return Condition(
        if_match=None if match is None else match.strip().strip('"'),
        if_none_match=none_match is not None,
    )


def read_tags(text: str) -> dict[str, str]:
    """Tags as a header holds them: `a=1&b=2`.

    Raises:
        AwsError: InvalidArgument or InvalidTag.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise s3_error("InvalidArgument", "The header 'x-amz-tagging' is no query.") from error
    return check_tags(pairs)


def check_tags(pairs: list[tuple[str, str]], *, most: int = 10) -> dict[str, str]:
    """Tags by name.

    Raises:
        AwsError: InvalidTag, or BadRequest: there are too many.
    """
    tags = dict(pairs)
    if len(tags) < len(pairs):
        raise s3_error("InvalidTag", "Cannot provide multiple Tags with the same key")
    if len(tags) > most:
        raise s3_error("BadRequest", f"Object tags cannot be greater than {most}")
    for name, value in tags.items():
        if not name or len(name) > 128:
            raise s3_error("InvalidTag", "The TagKey you have provided is invalid")
        if len(value) > 256:
            raise s3_error("InvalidTag", "The TagValue you have provided is invalid")
    return tags


def iso_time(seconds: float) -> str:
    """As times stand in documents."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def parse_http_time(text: str) -> float | None:
    """Seconds of the epoch; None, as HTTP asks, for what is no time."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    raw = {name[len(META) :]: value for name, value in headers.items() if name.startswith(META)}
    if sum(len(name) + len(value) for name, value in raw.items()) > MAX_META_BYTES:
        raise s3_error(
            "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"
        )
    return {name: _unicode(value) for name, value in raw.items() if name}


def _unicode(value: str) -> str:
    """A header's value: UTF-8, RFC 2047 words, or what it is."""
    try:
        value = value.encode("latin-1").decode()
    except UnicodeError:
        return value
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (ValueError, LookupError, UnicodeError):
        return value


def _ascii(value: str) -> str:
    """A value for a header: RFC 2047 words where it is not ASCII, as S3 writes them."""
    if value.isascii() and value.isprintable():
        return value
    return Header(value, "utf-8", maxlinelen=10_000).encode(linesep="")


def _without_chunked(encoding: str) -> str:
    kept = [part.strip() for part in encoding.split(",")]
    return ",".join(part for part in kept if part and part.lower() != "aws-chunked")


def _printable(name: str, value: str) -> str:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        value = value.encode().decode("latin-1")
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise s3_error("InvalidArgument", f"{name} cannot be a header.", ArgumentName=name)
    return value
