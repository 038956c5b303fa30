"""Processes that do one thing to many photos, in order, and cannot take anything down with them.

A worker is a fresh interpreter that imports Pillow and NumPy, never the program's `__main__` and
never torch. It reads items from a pipe, works in order and answers each; the end of the pipe
(the parent closed it, or died by any means) ends the worker at once, even in the midst of a
photo. Pixels go through an unnamed shared file, so nothing is left behind by a killed parent.
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from houndsight.data.photo_error import PhotoError, Reason
from houndsight.errors import DataError

__all__ = ["Job", "WorkerPool", "core_count"]

Job = Callable[[Any, mmap.mmap | None], Any]
"""What workers do: `(item, shared memory) -> answer`. Sent by pickle, so a module's own."""

CRASHED = PhotoError(Reason.CRASHES).text
"""The answer for an item whose worker died twice on it."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from houndsight.data.workers import work; work(*map(int, sys.argv[2:]))"
)
_FAILED_STARTS = 3


def core_count() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    tasks: Connection[Any, Any]
    answers: Connection[Any, Any]
    ready: bool = False
    outstanding: deque[tuple[int, Any]] = field(default_factory=deque)


class WorkerPool:
    """A number of workers for one job; a context manager that leaves none behind.

    `submit` items with their keys, then take `(key, answer)` pairs from `answers`. The answers
    of one worker come in order; those of different workers do not. A worker that dies is
    replaced and its items are done again; an item that a second worker dies on is answered by
    `CRASHED`. `niceness` is added to that of this process.
    """

    def __init__(self, job: Job, workers: int, *, shared_bytes: int = 0, niceness: int = 0) -> None:
        self._job = job
        self._niceness = niceness
        self._count = workers
        self._deaths: Counter[int] = Counter()
        self._failed_starts = 0
        self._crashed: list[tuple[int, Any]] = []
        self._workers: list[_Worker] = []
        self._shared = -1
        self.memory: mmap.mmap | None = None
        if shared_bytes:
            self._shared = _shared_file(shared_bytes)
            self.memory = mmap.mmap(self._shared, shared_bytes)

    def __enter__(self) -> WorkerPool:
        try:
            self._workers = [self._start() for _ in range(self._count)]
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for worker in self._workers:
            self._end(worker)
        self._workers = []
        if self._shared >= 0:
            os.close(self._shared)
            self._shared = -1

    @property
    def size(self) -> int:
        """Workers."""
        return self._count

    @property
    def outstanding(self) -> int:
        """Items submitted and not answered yet."""
        return sum(len(worker.outstanding) for worker in self._workers) + len(self._crashed)

    def submit(self, items: Iterable[tuple[int, Any]]) -> None:
        """Hand out `(key, item)` pairs, to the workers with the least to do first."""
        shares: list[list[tuple[int, Any]]] = [[] for _ in self._workers]
        loads = [len(worker.outstanding) for worker in self._workers]
        for pair in items:
            least = min(range(len(loads)), key=loads.__getitem__)
            shares[least].append(pair)
            loads[least] += 1
        for index, share in enumerate(shares):
            self._send(index, share)

    def answers(self) -> Iterator[tuple[int, Any]]:
        """Wait for answers and give those that are there.

        Raises:
            DataError: workers cannot be started.
        """
        if self._crashed:
            done, self._crashed = self._crashed, []
            yield from done
            return
        indices = {worker.answers: index for index, worker in enumerate(self._workers)}
        for connection in wait(list(indices)):
            yield from self._receive(indices[connection])  # type: ignore[index]

    def _receive(self, index: int) -> Iterator[tuple[int, Any]]:
        worker = self._workers[index]
        try:
            while True:
                answer = worker.answers.recv()
                if not worker.ready:
                    worker.ready, self._failed_starts = True, 0
                else:
                    key, _ = worker.outstanding.popleft()
                    yield key, answer
                if not worker.answers.poll():
                    return
        except (EOFError, OSError):
            self._replace(index)

    def _replace(self, index: int) -> None:
        """Start a worker in place of a dead one and give it what the dead one left."""
        dead = self._workers[index]
        self._end(dead)
        left = list(dead.outstanding)
        if not dead.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise DataError(
                    f"Processes that decode photos end as soon as they are started (exit status "
                    f"{dead.process.returncode}); set workers to 0 to decode without them."
                )
        elif left:
            key = left[0][0]
            self._deaths[key] += 1
            if self._deaths[key] > 1:
                self._crashed.append((key, CRASHED))
                left = left[1:]
        self._workers[index] = self._start()
        self._send(index, left)

    def _send(self, index: int, share: list[tuple[int, Any]]) -> None:
        if not share:
            return
        worker = self._workers[index]
        worker.outstanding.extend(share)
        with suppress(OSError):  # it is dead: its answers end, and what is left is done again
            worker.tasks.send([item for _, item in share])

    def _start(self) -> _Worker:
        tasks_out, tasks_in = Pipe(duplex=False)
        answers_out, answers_in = Pipe(duplex=False)
        handles = [tasks_out.fileno(), answers_in.fileno()]
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _START,
                    json.dumps(sys.path),
                    *map(str, [*handles, self._shared]),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[*handles, *([] if self._shared < 0 else [self._shared])],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                process_group=0,  # Ctrl-C is the parent's to handle
            )
        finally:
            tasks_out.close()
            answers_in.close()
        worker = _Worker(process, tasks_in, answers_out)
        with suppress(OSError):  # dead already: told when its answers end
            worker.tasks.send((os.getpid(), self._job, self._niceness))
        return worker

    @staticmethod
    def _end(worker: _Worker) -> None:
        worker.process.kill()
        worker.process.wait()
        worker.tasks.close()
        worker.answers.close()


def work(tasks_handle: int, answers_handle: int, shared_handle: int) -> None:
    """The life of a worker: take the job, say it is ready, answer items until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _quieten_libraries()
    tasks: Connection[Any, Any] = Connection(tasks_handle, writable=False)
    answers: Connection[Any, Any] = Connection(answers_handle, readable=False)
    memory = None if shared_handle < 0 else mmap.mmap(shared_handle, 0)
    try:
        parent, job, niceness = tasks.recv()
        os.nice(niceness)
        answers.send(None)
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(tasks, waiting, parent), daemon=True).start()
        while True:
            answers.send(job(waiting.get(), memory))
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _quieten_libraries() -> None:
    """Let Python alone write to standard error: libtiff prints there what it finds in a file."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os.close(silent)


def _listen(tasks: Connection[Any, Any], waiting: queue.SimpleQueue[Any], parent: int) -> None:
    """Queue what arrives; end the process when the parent is gone.

    The parent's id is watched too, because a process that it forked may hold the pipe open.
    """
    try:
        while True:
            if tasks.poll(5.0):
                for item in tasks.recv():
                    waiting.put(item)
            elif os.getppid() != parent:
                break
    except (EOFError, OSError):
        pass
    os._exit(0)


def _shared_file(size: int) -> int:
    """The handle of a file without a name, in memory where the system has such a place."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("houndsight")
    else:
        handle, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108
    os.truncate(handle, size)
    return handle
