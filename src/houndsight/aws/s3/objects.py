"""Operations on objects: put, get, head, delete."""

from __future__ import annotations

import dataclasses

from houndsight.aws.s3.bodies import Intake
from houndsight.aws.s3.errors import from_store, s3_error
from houndsight.aws.s3.headers import (
    checksum_headers,
    encryption_headers,
    iso_time,
    object_headers,
    read_condition,
    read_properties,
)
from houndsight.aws.s3.ranges import check_read, part_range, read_range
from houndsight.aws.s3.requests import S3Request, S3Response, xml_response
from houndsight.aws.s3.routes import handles
from houndsight.aws.s3.xml import NAMESPACE, Markup, Node, element, parse
from houndsight.aws.service import AwsError
from houndsight.jobs.objects import ObjectError, ObjectInfo, ObjectStore
from houndsight.jobs.objects.names import encode_key

__all__ = ["ObjectIntake"]

MOST_DELETED = 1000
SMALL_BYTES = 256 * 1024
"""Up to this size an object is read together with its row, in one step."""


class ObjectIntake:
    """PutObject: takes the body piece by piece."""

    def __init__(self, store: ObjectStore, request: S3Request, _: int) -> None:
        """Check all that can be checked before the body.

        Raises:
            AwsError: or ObjectError: the object cannot be put.
        """
        self._store, self._request = store, request
        self._properties = read_properties(request)
        self._condition = read_condition(request)
        self._writer = store.writer(request.bucket, request.key)
        self._intake = Intake(
            request.headers, request.identity, self._writer.write, insecure=request.insecure
        )

    def feed(self, data: bytes) -> None:
        """Go on with `data`.

        Raises:
            AwsError: or ObjectError: it cannot be taken.
        """
        self._intake.feed(data)

    def finish(self) -> S3Response:
        """Make the body the object.

        Raises:
            AwsError: or ObjectError: it is not what was promised, or cannot be kept.
        """
        checksums = self._intake.finish()
        properties = dataclasses.replace(self._properties, checksums=checksums)
        request = self._request
        info = self._store.commit(
            self._writer, request.bucket, request.key, properties, self._condition
        )
        found = [("etag", f'"{info.etag}"'), *checksum_headers(properties)]
        return S3Response(headers=[*found, *encryption_headers(properties)])

    def close(self) -> None:
        """Let go of the file; unless it was kept it is deleted."""
        self._writer.close()


@handles("GetObject")
def get_object(store: ObjectStore, request: S3Request) -> S3Response:
    """An object, a range of it or one of its parts."""
    check_version(request)
    info, file = store.open_with_info(request.bucket, request.key)
    try:
        response = _read_answer(request, info)
        if response.length > SMALL_BYTES:
            response.file = file
            return response
        file.seek(response.start)
        response.body = file.read(response.length)
        if len(response.body) < response.length:
            raise ObjectError("InternalError", f"The object's file {info.blob} is too short.")
    finally:
        if "response" not in locals() or response.file is None:
            file.close()
    return response


@handles("HeadObject")
def head_object(store: ObjectStore, request: S3Request) -> S3Response:
    """What GetObject says, without the object."""
    check_version(request)
    return _read_answer(request, store.head(request.bucket, request.key))


@handles("DeleteObject")
def delete_object(store: ObjectStore, request: S3Request) -> S3Response:
    """Delete an object, if it is there."""
    version = request.query.get("versionId", "null")
    if version == "null":
        store.delete(request.bucket, request.key, read_condition(request))
    return S3Response(status=204)


@handles("DeleteObjects")
def delete_objects(store: ObjectStore, request: S3Request) -> S3Response:
    """Delete up to 1,000 objects in one commit."""
    wanted = parse(request.body, "Delete")
    nodes = wanted.all("Object")
    if not 0 < len(nodes) <= MOST_DELETED:
        raise s3_error(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published"
            " schema",
        )
    store.head_bucket(request.bucket)
    done, failed = _delete_each(store, request.bucket, nodes)
    if wanted.get("Quiet").strip().lower() == "true":
        done = []
    return xml_response(element("DeleteResult", *done, *failed, namespace=NAMESPACE))


