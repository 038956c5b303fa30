"""A body on its way into the store: decoded, digested and compared with what was promised."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping

from houndsight.aws.s3.checksums import ALGORITHMS, Checksum, make_checksum
from houndsight.aws.s3.chunked import ChunkDecoder, ChunkSigner
from houndsight.aws.s3.errors import s3_error
from houndsight.aws.signature import Identity, check_payload

__all__ = ["MAX_BODY_BYTES", "Intake", "announced_checksum", "body_size"]

MAX_BODY_BYTES = 5 << 30
"""S3's limit for one request."""
STREAMING = "STREAMING-"
PREFIX = "x-amz-checksum-"


class Intake:
    """Takes a body piece by piece; hands its content to `sink`; at the end says if it is whole.

    Checked are, where the request promises them: its signed SHA-256 or the chunks' signatures,
    `Content-MD5`, `x-amz-checksum-*` in a header or a trailer, and the decoded length.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        identity: Identity,
        sink: Callable[[bytes], None],
        *,
        insecure: bool = False,
    ) -> None:
        """Read the promises.

        Raises:
            AwsError: one cannot be read.
        """
        self._headers, self._identity, self._sink = headers, identity, sink
        self.size = 0
        """Bytes of content so far."""
        self._md5 = _promised_md5(headers)
        self._algorithm = announced_checksum(headers)
        self._digests: dict[str, Checksum] = {}
        if self._md5 is not None:
            self._digests["md5"] = hashlib.md5(usedforsecurity=False)
        if self._algorithm:
            self._digests[self._algorithm] = make_checksum(self._algorithm)
        streaming = identity.payload_hash.startswith(STREAMING)
        self._check_hash = not (insecure or streaming or identity.payload_hash[:1] == "U")
        if self._check_hash:
            self._digests.setdefault("sha256", hashlib.sha256())
        self._decoder = self._make_decoder(insecure) if streaming else None

    def feed(self, data: bytes) -> None:
        """Go on with `data`, as it came over the wire.

        Raises:
            AwsError: a chunk is wrong.
        """
        if self._decoder is None:
            self._take(data)
        else:
            self._decoder.feed(data)

    def finish(self) -> dict[str, str]:
        """Compare everything; returns the checksum in base64 by its algorithm, if one was meant.

        Raises:
            AwsError: BadDigest, IncompleteBody, XAmzContentSHA256Mismatch …
        """
        trailers: Mapping[str, str] = {}
        if self._decoder is not None:
            self._decoder.finish()
            trailers = self._decoder.trailers
        self._check_size()
        if self._check_hash:
            check_payload(self._identity, self._digests["sha256"].digest().hex())
        if self._md5 is not None and self._digests["md5"].digest() != self._md5:
            raise s3_error(
                "BadDigest", "The Content-MD5 you specified did not match what we received."
            )
        return self._checksum(trailers)

    def _take(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > MAX_BODY_BYTES:
            raise s3_error(
                "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"
            )
        for digest in self._digests.values():
            digest.update(data)
        self._sink(data)

    def _make_decoder(self, insecure: bool) -> ChunkDecoder:
        kind = self._identity.payload_hash
        if kind not in (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        ):
            raise s3_error("NotImplemented", f"Bodies signed as {kind[:80]} are not implemented.")
        signed = "AWS4-HMAC" in kind and not insecure
        return ChunkDecoder(self._take, ChunkSigner(self._identity) if signed else None)

    def _check_size(self) -> None:
        told = self._headers.get("x-amz-decoded-content-length")
        if self._decoder is not None and told is not None and told != str(self.size):
            raise s3_error(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP"
                " header",
            )

    def _checksum(self, trailers: Mapping[str, str]) -> dict[str, str]:
        if not self._algorithm:
            return {}
        computed = base64.b64encode(self._digests[self._algorithm].digest()).decode()
        name = PREFIX + self._algorithm
        told = self._headers.get(name, trailers.get(name))
        if told is not None and not hmac.compare_digest(told.encode(), computed.encode()):
            raise s3_error(
                "BadDigest",
                f"The {self._algorithm.upper()} you specified did not match the calculated"
                " checksum.",
            )
        return {self._algorithm: computed}


def announced_checksum(headers: Mapping[str, str]) -> str:
    """The algorithm that a request means, or an empty string.

    Raises:
        AwsError: it is not known, there are several, or a value is no such checksum.
    """
    values = {name[len(PREFIX) :]: v for name, v in headers.items() if _is_value(name)}
    trailers = headers.get("x-amz-trailer", "").lower().split(",")
    names = [n.strip().removeprefix(PREFIX) for n in trailers if n.strip().startswith(PREFIX)]
    asked = headers.get("x-amz-sdk-checksum-algorithm", headers.get(PREFIX + "algorithm", ""))
    found = {*values, *names} or ({asked.lower()} if asked else set())
    if len(found) > 1:
        raise s3_error(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    algorithm = found.pop() if found else ""
    if algorithm and algorithm not in ALGORITHMS:
        raise s3_error(
            "InvalidRequest",
            "Checksum algorithm provided is unsupported. Please try again with any of the valid"
            " types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    for name, value in values.items():
        if not _has_length(value, ALGORITHMS[name]):
            raise s3_error("InvalidRequest", f"Value for {PREFIX}{name} header is invalid.")
    return algorithm


def body_size(headers: Mapping[str, str]) -> int | None:
    """How many bytes of content are announced.

    Raises:
        AwsError: EntityTooLarge, or MissingContentLength: none, where S3 wants to know.
    """
    told = headers.get("x-amz-decoded-content-length", headers.get("content-length", ""))
    if not told.isascii() or not told.isdigit() or len(told) > 18:
        raise s3_error("MissingContentLength", "You must provide the Content-Length HTTP header.")
    if int(told) > MAX_BODY_BYTES:
        raise s3_error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    return int(told)


def _is_value(name: str) -> bool:
    return name.startswith(PREFIX) and name[len(PREFIX) :] not in ("algorithm", "type", "mode")


def _has_length(value: str, length: int) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == length
    except (binascii.Error, ValueError):
        return False


def _promised_md5(headers: Mapping[str, str]) -> bytes | None:
    value = headers.get("content-md5")
    if value is None:
        return None
    if not _has_length(value, 16):
        raise s3_error("InvalidDigest", "The Content-MD5 you specified was invalid.")
    return base64.b64decode(value)
