"""A small HTTP server on a unix socket: its only client is Houndsight itself.

Every request has a connection of its own. When it is closed, connections that wait to be accepted
are accepted first, so that none is lost.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from houndsight.jobs.endpoints.sockets import short_path

__all__ = ["OUTCOME", "Server"]

OUTCOME = "x-houndsight-outcome"
"""`answered`, `failed`, `late`, `draining`: what became of a request, in the answer's headers."""
Respond = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    server: Server
    protocol_version = "HTTP/1.0"
    wbufsize = -1

    def do_GET(self) -> None:
        """`/ping`."""
        self.server.respond(self)

    def do_POST(self) -> None:
        """`/invocations`."""
        self.server.respond(self)

    def read_body(self) -> bytes:
        """The whole body."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send the answer; a client that has gone away is no error."""
        with contextlib.suppress(OSError):
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, _one_line(value))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Nothing: the worker writes its own line."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens from the moment it is made."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, path: Path, respond: Respond) -> None:
        self.respond = respond
        self._path = path
        path.unlink(missing_ok=True)
        with short_path(path) as short:
            super().__init__(short, Exchange)
        path.chmod(0o600)
        self._open = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count it, and answer it in a thread."""
        with self._changed:
            self._open += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The request is answered."""
        super().shutdown_request(request)
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def handle_error(self, *_: Any) -> None:
        """A connection that broke is the client's matter."""

    def drain(self, timeout_s: float) -> bool:
        """Take no new connection, and wait for those that were made; whether all are answered."""
        self._path.unlink(missing_ok=True)
        self.shutdown()
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                request, address = self.socket.accept()
                request.setblocking(True)
                self.process_request(request, address)
        self.server_close_socket()
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, timeout_s)

    def server_close_socket(self) -> None:
        """Close the listening socket alone; threads go on."""
        self.socket.close()


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() and c < "\u0100" else "?" for c in str(text))
