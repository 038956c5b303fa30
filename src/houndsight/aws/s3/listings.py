"""Listing objects: version 1, version 2, and as versions, of which each object has one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from urllib.parse import quote

from houndsight.aws.s3.buckets import owner
from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.headers import iso_time
from houndsight.aws.s3.requests import S3Request, S3Response, xml_response
from houndsight.aws.s3.routes import handles
from houndsight.aws.s3.xml import NAMESPACE, Markup, element
from houndsight.jobs.objects import Listing, ObjectInfo, ObjectStore

__all__ = ["encoder", "prefixes"]

MOST = 1000
NOTHING = Listing([], [], None)


def encoder(request: S3Request) -> Callable[[str], str]:
    """How keys are written: plain, or with `encoding-type=url` percent-encoded.

    Raises:
        AwsError: InvalidArgument: an encoding that S3 does not know.
    """
    kind = request.query.get("encoding-type", "")
    if kind not in ("", "url"):
        raise s3_error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=kind[:100],
        )
    return (lambda text: quote(text, safe="/")) if kind else str


def prefixes(found: Listing, encode: Callable[[str], str]) -> list[Markup]:
    """The common prefixes of a page."""
    return [
        element("CommonPrefixes", element("Prefix", encode(prefix))) for prefix in found.prefixes
    ]


@handles("ListObjectsV2")
def list_objects_v2(store: ObjectStore, request: S3Request) -> S3Response:
    """A page of objects, after a token or a key."""
    query, encode = request.query, encoder(request)
    token = query.get("continuation-token")
    after = query.get("start-after", "") if token is None else _read_token(token)
    limit, page = _page(store, request, after)
    owned = query.get("fetch-owner", "").lower() == "true"
    content = [
        element("Name", request.bucket),
        element("Prefix", encode(query.get("prefix", ""))),
        element("KeyCount", str(len(page.objects) + len(page.prefixes))),
        element("MaxKeys", str(limit)),
        element("IsTruncated", _bool(page.next is not None)),
        *_optional(request, "delimiter", "Delimiter", encode),
        *_optional(request, "start-after", "StartAfter", encode),
        *_optional(request, "continuation-token", "ContinuationToken", str),
        *_optional(request, "encoding-type", "EncodingType", str),
    ]
    if page.next is not None:
        content.append(element("NextContinuationToken", _write_token(page.next)))
    content += [_object(store, info, encode, owned=owned) for info in page.objects]
    content += prefixes(page, encode)
    return xml_response(element("ListBucketResult", *content, namespace=NAMESPACE))


@handles("ListObjects")
def list_objects(store: ObjectStore, request: S3Request) -> S3Response:
    """A page of objects, after a marker."""
    query, encode = request.query, encoder(request)
    limit, page = _page(store, request, query.get("marker", ""))
    content = [
        element("Name", request.bucket),
        element("Prefix", encode(query.get("prefix", ""))),
        element("Marker", encode(query.get("marker", ""))),
        element("MaxKeys", str(limit)),
        element("IsTruncated", _bool(page.next is not None)),
        *_optional(request, "delimiter", "Delimiter", encode),
        *_optional(request, "encoding-type", "EncodingType", str),
    ]
    if page.next is not None and query.get("delimiter"):
        content.append(element("NextMarker", encode(page.next)))
    content += [_object(store, info, encode, owned=True) for info in page.objects]
    content += prefixes(page, encode)
    return xml_response(element("ListBucketResult", *content, namespace=NAMESPACE))


@handles("ListObjectVersions")
def list_versions(store: ObjectStore, request: S3Request) -> S3Response:
    """A page of objects, each with its only version, `null`."""
    query, encode = request.query, encoder(request)
    limit, page = _page(store, request, query.get("key-marker", ""))
    content = [
        element("Name", request.bucket),
        element("Prefix", encode(query.get("prefix", ""))),
        element("KeyMarker", encode(query.get("key-marker", ""))),
        element("VersionIdMarker", query.get("version-id-marker", "")),
        element("MaxKeys", str(limit)),
        element("IsTruncated", _bool(page.next is not None)),
        *_optional(request, "delimiter", "Delimiter", encode),
        *_optional(request, "encoding-type", "EncodingType", str),
    ]
    if page.next is not None:
        content.append(element("NextKeyMarker", encode(page.next)))
        content.append(element("NextVersionIdMarker", "null"))
    content += [_version(store, info, encode) for info in page.objects]
    content += prefixes(page, encode)
    return xml_response(element("ListVersionsResult", *content, namespace=NAMESPACE))


def _page(store: ObjectStore, request: S3Request, after: str) -> tuple[int, Listing]:
    query = request.query
    limit = min(request.number("max-keys", MOST), MOST)
    store.head_bucket(request.bucket)
    if not limit:
        return limit, NOTHING
    found = store.list(
        request.bucket,
        query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        after=after,
        limit=limit,
    )
    return limit, found


def _object(
    store: ObjectStore, info: ObjectInfo, encode: Callable[[str], str], *, owned: bool
) -> Markup:
    content = [element("Key", encode(info.key)), *_facts(info)]
    if owned:
        content.append(owner(store.account))
    return element("Contents", *content)


def _version(store: ObjectStore, info: ObjectInfo, encode: Callable[[str], str]) -> Markup:
    return element(
        "Version",
        element("Key", encode(info.key)),
        element("VersionId", "null"),
        element("IsLatest", "true"),
        *_facts(info),
        owner(store.account),
    )


def _facts(info: ObjectInfo) -> list[Markup]:
    checksums = [element("ChecksumAlgorithm", name.upper()) for name in info.properties.checksums]
    if checksums:
        checksums.append(element("ChecksumType", info.properties.checksum_type))
    return [
        element("LastModified", iso_time(info.modified)),
        element("ETag", f'"{info.etag}"'),
        *checksums,
        element("Size", str(info.size)),
        element("StorageClass", info.properties.headers.get("x-amz-storage-class", "STANDARD")),
    ]


def _optional(
    request: S3Request, parameter: str, name: str, encode: Callable[[str], str]
) -> list[Markup]:
    value = request.query.get(parameter, "")
    return [element(name, encode(value))] if value else []


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _write_token(last: str) -> str:
    return base64.urlsafe_b64encode(b"1" + last.encode()).decode()


def _read_token(token: str) -> str:
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        if raw[:1] == b"1":
            return raw[1:].decode()
    except (binascii.Error, ValueError):
        pass
    raise s3_error(
        "InvalidArgument",
        "The continuation token provided is incorrect",
        ArgumentName="continuation-token",
    )
