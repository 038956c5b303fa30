"""Ranges and conditions of a read: RFC 9110, sections 13 and 14, as far as S3 goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate

from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.headers import parse_http_time
from houndsight.jobs.objects import ObjectInfo

__all__ = ["check_read", "part_range", "read_range"]

_RANGE = re.compile(r"bytes=(\d{0,20})-(\d{0,20})")


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and length of what `Range` asks for; None: everything.

    A header that cannot be read, or asks for several ranges, counts as none, as in S3.

    Raises:
        AwsError: InvalidRange: it begins behind the end.
    """
    matched = _RANGE.fullmatch((header or "").replace(" ", ""))
    if matched is None or matched[0] == "bytes=-" or not header or not header.isascii():
        return None
    first, last = matched[1], matched[2]
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        length = min(int(last) + 1 if last else size, size) - start
    if length <= 0:
        raise s3_error(
            "InvalidRange",
            "The requested range is not satisfiable",
            RangeRequested=header,
            ActualObjectSize=str(size),
        )
    return start, length


def part_range(info: ObjectInfo, text: str) -> tuple[int, int]:
    """First byte and length of a part of an object that came in parts.

    Raises:
        AwsError: InvalidArgument or InvalidPartNumber.
    """
    sizes = info.properties.part_sizes or (info.size,)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= number <= 10_000:
        raise s3_error(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text[:100],
        )
    if number > len(sizes):
        raise s3_error(
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
            PartNumberRequested=text,
            ActualPartCount=str(len(sizes)),
        )
    return sum(sizes[: number - 1]), sizes[number - 1]


def check_read(headers: Mapping[str, str], info: ObjectInfo, *, prefix: str = "") -> None:
    """The conditions of a read, or with `x-amz-copy-source-` those of a copy's source.

    Raises:
        AwsError: PreconditionFailed, or NotModified.
    """
    modified = int(info.modified)
    match = headers.get(f"{prefix}if-match")
    since = _time(headers.get(f"{prefix}if-unmodified-since"))
    if match is not None:
        if not _names(match, info.etag):
            raise _failed("If-Match")
    elif since is not None and modified > since:
        raise _failed("If-Unmodified-Since")
    none_match = headers.get(f"{prefix}if-none-match")
    since = _time(headers.get(f"{prefix}if-modified-since"))
    if none_match is not None:
        changed = not _names(none_match, info.etag)
    else:
        changed = since is None or modified > since
    if not changed:
        if prefix:
            raise _failed("If-None-Match" if none_match is not None else "If-Modified-Since")
        # RFC 9110, 15.4.5: with what tells the client which version it still has.
        raise s3_error(
            "NotModified",
            "Not Modified",
            **{"etag": f'"{info.etag}"', "last-modified": formatdate(info.modified, usegmt=True)},
        )


def _names(header: str, etag: str) -> bool:
    given = [part.strip().removeprefix("W/").strip('"') for part in header.split(",")]
    return "*" in given or etag in given


def _time(text: str | None) -> float | None:
    return None if text is None else parse_http_time(text)


def _failed(condition: str) -> Exception:
    return s3_error(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        Condition=condition,
    )
