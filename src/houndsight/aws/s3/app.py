"""The ASGI application of S3.

A request's way: bucket and key from its path; the signature; the operation; then its body, piece
by piece, and the operation itself, in worker threads, where all that blocks is done. A body that
is larger than `PIECE_BYTES` is hashed and written while the next piece comes; an object is read
while the piece before it is sent. Nothing holds an object whole.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from houndsight.aws.dispatch import lower_headers
from houndsight.aws.presigned_v2 import is_presigned_v2, with_headers_of_query
from houndsight.aws.s3 import buckets, configuration, copies, listings, tagging  # noqa: F401
from houndsight.aws.s3.bodies import Intake, body_size
from houndsight.aws.s3.errors import error_document, from_store, s3_error
from houndsight.aws.s3.objects import ObjectIntake
from houndsight.aws.s3.requests import S3Request, S3Response, read_query, split_path
from houndsight.aws.s3.routes import Handler, operation_of, registered
from houndsight.aws.s3.uploads import PartIntake
from houndsight.aws.service import AwsError
from houndsight.aws.signature import Verifier
from houndsight.jobs.objects import ObjectError, ObjectStore

__all__ = ["S3App"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

THREADS = 32
PIECE_BYTES = 1 << 20
MAX_DOCUMENT_BYTES = 8 << 20
SWEEP_EVERY_S = 3600.0
SILENCE_S = 60.0
"""A client that neither sends nor takes a byte for so long is given up."""
RESPECTED = "x-amz-expected-bucket-owner"
INTAKES: dict[str, Callable[[ObjectStore, S3Request, int], BodyIntake]] = {}
log = logging.getLogger("houndsight.aws.s3")


class BodyIntake(Protocol):
    """An operation whose body is an object's or a part's content."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""

    def finish(self) -> S3Response:
        """The body is whole."""

    def close(self) -> None:
        """Let go, in any case."""


INTAKES |= {"PutObject": ObjectIntake, "UploadPart": PartIntake}


class _GoneError(Exception):
    """The client went away."""


class _Body:
    """A request's body as it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def gone(self) -> None:
        """Returns when the client has gone away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def piece(self) -> bytes:
        """The next `PIECE_BYTES` or a little more; less only at the end, and then nothing.

        Raises:
            AwsError: RequestTimeout: nothing came for a while.
        """
        parts, size = [], 0
        try:
            while not self.ended and size < PIECE_BYTES:
                async with asyncio.timeout(SILENCE_S):
                    message = await self._receive()
                if message["type"] != "http.request":
                    raise _GoneError
                part = message.get("body", b"")
                self.ended = not message.get("more_body", False)
                parts.append(part)
                size += len(part)
        except TimeoutError as error:
            raise s3_error(
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the"
                " timeout period. Idle connections will be closed.",
            ) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)


