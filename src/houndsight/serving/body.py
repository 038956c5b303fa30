"""Reading a request's body up to a limit of bytes and time, and refusing it so that it is heard."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from houndsight.errors import RequestError
from houndsight.serving.settings import ServingSettings

__all__ = ["LastWord", "read_body"]

REST_BYTES = 64 * 2**20
REST_SECONDS = 5.0
IDLE_SECONDS = 1.0
"""How much of a refused body is still taken, for how long, and how long a pause may be."""


async def read_body(request: Request, settings: ServingSettings) -> bytes:
    """The body, read as it arrives and given up as soon as it is too long or too slow.

    Raises:
        RequestError: 413 over `max_upload_bytes`, 408 over `upload_timeout_s`.
    """
    limit = settings.max_upload_bytes
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and int(declared[:20]) > limit:
        raise _too_long(limit)
    body = bytearray()
    request.state.body_open = True
    try:
        async with asyncio.timeout(settings.upload_timeout_s):
            async for block in request.stream():
                body += block
                if len(body) > limit:
                    raise _too_long(limit)
    except TimeoutError as error:
        raise RequestError(
            f"The body did not arrive within {settings.upload_timeout_s:g} s.", status=408
        ) from error
    request.state.body_open = False
    return bytes(body)


class LastWord(Response):
    """An answer to a request whose body is still coming, after which the connection closes.

    A connection closed on unread bytes is reset, and the client may never see the answer; so the
    answer goes out first, and then a bounded rest of the body is taken and thrown away.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, then drain, then end it."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        # A client that waits to be asked for its body has not begun to send it.
        waits = any(name == b"expect" for name, _ in scope["headers"])
        if scope.get("state", {}).get("body_open", not waits):
            with suppress(TimeoutError):
                await asyncio.wait_for(_drain(receive), REST_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    left = REST_BYTES
    while left > 0:
        message = await asyncio.wait_for(receive(), IDLE_SECONDS)
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        left -= len(message.get("body", b""))


def _too_long(limit: int) -> RequestError:
    return RequestError(f"The body has over {limit:,} bytes, the most allowed.", status=413)
