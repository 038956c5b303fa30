"""Multipart uploads."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence

from houndsight.aws.s3.bodies import PREFIX, Intake, announced_checksum
from houndsight.aws.s3.buckets import owner
from houndsight.aws.s3.checksums import ALGORITHMS, POLYNOMIALS, combine, composite
from houndsight.aws.s3.copies import find_source
from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.headers import (
    encryption_headers,
    iso_time,
    read_condition,
    read_properties,
)
from houndsight.aws.s3.listings import encoder
from houndsight.aws.s3.requests import S3Request, S3Response, xml_response
from houndsight.aws.s3.routes import handles
from houndsight.aws.s3.xml import NAMESPACE, Markup, Node, element, parse
from houndsight.jobs.objects import (
    GivenPart,
    ObjectError,
    ObjectInfo,
    ObjectStore,
    PartInfo,
    Properties,
    UploadInfo,
)

__all__ = ["PartIntake"]

MOST = 1000
CHUNK_BYTES = 1 << 20
_COPY_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})")


class PartIntake:
    """UploadPart: takes the body piece by piece."""

    def __init__(self, store: ObjectStore, request: S3Request, size: int) -> None:
        """Find the part's place.

        Raises:
            AwsError: or ObjectError: NoSuchUpload …
        """
        self._store = store
        self._upload = _upload(store, request)
        self._number = request.number("partNumber", 0)
        headers = _with_algorithm(request, self._upload)
        self._writer = store.uploads.part_writer(self._upload, self._number, size)
        write = self._writer.write
        self._intake = Intake(headers, request.identity, write, insecure=request.insecure)

    def feed(self, data: bytes) -> None:
        """Go on with `data`.

        Raises:
            AwsError: or ObjectError: it cannot be taken.
        """
        self._intake.feed(data)

    def finish(self) -> S3Response:
        """Make the body the part.

        Raises:
            AwsError: or ObjectError: it is not what was promised, or cannot be kept.
        """
        checksums = self._intake.finish()
        part = self._store.uploads.commit_part(self._upload, self._number, self._writer, checksums)
        sums = [(PREFIX + name, value) for name, value in checksums.items()]
        headers = [("etag", f'"{part.etag}"'), *sums]
        return S3Response(headers=[*headers, *encryption_headers(self._upload.properties)])

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()


@handles("CreateMultipartUpload")
def create_upload(store: ObjectStore, request: S3Request) -> S3Response:
    """Begin an upload."""
    algorithm = request.headers.get("x-amz-checksum-algorithm", "").lower()
    if algorithm and algorithm not in ALGORITHMS:
        raise s3_error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    kind = request.headers.get("x-amz-checksum-type", "").upper()
    if not kind:
        kind = "FULL_OBJECT" if algorithm == "crc64nvme" else "COMPOSITE"
    if algorithm and (
        (kind == "FULL_OBJECT" and algorithm not in POLYNOMIALS)
        or (kind == "COMPOSITE" and algorithm == "crc64nvme")
        or kind not in ("FULL_OBJECT", "COMPOSITE")
    ):
        raise s3_error(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.",
        )
    properties = read_properties(request)
    if algorithm:
        properties = dataclasses.replace(properties, checksum_type=kind)
    upload = store.uploads.create(request.bucket, request.key, properties, algorithm)
    headers = encryption_headers(properties)
    if algorithm:
        headers += [(f"{PREFIX}algorithm", algorithm.upper()), (f"{PREFIX}type", kind)]
    result = element(
        "InitiateMultipartUploadResult",
        element("Bucket", request.bucket),
        element("Key", request.key),
        element("UploadId", upload.id),
        namespace=NAMESPACE,
    )
    return xml_response(result, *headers)


@handles("UploadPartCopy")
def upload_part_copy(store: ObjectStore, request: S3Request) -> S3Response:
    """A part from an object or a range of one."""
    upload = _upload(store, request)
    source = find_source(store, request)
    start, length = _copy_range(request, source)
    number = request.number("partNumber", 0)
    with (
        store.uploads.part_writer(upload, number, length) as writer,
        store.open(source.bucket, source.key, start, length) as file,
    ):
        intake = Intake(_checksum_header(upload), request.identity, writer.write, insecure=True)
        while chunk := file.read(CHUNK_BYTES):
            intake.feed(chunk)
        if writer.size != length:
            raise ObjectError("OperationAborted", "The source was replaced while being copied.")
        checksums = intake.finish()
        part = store.uploads.commit_part(upload, number, writer, checksums)
    sums = [element(f"Checksum{name.upper()}", value) for name, value in checksums.items()]
    result = element(
        "CopyPartResult",
        element("LastModified", iso_time(part.modified)),
        element("ETag", f'"{part.etag}"'),
        *sums,
        namespace=NAMESPACE,
    )
    return xml_response(result, *encryption_headers(upload.properties))


@handles("CompleteMultipartUpload")
def complete_upload(store: ObjectStore, request: S3Request) -> S3Response:
    """Make the parts one object."""
    nodes = parse(request.body, "CompleteMultipartUpload").all("Part")
    given = [GivenPart(_number(node), node.get("ETag").strip('"')) for node in nodes]
    try:
        upload = _upload(store, request)
    except ObjectError as error:
        if error.code != "NoSuchUpload":
            raise
        info = _completed_before(store, request, given)
        if info is None:
            raise
    else:
        parts = store.uploads.chosen(upload, given)
        _check_part_checksums(nodes, parts)
        properties = _whole_properties(request, upload, parts)
        info = store.uploads.complete(upload, parts, properties, read_condition(request))
    checksums = info.properties.checksums
    sums = [element(f"Checksum{name.upper()}", value) for name, value in checksums.items()]
    if sums:
        sums.append(element("ChecksumType", info.properties.checksum_type))
    result = element(
        "CompleteMultipartUploadResult",
        element("Location", f"http://{request.headers.get('host', '')}{request.path}"),
        element("Bucket", request.bucket),
        element("Key", request.key),
        element("ETag", f'"{info.etag}"'),
        *sums,
        namespace=NAMESPACE,
    )
    return xml_response(result, *encryption_headers(info.properties))


@handles("AbortMultipartUpload")
def abort_upload(store: ObjectStore, request: S3Request) -> S3Response:
    """Forget an upload."""
    store.uploads.abort(_upload(store, request))
    return S3Response(status=204)


@handles("ListParts")
def list_parts(store: ObjectStore, request: S3Request) -> S3Response:
    """The parts of an upload, page by page."""
    upload, encode = _upload(store, request), encoder(request)
    limit = min(request.number("max-parts", MOST), MOST)
    after = request.number("part-number-marker", 0)
    parts, more = store.uploads.parts(upload, after=after, limit=limit)
    content = [
        element("Bucket", request.bucket),
        element("Key", encode(request.key)),
        element("UploadId", upload.id),
        owner(store.account, "Initiator"),
        owner(store.account),
        element("StorageClass", "STANDARD"),
        element("PartNumberMarker", str(after)),
        element("NextPartNumberMarker", str(parts[-1].number if parts else after)),
        element("MaxParts", str(limit)),
        element("IsTruncated", "true" if more and limit else "false"),
    ]
    if upload.checksum:
        content.append(element("ChecksumAlgorithm", upload.checksum.upper()))
        content.append(element("ChecksumType", upload.properties.checksum_type))
    content += map(_part, parts)
    return xml_response(element("ListPartsResult", *content, namespace=NAMESPACE))


@handles("ListMultipartUploads")
def list_uploads(store: ObjectStore, request: S3Request) -> S3Response:
    """The uploads of a bucket, page by page."""
    query, encode = request.query, encoder(request)
    limit = min(request.number("max-uploads", MOST), MOST)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    if delimiter:
        raise s3_error(
            "NotImplemented",
            "Houndsight does not implement ListMultipartUploads of s3 with a delimiter.",
        )
    marker = query.get("key-marker", "")
    # Without an id, everything behind the key: no id is longer than this.
    after = (marker, query.get("upload-id-marker") or ("~" * 100 if marker else ""))
    uploads, more = store.uploads.list(request.bucket, prefix, after=after, limit=limit)
    content = [
        element("Bucket", request.bucket),
        element("KeyMarker", encode(marker)),
        element("UploadIdMarker", query.get("upload-id-marker", "")),
        element("Prefix", encode(prefix)),
        element("MaxUploads", str(limit)),
        element("IsTruncated", "true" if more and limit else "false"),
    ]
    if more and uploads:
        content.append(element("NextKeyMarker", encode(uploads[-1].key)))
        content.append(element("NextUploadIdMarker", uploads[-1].id))
    if query.get("encoding-type"):
        content.append(element("EncodingType", "url"))
    content += [_listed(store, upload, encode(upload.key)) for upload in uploads]
    return xml_response(element("ListMultipartUploadsResult", *content, namespace=NAMESPACE))


def _listed(store: ObjectStore, upload: UploadInfo, key: str) -> Markup:
    return element(
        "Upload",
        element("Key", key),
        element("UploadId", upload.id),
        owner(store.account, "Initiator"),
        owner(store.account),
        element("StorageClass", "STANDARD"),
        element("Initiated", iso_time(upload.created)),
    )


def _upload(store: ObjectStore, request: S3Request) -> UploadInfo:
    return store.uploads.get(request.bucket, request.key, request.query.get("uploadId", ""))


def _with_algorithm(request: S3Request, upload: UploadInfo) -> dict[str, str]:
    """The part's headers; its checksum is computed also when only the upload announced one."""
    headers = dict(request.headers)
    sent = announced_checksum(headers)
    if upload.checksum and sent and sent != upload.checksum:
        raise s3_error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.checksum}, actual"
            f" checksum Type: {sent}",
        )
    return headers if sent else {**headers, **_checksum_header(upload)}


