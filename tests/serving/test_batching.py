import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from houndsight.errors import RequestError
from houndsight.serving.batching import Batcher


class Doubler:
    """Doubles numbers; says what it was given, waits when told to, fails on what is negative."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        assert self.go.wait(10)
        if min(batch) < 0:
            raise ValueError(f"{min(batch)} is negative")
        return [2 * item for item in batch]


def with_batcher(use: Any, **changes: Any) -> tuple[Any, Doubler]:
    doubler = Doubler()

    async def run() -> Any:
        options: dict[str, Any] = {"max_batch": 4, "max_wait_ms": 1000, "max_waiting": 20}
        batcher = Batcher(doubler, **(options | changes))
        batcher.start()
        try:
            return await use(batcher, doubler)
        finally:
            doubler.go.set()
            await batcher.close()

    return asyncio.run(asyncio.wait_for(run(), 30)), doubler


async def ask(batcher: Batcher[int, int], item: int) -> int:
    with batcher.house(1):
        return await batcher.submit(item)


def test_what_waits_becomes_one_batch() -> None:
    async def use(batcher: Any, doubler: Doubler) -> list[int]:
        doubler.go.clear()
        first = asyncio.create_task(ask(batcher, 0))
        while not doubler.batches:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(ask(batcher, item)) for item in range(1, 8)]
        await asyncio.sleep(0.01)
        doubler.go.set()
        return list(await asyncio.gather(first, *rest))

    results, doubler = with_batcher(use)
    assert results == [2 * item for item in range(8)]
    assert doubler.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_one_alone_does_not_wait() -> None:
    async def use(batcher: Any, _: Doubler) -> float:
        start = asyncio.get_running_loop().time()
        assert await ask(batcher, 3) == 6
        return asyncio.get_running_loop().time() - start

    assert with_batcher(use, max_wait_ms=10_000)[0] < 5


def test_waits_for_what_is_being_decoded() -> None:
    async def decoded_later(batcher: Any, item: int) -> int:
        with batcher.house(1):
            with batcher.arriving():
                await asyncio.sleep(0.02)
            return int(await batcher.submit(item))

    async def use(batcher: Any, _: Doubler) -> list[int]:
        later = asyncio.create_task(decoded_later(batcher, 2))
        await asyncio.sleep(0)
        return list(await asyncio.gather(ask(batcher, 1), later))

    results, doubler = with_batcher(use, max_wait_ms=10_000)
    assert results == [2, 4] and doubler.batches == [[1, 2]]


def test_does_not_wait_for_ever() -> None:
    async def use(batcher: Any, _: Doubler) -> int:
        with batcher.house(1), batcher.arriving():
            return await ask(batcher, 1)

    assert with_batcher(use, max_wait_ms=5)[0] == 2


def test_a_failing_item_hurts_no_other() -> None:
    async def use(batcher: Any, doubler: Doubler) -> list[Any]:
        tasks = [asyncio.create_task(ask(batcher, item)) for item in (1, -2, 3)]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    results, doubler = with_batcher(use)
    assert results[0] == 2 and results[2] == 6
    assert isinstance(results[1], ValueError) and "-2" in str(results[1])
    assert doubler.batches == [[1, -2, 3], [1], [-2], [3]]


def test_too_many_are_refused_and_the_others_answered() -> None:
    async def use(batcher: Any, doubler: Doubler) -> list[Any]:
        doubler.go.clear()
        tasks = [asyncio.create_task(ask(batcher, item)) for item in range(5)]
        await asyncio.sleep(0.01)
        doubler.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        with batcher.house(3):
            pass
        return list(results)

    results, _ = with_batcher(use, max_waiting=3)
    assert results[:3] == [0, 2, 4]
    assert all(isinstance(r, RequestError) and r.status == 503 for r in results[3:])


def test_one_that_went_away_is_not_computed() -> None:
    async def use(batcher: Any, doubler: Doubler) -> int:
        doubler.go.clear()
        first = asyncio.create_task(ask(batcher, 0))
        while not doubler.batches:
            await asyncio.sleep(0.001)
        gone, stays = (asyncio.create_task(ask(batcher, item)) for item in (1, 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        doubler.go.set()
        await first
        return int(await stays)

    result, doubler = with_batcher(use)
    assert result == 4 and doubler.batches == [[0], [2]]


def test_closing_answers_what_is_in_the_house_and_takes_no_more() -> None:
    async def use(batcher: Any, doubler: Doubler) -> tuple[int, Any]:
        doubler.go.clear()
        waiting = asyncio.create_task(ask(batcher, 4))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError, match="shutting down"):
            await ask(batcher, 5)
        doubler.go.set()
        await closing
        return await waiting, None

    assert with_batcher(use)[0][0] == 8
