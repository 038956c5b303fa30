"""The control plane as one ASGI application on one port.

S3 is handed the request as it comes, for its bodies are streams; everything else is read whole and
answered by the dispatcher in a worker thread. Requests that may wait (a Describe that holds its
answer open, an invocation) have threads of their own, so that many who wait never keep others.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from houndsight._version import __version__
from houndsight.aws.dispatch import Dispatcher, Route, lower_headers
from houndsight.aws.hosts import HEALTH, AllowedHosts
from houndsight.aws.platform import Platform
from houndsight.aws.protocol import Incoming, Outgoing
from houndsight.aws.service import AwsError, Service
from houndsight.aws.signature import Verifier

__all__ = ["ControlPlane", "make_app", "services_of"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

THREADS = {"wait": 64, "invoke": 64, "answer": 32}
PATIENCE_S = 45.0
"""Below the 60 s that botocore waits for an answer."""
BODY_TIMEOUT_S = 120.0
FORM_LIMIT = 8 * 1024 * 1024
SERVICES = (
    ("houndsight.aws.sagemaker", "SageMakerService"),
    ("houndsight.aws.runtime", "RuntimeService"),
    ("houndsight.aws.logs", "LogsService"),
    ("houndsight.aws.monitoring", "MonitoringService"),
    ("houndsight.aws.identity", "StsService"),
    ("houndsight.aws.identity", "IamService"),
)


def services_of(platform: Platform) -> list[Service]:
    """All services but S3."""
    made: list[Service] = []
    for module, name in SERVICES:
        try:
            kind = getattr(importlib.import_module(module), name, None)
            if kind is not None:
                made.append(kind(platform))
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("houndsight."):
                raise
    return made


def make_app(
    platform: Platform,
    services: Sequence[Service] | None = None,
    *,
    insecure: bool = False,
    hosts: AllowedHosts | None = None,
) -> ControlPlane:
    """The application over `platform`; its start-up takes up the jobs."""
    verifier = Verifier(platform.keys, insecure=insecure)
    return ControlPlane(
        platform,
        Dispatcher(services_of(platform) if services is None else services, verifier),
        _s3_of(platform, verifier),
        hosts or AllowedHosts(),
    )


def _s3_of(platform: Platform, verifier: Verifier) -> AsgiApp:
    from houndsight.aws.s3.app import S3App

    app: AsgiApp = S3App(platform.objects, verifier)
    return app


class ControlPlane:
    """The ASGI application."""

    def __init__(
        self, platform: Platform, dispatcher: Dispatcher, s3: AsgiApp, hosts: AllowedHosts
    ) -> None:
        self.platform = platform
        self._dispatcher = dispatcher
        self._s3 = s3
        self._hosts = hosts
        self._threads = {
            kind: ThreadPoolExecutor(count, thread_name_prefix=kind)
            for kind, count in THREADS.items()
        }
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live through the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await asyncio.to_thread(self.platform.start)
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.to_thread(self.platform.close)
                for threads in self._threads.values():
                    threads.shutdown(wait=False, cancel_futures=True)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = Incoming(
            method=scope["method"],
            path=scope.get("raw_path", scope["path"].encode()).decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=lower_headers(scope["headers"]),
        )
        try:
            self._hosts.check(incoming.headers.get("host", ""))
            if incoming.path == HEALTH:
                await _send(send, _health())
                return
            if self._dispatcher.is_for_s3(incoming):
                await self._s3(scope, receive, send)
                return
            incoming, route = await self._routed(incoming, receive)
        except AwsError as error:
            await _send(send, self._dispatcher.refusal(error, incoming), last=True)
            return
        except _GoneError:
            return
        try:
            answer = await self._answer(route, incoming)
        except asyncio.CancelledError:
            # The server ends and waits no longer; what was asked for goes on, or is asked again.
            answer = route.protocol.error(_ending(), str(uuid.uuid4()))
        await _send(send, answer)

    async def _routed(self, incoming: Incoming, receive: Receive) -> tuple[Incoming, Route]:
        """The service that is meant, and the request with its body."""
        form = incoming.headers.get("content-type", "").startswith("application/x-www-form")
        # Of a form the body says what is asked.
        route = None if form else self._dispatcher.route(incoming)
        limit = FORM_LIMIT if route is None else route.body_limit
        body = await _read_body(receive, incoming, limit)
        whole = Incoming(
            method=incoming.method,
            path=incoming.path,
            query=incoming.query,
            headers=incoming.headers,
            body=body,
        )
        return whole, route or self._dispatcher.route(whole)

    async def _answer(self, route: Route, incoming: Incoming) -> Outgoing:
        kind = _kind(route, incoming)
        # Half of the threads may hold their answers; who comes then is answered at once.
        patient = kind == "wait" and self._waiting < THREADS[kind] // 2
        self._waiting += patient
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads[kind],
                self._dispatcher.answer,
                route,
                incoming,
                PATIENCE_S if patient else 0.0,
            )
        finally:
            self._waiting -= patient


class _GoneError(Exception):
    """The client went away."""


async def _read_body(receive: Receive, incoming: Incoming, limit: int) -> bytes:
    told = incoming.headers.get("content-length", "0")
    too_long = AwsError(
        "RequestEntityTooLargeException",
        f"The body is longer than the {limit // (1024 * 1024)} MiB that are taken here.",
        status=413,
    )
    if told.isdigit() and len(told) < 20 and int(told) > limit:
        raise too_long
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _GoneError
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise too_long
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError as error:
        raise AwsError(
            "RequestTimeout", f"The body did not come within {BODY_TIMEOUT_S:.0f} s.", status=408
        ) from error


def _ending() -> AwsError:
    return AwsError(
        "ServiceUnavailable",
        "The platform is being ended; houndsight up starts it again. Ask once more then.",
        status=503,
    )


def _kind(route: Route, incoming: Incoming) -> str:
    if route.service.name == "sagemaker-runtime":
        return "invoke"
    operation = incoming.headers.get("x-amz-target", "").rpartition(".")[2]
    waits = route.service.name == "sagemaker" and operation.startswith("Describe")
    return "wait" if waits else "answer"


async def _send(send: Send, outgoing: Outgoing, *, last: bool = False) -> None:
    headers = [
        (name.encode("latin-1"), v.encode("latin-1")) for name, v in outgoing.headers.items()
    ]
    headers.append((b"content-length", str(len(outgoing.body)).encode()))
    if last:
        # A body may not have been read to its end, and no other request can follow it.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": outgoing.status, "headers": headers})
    await send({"type": "http.response.body", "body": outgoing.body})


def _health() -> Outgoing:
    body = json.dumps({"status": "ok", "version": __version__}).encode()
    return Outgoing(headers={"content-type": "application/json"}, body=body)