@handles("GetObjectAttributes")
def get_attributes(store: ObjectStore, request: S3Request) -> S3Response:
    """The attributes that the request names."""
    check_version(request)
    info = store.head(request.bucket, request.key)
    asked = {name.strip() for name in request.headers.get("x-amz-object-attributes", "").split(",")}
    known = _attributes(info)
    if not asked <= {*known, "Checksum", "ObjectParts"}:
        raise s3_error("InvalidArgument", "Invalid attribute name specified.")
    content = [value for name, value in known.items() if name in asked]
    modified = object_headers(info, {})[1]
    return xml_response(
        element("GetObjectAttributesResponse", *content, namespace=NAMESPACE), modified
    )


def check_version(request: S3Request) -> None:
    """Every object has one version, `null`.

    Raises:
        AwsError: NoSuchVersion.
    """
    version = request.query.get("versionId", "null")
    if version != "null":
        raise s3_error(
            "NoSuchVersion",
            "The specified version does not exist: Houndsight keeps no versions.",
            Key=request.key,
            VersionId=version[:200],
        )


def _read_answer(request: S3Request, info: ObjectInfo) -> S3Response:
    """Status and headers of a read, and which stretch is asked for."""
    check_read(request.headers, info)
    part, asked = request.query.get("partNumber"), request.headers.get("range")
    stretch = part_range(info, part) if part is not None else read_range(asked, info.size)
    headers = object_headers(info, request.query)
    if part is not None and info.properties.part_sizes:
        headers.append(("x-amz-mp-parts-count", str(len(info.properties.part_sizes))))
    if stretch is None:
        if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers += checksum_headers(info.properties)
        return S3Response(headers=headers, length=info.size)
    # The stored checksum is of the whole: none on a part of it.
    start, length = stretch
    headers.append(("content-range", f"bytes {start}-{start + length - 1}/{info.size}"))
    return S3Response(status=206, headers=headers, start=start, length=length)


def _delete_each(
    store: ObjectStore, bucket: str, nodes: list[Node]
) -> tuple[list[Markup], list[Markup]]:
    keys, done, failed = [], [], []
    for node in nodes:
        key = node.get("Key")
        try:
            encode_key(key)
            _check_given(store, bucket, key, node)
        except ObjectError as error:
            failed.append(_deletion_error(key, from_store(error)))
        except AwsError as error:
            failed.append(_deletion_error(key, error))
        else:
            keys.append(key)
            done.append(element("Deleted", element("Key", key)))
    store.delete_many(bucket, keys)
    return done, failed


def _check_given(store: ObjectStore, bucket: str, key: str, node: Node) -> None:
    if node.get("VersionId", "null") != "null":
        raise s3_error("NoSuchVersion", "Houndsight keeps no versions.")
    etag = node.get("ETag")
    if etag and etag.strip('"') not in ("*", store.head(bucket, key).etag):
        raise ObjectError.refused("ETag")


def _deletion_error(key: str, error: AwsError) -> Markup:
    return element(
        "Error",
        element("Key", key),
        element("Code", error.code),
        element("Message", error.message),
    )


def _attributes(info: ObjectInfo) -> dict[str, Markup]:
    properties = info.properties
    known = {
        "ETag": element("ETag", info.etag),
        "StorageClass": element(
            "StorageClass", properties.headers.get("x-amz-storage-class", "STANDARD")
        ),
        "ObjectSize": element("ObjectSize", str(info.size)),
    }
    if properties.checksums:
        values = [element(f"Checksum{n.upper()}", v) for n, v in properties.checksums.items()]
        kind = element("ChecksumType", properties.checksum_type)
        known["Checksum"] = element("Checksum", *values, kind)
    if properties.part_sizes:
        count = element("PartsCount", str(len(properties.part_sizes)))
        known["ObjectParts"] = element("ObjectParts", count)
    return known


def copied_at(info: ObjectInfo) -> list[Markup]:
    """ETag and time of a copy."""
    return [
        element("LastModified", iso_time(info.modified)),
        element("ETag", f'"{info.etag}"'),
    ]
