"""The endpoint as an ASGI application: `GET /ping` and `POST /invocations`.

An answer is `{"predictions": [{"class": …, "probability": …, "top": [{"class": …,
"probability": …}, …]}, …]}` with one entry a photo, in order. Of many `instances` a bad one is
`{"error": …}` in its place; otherwise an error is the status code and `{"error": sentence}`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from houndsight.errors import RequestError
from houndsight.serving.batching import Batcher
from houndsight.serving.body import LastWord, read_body
from houndsight.serving.fetch import Fetcher
from houndsight.serving.handler import Handler
from houndsight.serving.requests import Asked, Url, accepts_json, parse_asked, parse_top
from houndsight.serving.settings import ServingSettings

__all__ = ["Endpoint", "make_app"]


class Endpoint:
    """A handler behind a batcher, decoding threads and a fetcher, and their common life."""

    def __init__(
        self,
        handler: Handler[Any, Any],
        settings: ServingSettings,
        *,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.handler = handler
        self.settings = settings
        self.ready = False
        self._fetcher = fetcher
        self._pool: ThreadPoolExecutor
        self._batcher: Batcher[Any, Any]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the handler, serve, and at the end answer what is under way before closing."""
        settings = self.settings
        self._pool = ThreadPoolExecutor(
            settings.decode_threads or os.cpu_count() or 1, thread_name_prefix="decode"
        )
        self._batcher = Batcher(
            self.handler.predict,
            max_batch=settings.max_batch,
            max_wait_ms=settings.max_wait_ms,
            max_waiting=settings.max_waiting,
        )
        self._fetcher = self._fetcher or Fetcher(settings)
        await asyncio.to_thread(self.handler.load)
        self._batcher.start()
        self.ready = True
        try:
            yield
        finally:
            self.ready = False
            await self._batcher.close()
            await self._fetcher.close()
            self._pool.shutdown()
            self.handler.close()

    async def ping(self, _: Request) -> Response:
        """200 when requests are answered, 503 before and after."""
        if not self.ready:
            raise RequestError("The model is not loaded.", status=503)
        return _json({"status": "ok", **self.handler.describe()})

    async def invocations(self, request: Request) -> Response:
        """Answer the photos of a request."""
        if not accepts_json(request.headers.get("accept")):
            raise RequestError("Answers are application/json; accept that.", status=406)
        wanted = request.query_params.get("top")
        top = None if wanted is None else parse_top(wanted)
        body = await read_body(request, self.settings)
        asked = parse_asked(
            request.headers.get("content-type"), body, max_instances=self.settings.max_instances
        )
        del body
        try:
            async with asyncio.timeout(self.settings.answer_timeout_s):
                predictions = await self._answer_all(asked, top or asked.top or self.settings.top)
        except TimeoutError as error:
            raise RequestError("The answer took too long; try again.", status=503) from error
        return _json({"predictions": predictions})

    async def _answer_all(self, asked: Asked, top: int) -> list[Mapping[str, Any]]:
        with self._batcher.house(len(asked.photos)):
            if not asked.many:
                return [await self._answer(asked.photos[0], top)]
            return list(await asyncio.gather(*(self._entry(p, top) for p in asked.photos)))

    async def _entry(self, photo: bytes | Url | RequestError, top: int) -> Mapping[str, Any]:
        """The photo's answer, or its error in its place."""
        try:
            return await self._answer(photo, top)
        except RequestError as error:
            return {"error": str(error)}

    async def _answer(self, photo: bytes | Url | RequestError, top: int) -> Mapping[str, Any]:
        if isinstance(photo, RequestError):
            raise photo
        if isinstance(photo, Url):
            assert self._fetcher is not None
            photo = await self._fetcher.fetch(photo.text)
        loop = asyncio.get_running_loop()
        with self._batcher.arriving():
            item = await loop.run_in_executor(self._pool, self.handler.decode, photo)
        return self.handler.present(await self._batcher.submit(item), top)


def make_app(
    handler: Handler[Any, Any], settings: ServingSettings, *, fetcher: Fetcher | None = None
) -> Starlette:
    """The application that serves `handler`; its start-up loads the model."""
    endpoint = Endpoint(handler, settings, fetcher=fetcher)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with endpoint.running():
            yield

    return Starlette(
        routes=[
            Route("/ping", endpoint.ping, methods=["GET"]),
            Route("/invocations", endpoint.invocations, methods=["POST"]),
        ],
        lifespan=lifespan,
        exception_handlers={
            RequestError: _refused,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    headers = {"retry-after": "1"} if error.status == 503 else {}
    kind: type[Response] = Response
    # A body that was not read to its end cannot be followed by another request.
    if error.status in (408, 413):
        headers["connection"], kind = "close", LastWord
    return _json({"error": str(error)}, status=error.status, headers=headers, kind=kind)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: "There is no such path; there are GET /ping and POST /invocations.",
        405: "That method is not taken here; there are GET /ping and POST /invocations.",
    }
    text = sentences.get(error.status_code, str(error.detail))
    return _json({"error": text}, status=error.status_code, headers=error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return _json({"error": "The client went away."}, status=400)


async def _failed(_: Request, __: Exception) -> Response:
    text = "The endpoint failed on this request; its log says why."
    return _json({"error": text}, status=500)


def _json(
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    kind: type[Response] = Response,
) -> Response:
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    return kind(text, status, headers=headers, media_type="application/json")
