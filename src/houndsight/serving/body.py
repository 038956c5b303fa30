"""Reading a request's body up to a limit of bytes and time."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from houndsight.errors import RequestError
from houndsight.serving.settings import ServingSettings

__all__ = ["read_body"]


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
    return bytes(body)


def _too_long(limit: int) -> RequestError:
    return RequestError(f"The body has over {limit:,} bytes, the most allowed.", status=413)