def _checksum_header(upload: UploadInfo) -> dict[str, str]:
    return {"x-amz-sdk-checksum-algorithm": upload.checksum} if upload.checksum else {}


def _copy_range(request: S3Request, source: ObjectInfo) -> tuple[int, int]:
    text = request.headers.get("x-amz-copy-source-range")
    if text is None:
        return 0, source.size
    matched = _COPY_RANGE.fullmatch(text) if text.isascii() else None
    if matched is None or int(matched[1]) > int(matched[2]):
        raise s3_error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and"
            " last are the zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text[:100],
        )
    first, last = int(matched[1]), int(matched[2])
    if last >= source.size:
        raise s3_error(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {source.size}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text[:100],
        )
    return first, last - first + 1


def _number(node: Node) -> int:
    text = node.get("PartNumber").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise s3_error(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published"
            " schema",
        )
    return int(text)


def _completed_before(
    store: ObjectStore, request: S3Request, given: list[GivenPart]
) -> ObjectInfo | None:
    """The object, when this very upload was completed already and the answer was lost."""
    try:
        info = store.head(request.bucket, request.key)
        raw = bytes.fromhex("".join(part.etag for part in given))
    except (ObjectError, ValueError):
        return None
    etag = f"{hashlib.md5(raw, usedforsecurity=False).hexdigest()}-{len(given)}"
    return info if given and info.etag == etag else None


