"""CopyObject, and finding the source of any copy."""

from __future__ import annotations

import base64
import dataclasses
from urllib.parse import unquote

from houndsight.aws.s3.checksums import ALGORITHMS, make_checksum
from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.headers import encryption_headers, read_condition, read_properties
from houndsight.aws.s3.objects import copied_at
from houndsight.aws.s3.ranges import check_read
from houndsight.aws.s3.requests import S3Request, S3Response, xml_response
from houndsight.aws.s3.routes import handles
from houndsight.aws.s3.xml import NAMESPACE, element
from houndsight.jobs.objects import ObjectInfo, ObjectStore, Properties

__all__ = ["find_source"]

SOURCE = "x-amz-copy-source-"


def find_source(store: ObjectStore, request: S3Request) -> ObjectInfo:
    """The object that `x-amz-copy-source` names, if the request's conditions on it hold.

    Raises:
        AwsError: or ObjectError: the header is no such name, NoSuchKey, PreconditionFailed …
    """
    text, _, version = request.headers["x-amz-copy-source"].partition("?versionId=")
    try:
        name = unquote(text.encode("latin-1").decode(), errors="strict").removeprefix("/")
    except UnicodeError as error:
        raise s3_error("InvalidArgument", "The copy source is no UTF-8.") from error
    bucket, _, key = name.partition("/")
    if not bucket or not key:
        raise s3_error(
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName="x-amz-copy-source",
        )
    if version not in ("", "null"):
        raise s3_error("NoSuchVersion", "The specified version does not exist.")
    owner = request.headers.get("x-amz-source-expected-bucket-owner", store.account)
    if owner != store.account:
        raise s3_error("AccessDenied", "Access Denied")
    info = store.head(bucket, key)
    check_read(request.headers, info, prefix=SOURCE)
    return info


@handles("CopyObject")
def copy_object(store: ObjectStore, request: S3Request) -> S3Response:
    """Copy an object; the bytes are shared."""
    source = find_source(store, request)
    properties = _new_properties(store, request, source)
    condition = read_condition(request)
    info = store.copy(source, request.bucket, request.key, properties, condition)
    sums = [element(f"Checksum{n.upper()}", v) for n, v in info.properties.checksums.items()]
    result = element("CopyObjectResult", *copied_at(info), *sums, namespace=NAMESPACE)
    return xml_response(result, *encryption_headers(info.properties))


def _new_properties(store: ObjectStore, request: S3Request, source: ObjectInfo) -> Properties:
    """The source's, or those of the request where its directives say so.

    Raises:
        AwsError: InvalidRequest: nothing would change; InvalidArgument: an unknown directive.
    """
    replaces = _directive(request, "x-amz-metadata-directive")
    retags = _directive(request, "x-amz-tagging-directive")
    given, old = read_properties(request), source.properties
    same = (source.bucket, source.key) == (request.bucket, request.key)
    extra = {name: v for name, v in given.headers.items() if name.startswith("x-amz-")}
    if same and not replaces and not extra:
        raise s3_error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without"
            " changing the object's metadata, storage class, website redirect location or"
            " encryption attributes.",
        )
    kept = {k: v for k, v in old.headers.items() if k != "x-amz-storage-class"}
    properties = given if replaces else dataclasses.replace(old, headers={**kept, **extra})
    tags = given.tags if retags else old.tags
    checksums, kind = _checksums(store, request, source)
    return dataclasses.replace(
        properties, tags=tags, checksums=checksums, checksum_type=kind, part_sizes=()
    )


def _checksums(
    store: ObjectStore, request: S3Request, source: ObjectInfo
) -> tuple[dict[str, str], str]:
    """The source's whole checksum, or the one that the request asks for."""
    properties = source.properties
    whole = properties.checksum_type == "FULL_OBJECT"
    asked = request.headers.get("x-amz-checksum-algorithm", "").lower()
    if not asked or (asked in properties.checksums and whole):
        return (dict(properties.checksums), "FULL_OBJECT") if whole else ({}, "FULL_OBJECT")
    if asked not in ALGORITHMS:
        raise s3_error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    checksum = make_checksum(asked)
    with store.open(source.bucket, source.key) as file:
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
    return {asked: base64.b64encode(checksum.digest()).decode()}, "FULL_OBJECT"


def _directive(request: S3Request, name: str) -> bool:
    value = request.headers.get(name, "COPY")
    if value not in ("COPY", "REPLACE"):
        raise s3_error("InvalidArgument", f"Unknown directive: {value[:40]}.", ArgumentName=name)
    return value == "REPLACE"
