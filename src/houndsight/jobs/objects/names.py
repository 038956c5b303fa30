"""Names of buckets, keys and their URIs. A name is never a path: see `blobs`."""

from __future__ import annotations

import re

from houndsight.jobs.objects.errors import ObjectError

__all__ = ["check_bucket_name", "encode_key", "prefix_end", "split_uri"]

MAX_KEY_BYTES = 1024
_BUCKET = re.compile(r"(?!xn--|sthree-)(?!.*\.\.)[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; the key may be empty.

    Raises:
        ObjectError: it is no such URI.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ObjectError("InvalidURI", f"{uri!r} is not an S3 URI; write s3://BUCKET/KEY.")
    return bucket, key


def check_bucket_name(name: str) -> None:
    """S3's rules for new buckets.

    Raises:
        ObjectError: the name breaks one.
    """
    if not _BUCKET.fullmatch(name) or _ADDRESS.fullmatch(name):
        raise ObjectError("InvalidBucketName", "The specified bucket is not valid.", bucket=name)


def encode_key(key: str) -> bytes:
    """A key as it is stored and ordered: UTF-8, one to 1,024 bytes.

    Raises:
        ObjectError: it is too long, empty or no Unicode.
    """
    try:
        raw = key.encode()
    except UnicodeEncodeError as error:
        raise ObjectError("InvalidURI", f"The key {key!r} is not valid Unicode.") from error
    if not raw:
        raise ObjectError("InvalidArgument", "An object needs a key of at least one character.")
    if len(raw) > MAX_KEY_BYTES:
        raise ObjectError("KeyTooLongError", "Your key is too long")
    return raw


def prefix_end(prefix: bytes) -> bytes | None:
    """The first byte string after all that begin with `prefix`; None when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None