def _check_part_checksums(nodes: list[Node], parts: Sequence[PartInfo]) -> None:
    for node, part in zip(nodes, parts, strict=True):
        for name, value in part.checksums.items():
            told = node.get(f"Checksum{name.upper()}")
            if told and told != value:
                raise s3_error(
                    "InvalidPart",
                    "One or more of the specified parts could not be found. The part may not have"
                    " been uploaded, or the specified entity tag may not match the part's entity"
                    " tag.",
                )


def _whole_properties(
    request: S3Request, upload: UploadInfo, parts: Sequence[PartInfo]
) -> Properties:
    """The upload's properties with the checksum of the whole, compared with the request's."""
    size = sum(part.size for part in parts)
    told_size = request.headers.get("x-amz-mp-object-size")
    if told_size is not None and told_size != str(size):
        raise s3_error(
            "InvalidRequest",
            "The provided 'x-amz-mp-object-size' header value does not match what was computed.",
        )
    name = upload.checksum
    if not name or not all(name in part.checksums for part in parts):
        return dataclasses.replace(upload.properties, checksum_type="FULL_OBJECT")
    if upload.properties.checksum_type == "FULL_OBJECT":
        whole = combine(name, [(part.checksums[name], part.size) for part in parts])
    else:
        whole = composite(name, [part.checksums[name] for part in parts])
    told = request.headers.get(PREFIX + name)
    if told is not None and told.partition("-")[0] != whole.partition("-")[0]:
        raise s3_error(
            "BadDigest", f"The {name} you specified did not match the calculated checksum."
        )
    return dataclasses.replace(upload.properties, checksums={name: whole})


def _part(part: PartInfo) -> Markup:
    return element(
        "Part",
        element("PartNumber", str(part.number)),
        element("LastModified", iso_time(part.modified)),
        element("ETag", f'"{part.etag}"'),
        element("Size", str(part.size)),
        *(element(f"Checksum{name.upper()}", v) for name, v in part.checksums.items()),
    )
