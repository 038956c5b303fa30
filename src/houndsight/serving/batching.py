"""Bringing photos of different requests together into batches.

While one batch is computed, what arrives waits, and becomes the next one. On top of that a batch
waits a few milliseconds for photos that are in the house but still being decoded; a photo that
is alone never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from houndsight.errors import RequestError

__all__ = ["Batcher"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Computes items in batches with one function, in one thread of its own.

    Its life: `start` inside the event loop; for each request `with house(n):` around everything
    done for its `n` items, and for each of them `with arriving():` around its decoding, then
    `await submit(item)`; `close` computes what is still in the house and ends. An item for which
    the function fails hurts no other: the batch is computed again one by one, and only the
    item's own `submit` raises.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int,
        max_wait_ms: float,
        max_waiting: int,
    ) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_ms / 1000
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._in_house = 0
        self._arriving = 0
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._closing = False
        self.batches = 0
        self.items = 0

    def start(self) -> None:
        """Begin to compute; inside the event loop."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Compute what is still in the house, then end."""
        self._closing = True
        self._wake.set()
        if self._worker is not None:
            await self._worker
        self._pool.shutdown()

    @contextmanager
    def house(self, count: int) -> Iterator[None]:
        """Take in `count` items that will be decoded and submitted.

        Raises:
            RequestError: 503; there are too many, or the endpoint is shutting down.
        """
        if self._closing:
            raise RequestError("The endpoint is shutting down.", status=503)
        if self._in_house + count > self._max_waiting:
            raise RequestError(
                f"{self._in_house:,} photos are waiting, of at most {self._max_waiting:,}; "
                "try again in a moment.",
                status=503,
            )
        self._in_house += count
        try:
            yield
        finally:
            self._in_house -= count
            self._wake.set()

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Say that an item will be submitted in a moment, so that a batch may wait for it."""
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1
            self._wake.set()

    async def submit(self, item: Item) -> Result:
        """The result for `item`.

        Raises:
            Exception: what the function raised for this item alone.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._wake.set()
        return await future

    async def _work(self) -> None:
        while True:
            await self._something_waits()
            if not self._waiting:
                return
            await self._others_arrive()
            batch = self._take()
            if batch:
                await self._answer(batch)

    async def _something_waits(self) -> None:
        while not self._waiting and not (self._closing and self._in_house == 0):
            self._wake.clear()
            await self._wake.wait()

    async def _others_arrive(self) -> None:
        """Wait for items that are being decoded, up to the limit."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._max_wait_seconds):
                while self._arriving and len(self._waiting) < self._max_batch:
                    self._wake.clear()
                    await self._wake.wait()

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """The next batch, without items whose request has gone away."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._max_batch:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            for single in batch:
                await self._answer([single])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _run(self, items: list[Item]) -> Sequence[Result]:
        self.batches += 1
        self.items += len(items)
        loop = asyncio.get_running_loop()
        results = await loop.run_in_executor(self._pool, self._compute, items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(items)} items gave {len(results)} results")
        return results


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