class S3App:
    """Answers S3's requests from `store`; `verifier` says who may."""

    def __init__(self, store: ObjectStore, verifier: Verifier) -> None:
        self._store, self._verifier = store, verifier
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._sweep_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == "http"
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        body, request_id = _Body(receive), secrets.token_hex(8).upper()
        self._sweep_sometimes()
        try:
            response = await self._respond(scope, path, body, request_id)
        except _GoneError:
            return
        await self._send(scope, response, body, request_id, send)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown()

    def _sweep_sometimes(self) -> None:
        """Now and then delete what killed processes left."""
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY_S
            self._threads.submit(self._sweep)

    def _sweep(self) -> None:
        try:
            swept = self._store.sweep()
        except Exception:
            log.exception("The store's leftovers could not be swept")
        else:
            if swept:
                log.info("Swept %d files that killed processes had left in the store", swept)

    async def _respond(self, scope: Scope, path: str, body: _Body, request_id: str) -> S3Response:
        name = "a request"
        try:
            request = self._identify(scope, path)
            name = operation_of(request)
            return await self._perform(name, request, body)
        except AwsError as error:
            refused = error
        except ObjectError as error:
            refused = from_store(error)
        except (_GoneError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s of s3 failed (request %s)", name, request_id)
            refused = _unforeseen(name, error, request_id)
        if not body.ended and _announces_body(scope) and not _waits(scope):
            # Closing on a client that still sends would take the answer from it.
            with suppress(AwsError):
                await body.piece()
        if refused.code == "InternalError":
            log.error("%s of s3: %s (request %s)", name, refused.message, request_id)
        return _error_response(refused, path, request_id)

    def _identify(self, scope: Scope, path: str) -> S3Request:
        headers = lower_headers(scope["headers"])
        raw_query = scope["query_string"].decode("latin-1")
        method = scope["method"]
        identity = self._verifier.verify(method, path, raw_query, headers, allow_v2=True)
        if is_presigned_v2(raw_query):
            headers = with_headers_of_query(raw_query, headers)
        bucket, key = split_path(path, headers.get("host", ""))
        owner = headers.get(RESPECTED)
        if owner is not None and owner != self._store.account:
            raise s3_error("AccessDenied", "Access Denied")
        return S3Request(
            method=method,
            path=path,
            query=read_query(raw_query),
            headers=headers,
            bucket=bucket,
            key=key,
            identity=identity,
            insecure=self._verifier.insecure,
        )

    async def _perform(self, name: str, request: S3Request, body: _Body) -> S3Response:
        kind = INTAKES.get(name)
        if kind is not None:
            return await self._take(kind, request, body)
        handler = registered(name)
        if request.method in ("GET", "HEAD", "DELETE"):
            return await self._run(handler, self._store, request)
        whole = await self._document(body)
        return await self._run(self._answer, handler, name, request, whole)

    async def _take(
        self,
        kind: Callable[[ObjectStore, S3Request, int], BodyIntake],
        request: S3Request,
        body: _Body,
    ) -> S3Response:
        """Take a body in; a small one in a single step."""
        size = body_size(request.headers)
        piece = await body.piece()
        if body.ended:
            return await self._run(self._take_whole, kind, request, size, piece)
        intake = await self._run(kind, self._store, request, size)
        writing = self._start(intake.feed, b"")
        try:
            while piece:
                writing = self._start(intake.feed, piece)
                piece = await body.piece()
                await asyncio.shield(writing)
            return await self._run(intake.finish)
        finally:
            # A thread may still be writing, when the client went away meanwhile.
            await asyncio.wait([writing])
            writing.exception()
            await self._run(intake.close)

    def _take_whole(
        self,
        kind: Callable[[ObjectStore, S3Request, int], BodyIntake],
        request: S3Request,
        size: int,
        piece: bytes,
    ) -> S3Response:
        intake = kind(self._store, request, size)
        try:
            intake.feed(piece)
            return intake.finish()
        finally:
            intake.close()

    async def _document(self, body: _Body) -> bytes:
        whole = bytearray()
        while not body.ended:
            whole += await body.piece()
            if len(whole) > MAX_DOCUMENT_BYTES:
                raise s3_error("MaxMessageLengthExceeded", "Your request was too big.")
        return bytes(whole)

    def _answer(self, handler: Handler, name: str, request: S3Request, whole: bytes) -> S3Response:
        """Check a document as it came, then do what it asks."""
        headers = request.headers
        if name in ("CompleteMultipartUpload", "CreateMultipartUpload", "CopyObject"):
            # Their checksum headers speak of the object, not of this body.
            headers = {k: v for k, v in headers.items() if not k.startswith("x-amz-checksum-")}
        decoded = bytearray()
        intake = Intake(headers, request.identity, decoded.extend, insecure=request.insecure)
        intake.feed(whole)
        intake.finish()
        fields = {**vars(request), "body": bytes(decoded)}
        return handler(self._store, S3Request(**fields))

    async def _send(
        self, scope: Scope, response: S3Response, body: _Body, request_id: str, send: Send
    ) -> None:
        head = scope["method"] == "HEAD"
        length = response.length or len(response.body)
        headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in response.headers]
        headers.append((b"x-amz-request-id", request_id.encode()))
        if response.status not in (204, 304):
            headers.append((b"content-length", str(length).encode()))
        if not body.ended and _announces_body(scope):
            headers.append((b"connection", b"close"))
        try:
            await _sent(
                send,
                {"type": "http.response.start", "status": response.status, "headers": headers},
            )
            if head or response.file is None:
                content = b"" if head else response.body
                await _sent(send, {"type": "http.response.body", "body": content})
            else:
                await self._send_file(response, body, send)
        finally:
            if response.file is not None:
                response.file.close()

    async def _send_file(self, response: S3Response, body: _Body, send: Send) -> None:
        file, left = response.file, response.length
        assert file is not None
        file.seek(response.start)
        gone = asyncio.ensure_future(body.gone())
        ahead = self._start(file.read, min(PIECE_BYTES, left))
        try:
            while left and not gone.done():
                piece = await asyncio.shield(ahead)
                if not piece:
                    raise RuntimeError("an object's file became shorter while it was being sent")
                left -= len(piece)
                if left:
                    ahead = self._start(file.read, min(PIECE_BYTES, left))
                more = {"type": "http.response.body", "body": piece, "more_body": left > 0}
                await _sent(send, more)
        finally:
            gone.cancel()
            await asyncio.wait([ahead])  # the file is closed next

    def _start(self, work: Callable[..., T], *values: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *values)

    async def _run(self, work: Callable[..., T], *values: Any) -> T:
        return await self._start(work, *values)


def _announces_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in scope["headers"]
    )


def _waits(scope: Scope) -> bool:
    return any(name == b"expect" for name, _ in scope["headers"])


async def _sent(send: Send, message: Message) -> None:
    async with asyncio.timeout(SILENCE_S):
        await send(message)


def _error_response(error: AwsError, path: str, request_id: str) -> S3Response:
    if error.status == 304:
        return S3Response(status=304, headers=list(error.fields.items()))
    content = error_document(error, path, request_id)
    return S3Response(
        status=error.status, headers=[("content-type", "application/xml")], body=content
    )


def _unforeseen(name: str, error: Exception, request_id: str) -> AwsError:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return s3_error(
        "InternalError",
        f"Houndsight failed at {name} of s3: {what[:500]}. The control plane's log has more"
        f" (request {request_id}).",
    )
