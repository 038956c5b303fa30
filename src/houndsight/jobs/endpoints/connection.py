"""One HTTP exchange with a worker, over its unix socket."""

from __future__ import annotations

import http.client
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from houndsight.jobs.endpoints.sockets import connect

__all__ = ["BrokenOffError", "LateError", "NotBegunError", "WorkerReply", "exchange", "is_healthy"]


DYING_MS = 1_000
"""How long a worker may take from dropping its connections to its end."""


class NotBegunError(Exception):
    """The worker never saw the request: it may be sent to another."""


class BrokenOffError(Exception):
    """The worker died on the request."""


class LateError(Exception):
    """The time was over before the answer came."""


@dataclass(frozen=True)
class WorkerReply:
    """What a worker answers; header names are lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def exchange(
    path: Path,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
    longest: int = 1 << 30,
) -> WorkerReply:
    """Ask the worker that listens at `path`. An answer longer than `longest` bytes is cut there.

    Raises:
        NotBegunError: nobody listens.
        BrokenOffError: the connection broke.
        LateError: there was no answer in time.
    """
    deadline = time.monotonic() + timeout_s
    connection = _Connection(path, timeout_s)
    try:
        try:
            connection.connect()
        except TimeoutError as error:
            raise LateError from error
        except OSError as error:
            raise NotBegunError(str(error)) from error
        try:
            connection.request(method, target, body, dict(headers or {}))
            connection.wait_until(deadline)
            response = connection.getresponse()
            content = response.read(longest + 1)
        except TimeoutError as error:
            raise LateError from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, ConnectionError):
                connection.wait_for_its_end()
            raise BrokenOffError(str(error)) from error
        told = {name.lower(): value for name, value in response.getheaders()}
        return WorkerReply(response.status, content, told)
    finally:
        connection.close()


def is_healthy(path: Path, timeout_s: float = 2.0) -> bool:
    """Whether `/ping` is answered with 200."""
    try:
        return exchange(path, "GET", "/ping", timeout_s=timeout_s).status == 200
    except (NotBegunError, BrokenOffError, LateError):
        return False


_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of who listens: `SO_PEERCRED` in unix(7)."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path, self._timeout_s = path, timeout_s
        self.sock: socket.socket | None = None
        self._worker = 0

    def connect(self) -> None:
        if self.sock is None:
            self.sock = connect(self._path, self._timeout_s)
            size = _CREDENTIALS.size
            who = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            self._worker = _CREDENTIALS.unpack(who)[0]

    def wait_for_its_end(self) -> None:
        """See a dying worker out: until then its socket takes requests that nobody will read."""
        try:
            process = os.pidfd_open(self._worker)
        except OSError:
            return
        try:
            ended = select.poll()
            ended.register(process, select.POLLIN)
            ended.poll(DYING_MS)
        finally:
            os.close(process)

    def wait_until(self, deadline: float) -> None:
        """Let reading end at `deadline`."""
        assert self.sock is not None
        self.sock.settimeout(max(0.05, deadline - time.monotonic()))
