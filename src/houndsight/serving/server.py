"""Running the endpoint until a stop signal, and letting requests under way finish."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from houndsight.errors import SettingError
from houndsight.serving.app import make_app
from houndsight.serving.handler import Handler
from houndsight.serving.settings import ServingSettings

__all__ = ["serve"]


def serve(
    handler: Handler[Any, Any],
    settings: ServingSettings,
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve `handler` until SIGTERM or SIGINT.

    On the signal no new connection is taken, requests under way have `shutdown_timeout_s` to
    finish, and then this returns.

    Args:
        ready: called with the endpoint's address once the model is loaded and requests are taken.

    Raises:
        SettingError: the address cannot be listened on.
    """
    listener = _listen(settings)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    config = uvicorn.Config(
        make_app(handler, settings),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
        lifespan="on",
    )
    server = _Server(config, ready, f"http://{shown}:{listener.getsockname()[1]}")
    with listener, _signals_end_quietly():
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, ready: Callable[[str], None] | None, address: str
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready(self._address)


def _listen(settings: ServingSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
        # Accepted sockets inherit it. asyncio sets it on none that it did not make itself, and
        # without it an answer's body waits 40 ms for the client's acknowledgement of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, UnicodeError) as error:
        raise SettingError(
            f"{settings.host}:{settings.port} cannot be listened on "
            f"({getattr(error, 'strerror', None) or error}); set serving.host or serving.port."
        ) from error


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """uvicorn raises the signal again when it is done; by then everything has been answered."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
