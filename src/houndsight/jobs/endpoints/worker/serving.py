"""Serves a script: requests one after another, in the main thread, as TorchServe's worker does."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from houndsight.jobs.endpoints.worker.causes import Trouble, trouble_of
from houndsight.jobs.endpoints.worker.handlers import Answer, Script
from houndsight.jobs.endpoints.worker.http import OUTCOME, Exchange, Server

__all__ = ["ScriptServing"]

MARGIN_S = 1.0
"""How long before the client gives up it is told that the time is over."""
EXIT_LATE = 75
"""The worker's exit code when it was still busy with a request whose time was over."""


@dataclass
class _Job:
    """A request on its way."""

    body: bytes
    headers: dict[str, str]
    done: threading.Event = field(default_factory=threading.Event)
    begun: bool = False
    dropped: bool = False
    answer: Answer | None = None


class ScriptServing:
    """A script behind its socket."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._model_dir = Path(told["model_dir"])
        self._answer_s = float(told["answer_seconds"])
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._script = Script(told["model_dir"], told["program"])

    @property
    def stage(self) -> str:
        """Which function is at work."""
        return self._script.stage

    def load(self) -> None:
        """Load the model.

        Raises:
            BaseException: whatever the script raises.
        """
        self._script.load()

    def run(self) -> int:
        """Answer until SIGTERM."""
        server = Server(Path(self._told["socket"]), self._respond)
        signal.signal(signal.SIGTERM, lambda *_: self._drain(server))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while (job := self._jobs.get()) is not None:
            with self._lock:
                job.begun = not job.dropped
            if job.begun:
                job.answer = self._work(job)
                job.done.set()
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads of the script must not keep the worker.
        os._exit(0)

    def _drain(self, server: Server) -> None:
        """From the signal on: answer what has come, then end."""

        def drain() -> None:
            server.drain(self._answer_s + MARGIN_S)
            self._jobs.put(None)

        threading.Thread(target=drain, daemon=True).start()

    def _respond(self, exchange: Exchange) -> None:
        path = exchange.path.partition("?")[0]
        if (exchange.command, path) == ("GET", "/ping"):
            exchange.reply(200, b'{"status": "Healthy"}\n', {"content-type": "application/json"})
        elif (exchange.command, path) == ("POST", "/invocations"):
            self._invoke(exchange)
        else:
            exchange.reply(404, b"", {})

    def _invoke(self, exchange: Exchange) -> None:
        started = time.monotonic()
        headers = dict(exchange.headers.items())
        limit = float(headers.pop("X-Houndsight-Seconds", self._answer_s)) - MARGIN_S
        job = _Job(exchange.read_body(), headers)
        self._jobs.put(job)
        if not job.done.wait(max(0.05, limit - (time.monotonic() - started))):
            self._give_up(job, exchange)
            return
        answer = job.answer
        assert answer is not None
        exchange.reply(answer.status, answer.body, answer.headers)
        spent_ms = (time.monotonic() - started) * 1000
        print(f'"POST /invocations" {answer.status} {spent_ms:.0f} ms', flush=True)

    def _give_up(self, job: _Job, exchange: Exchange) -> None:
        with self._lock:
            job.dropped = True
            begun = job.begun
        if begun:
            # The next request must not find a worker that is about to end.
            Path(self._told["socket"]).unlink(missing_ok=True)
        exchange.reply(504, b"", {OUTCOME: "late"})
        if begun:
            # Nothing can interrupt the function: only a new process can answer the next request.
            print(
                f"houndsight: {self._script.stage} did not answer within {self._answer_s:g} s; the"
                " worker is started again. A longer time: HOUNDSIGHT_ENDPOINTS_ANSWER_SECONDS.",
                file=sys.stderr,
                flush=True,
            )
            os._exit(EXIT_LATE)

    def _work(self, job: _Job) -> Answer:
        try:
            return self._script.answer(job.body, job.headers)
        except SystemExit as error:
            trouble = Trouble("SystemExit", f"SystemExit: {error.code}")
        except BaseException as error:
            trouble = trouble_of(error, self._model_dir)
            trouble.print_trace(error)
        told = {**trouble.to_json(), "stage": self._script.stage}
        headers = {OUTCOME: "failed", "content-type": "application/json"}
        return Answer(500, json.dumps(told).encode(), headers)
