"""Bodies in chunks as AWS's clients send them: `Content-Encoding: aws-chunked`.

    10000;chunk-signature=SIGNATURE CRLF  bytes CRLF  …  0;chunk-signature=SIGNATURE CRLF
    x-amz-checksum-crc32:VALUE CRLF  x-amz-trailer-signature:SIGNATURE CRLF  CRLF

Each signature signs the one before it, the chunk's hash, and so the order of the chunks; the first
builds on the request's own signature. `STREAMING-UNSIGNED-PAYLOAD-TRAILER` has none of them.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from houndsight.aws.s3.errors import s3_error
from houndsight.aws.service import AwsError
from houndsight.aws.signature import EMPTY_SHA256, Identity

__all__ = ["ChunkDecoder", "ChunkSigner"]

MAX_LINE_BYTES = 8192
MAX_CHUNK_BYTES = 1 << 30
MAX_TRAILERS = 16


class ChunkSigner:
    """The chain of signatures of one body."""

    def __init__(self, identity: Identity) -> None:
        self._identity, self._previous = identity, identity.signature

    def check_chunk(self, digest: str, signature: str) -> None:
        """Compare a chunk's signature; `digest` is the SHA-256 of its bytes.

        Raises:
            AwsError: SignatureDoesNotMatch.
        """
        self._check("PAYLOAD", f"{EMPTY_SHA256}\n{digest}", signature)

    def check_trailer(self, lines: bytes, signature: str) -> None:
        """Compare the signature of the trailing headers.

        Raises:
            AwsError: SignatureDoesNotMatch.
        """
        self._check("TRAILER", hashlib.sha256(lines).hexdigest(), signature)

    def _check(self, what: str, hashes: str, signature: str) -> None:
        identity = self._identity
        before = f"AWS4-HMAC-SHA256-{what}\n{identity.date}\n{identity.scope}"
        text = f"{before}\n{self._previous}\n{hashes}"
        wanted = hmac.digest(identity.signing_key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(wanted.encode(), signature.encode()):
            raise s3_error(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided for"
                f" a {'chunk' if what == 'PAYLOAD' else 'trailer'} of the body.",
            )
        self._previous = signature


class ChunkDecoder:
    """Takes a body's bytes as they come and hands on what is in the chunks."""

    def __init__(self, sink: Callable[[bytes], None], signer: ChunkSigner | None) -> None:
        self._sink, self._signer = sink, signer
        self._buffer = bytearray()
        self._left = 0
        """Bytes of the present chunk that have not come."""
        self._state = self._header
        self._signature = ""
        self._digest = hashlib.sha256()
        self._lines = bytearray()
        self.trailers: dict[str, str] = {}
        self.done = False

    def feed(self, data: bytes) -> None:
        """Go on with `data`.

        Raises:
            AwsError: IncompleteBody, InvalidChunkSizeError or SignatureDoesNotMatch.
        """
        self._buffer += data
        while self._state():
            pass

    def finish(self) -> None:
        """There is no more.

        Raises:
            AwsError: IncompleteBody: there should be.
        """
        if not self.done:
            raise _incomplete()

    def _header(self) -> bool:
        line = self._line()
        if line is None:
            return False
        size, _, extension = line.partition(b";")
        try:
            self._left = int(size, 16) if size.isalnum() else -1
        except ValueError:
            self._left = -1
        if not 0 <= self._left <= MAX_CHUNK_BYTES:
            raise s3_error("InvalidChunkSizeError", "A chunk's size is not a number in range.")
        self._signature = extension.partition(b"chunk-signature=")[2].decode("latin-1").strip()
        self._digest = hashlib.sha256()
        self._state = self._payload if self._left else self._last
        return True

    def _payload(self) -> bool:
        piece = bytes(self._buffer[: self._left])
        if not piece:
            return False
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        if self._signer is not None:
            self._digest.update(piece)
        self._sink(piece)
        if not self._left:
            self._check()
            self._state = self._end
        return True

    def _end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise _incomplete()
        del self._buffer[:2]
        self._state = self._header
        return True

    def _last(self) -> bool:
        self._check()
        self._state = self._trailer
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.strip().lower(), value.strip()
        if not line:
            self._finish_trailers()
            return False
        if len(self.trailers) >= MAX_TRAILERS:
            raise _incomplete()
        self.trailers[name] = value
        if name != "x-amz-trailer-signature":
            self._lines += f"{name}:{value}\n".encode("latin-1")
        return True

    def _finish_trailers(self) -> None:
        self.done = True
        signature = self.trailers.pop("x-amz-trailer-signature", "")
        if self._signer is not None and self.trailers:
            self._signer.check_trailer(bytes(self._lines), signature)

    def _check(self) -> None:
        if self._signer is not None:
            self._signer.check_chunk(self._digest.hexdigest(), self._signature)

    def _line(self) -> bytes | None:
        if self.done:
            return None
        at = self._buffer.find(b"\r\n", 0, MAX_LINE_BYTES)
        if at < 0:
            if len(self._buffer) >= MAX_LINE_BYTES:
                raise _incomplete()
            return None
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 2]
        return line


def _incomplete() -> AwsError:
    return s3_error(
        "IncompleteBody",
        "The request body terminated unexpectedly or is not in the aws-chunked encoding.",
    )
