"""The facts of all photos of a folder: gathered in parallel, remembered for the next time."""

from __future__ import annotations

import mmap
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from houndsight.data.decode import MAX_PIXELS, too_many_pixels
from houndsight.data.facts_cache import FactsCache, Stamp
from houndsight.data.photo_facts import PhotoFacts, measure
from houndsight.data.signature import LENGTH
from houndsight.data.workers import CRASHED, WorkerPool, core_count
from houndsight.events import Listener, StageEnded, StageProgress, StageStarted

if TYPE_CHECKING:
    from houndsight.data.folder import ImageFolder

__all__ = ["FactsCache", "PhotoFacts", "gather_facts", "measure"]

_CHUNK = 4096
_AHEAD = 16
"""Photos handed to each worker before it has answered for the first of them."""
_WORTH_WORKERS = 64
_SCHEMA = pa.schema(
    {
        "hash": pa.string(),
        "size_bytes": pa.int64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "format": pa.dictionary(pa.int8(), pa.string()),
        "brightness": pa.float32(),
        "contrast": pa.float32(),
        "sharpness": pa.float32(),
        "signature": pa.binary(LENGTH),
        "error": pa.string(),
    }
)


def gather_facts(
    folder: ImageFolder,
    *,
    cache: FactsCache | None = None,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    listener: Listener | None = None,
    stage: str = "check",
) -> Any:
    """One row a photo, in the order of the folder's table, with the columns of `PhotoFacts`.

    Photos that are unchanged since their facts were remembered are not opened. Facts are
    remembered as they come, so that a killed check goes on where it stopped. About 500 bytes
    a photo are held in memory.
    """
    started = time.monotonic()
    paths = folder.all().paths()
    with ExitStack() as stack:
        cache = cache or stack.enter_context(FactsCache())
        gathering = _Gathering(cache, workers, max_pixels, stack)
        say = listener or (lambda _: None)
        say(StageStarted(stage=stage, text="Looking at the photos", total=len(paths)))
        batches, done = [], 0
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            facts: list[PhotoFacts] = []
            for fact in gathering.facts(chunk):
                facts.append(fact)
                if len(facts) % 64 == 0:
                    say(StageProgress(stage=stage, done=done + len(facts), total=len(paths)))
            done += len(facts)
            batches.append(_batch(facts))
        say(StageProgress(stage=stage, done=done, total=len(paths)))
        seconds = time.monotonic() - started
        text = f"{done:,} photos, {gathering.measured:,} of them new or changed"
        say(StageEnded(stage=stage, seconds=seconds, text=text))
    return pa.Table.from_batches(batches, _SCHEMA)


@dataclass(frozen=True)
class _FactsJob:
    """Measures a photo in a worker."""

    max_pixels: int

    def __call__(self, path: str, _: mmap.mmap | None) -> PhotoFacts:
        return measure(Path(path), max_pixels=self.max_pixels)


class _Gathering:
    """Facts from the cache where it has them, from workers (started when first needed) if not."""

    def __init__(
        self, cache: FactsCache, workers: int | None, max_pixels: int, stack: ExitStack
    ) -> None:
        self.measured = 0
        self._cache, self._workers, self._max_pixels = cache, workers, max_pixels
        self._stack = stack
        self._pool: WorkerPool | None = None

    def facts(self, paths: Sequence[Path]) -> Iterator[PhotoFacts]:
        """The facts of `paths`, in order."""
        stamps = [_stamp(path) for path in paths]
        known = self._cache.look_up([stamp for stamp in stamps if stamp is not None])
        missing = [i for i, stamp in enumerate(stamps) if stamp is None or stamp[0] not in known]
        fresh = self._measure({index: paths[index] for index in missing})
        self.measured += len(missing)
        unsaved: list[tuple[Stamp, PhotoFacts]] = []
        ready: dict[int, PhotoFacts] = {}
        for index, stamp in enumerate(stamps):
            if stamp is not None and stamp[0] in known:
                yield self._limited(known[stamp[0]])
                continue
            while index not in ready:
                key, facts = next(fresh)
                ready[key] = facts
                keep = stamps[key]
                if keep is not None and _lasting(facts):
                    unsaved.append((keep, facts))
                if len(unsaved) >= 256:
                    self._cache.remember(unsaved)
                    unsaved = []
            yield ready.pop(index)
        self._cache.remember(unsaved)

    def _measure(self, paths: dict[int, Path]) -> Iterator[tuple[int, PhotoFacts]]:
        pool = self._pool or self._start(len(paths))
        if pool is None:
            for index, path in paths.items():
                yield index, measure(path, max_pixels=self._max_pixels)
            return
        waiting = iter(paths.items())
        room = _AHEAD * pool.size
        while True:
            share = [pair for _, pair in zip(range(room - pool.outstanding), waiting, strict=False)]
            pool.submit((index, os.fspath(path)) for index, path in share)
            if not pool.outstanding:
                return
            for index, facts in pool.answers():
                yield index, PhotoFacts(error=CRASHED) if facts == CRASHED else facts

    def _start(self, count: int) -> WorkerPool | None:
        workers = self._workers
        if workers is None:
            workers = core_count() if count >= _WORTH_WORKERS else 0
        if workers and count:
            pool = WorkerPool(_FactsJob(self._max_pixels), workers)
            self._pool = self._stack.enter_context(pool)
        return self._pool

    def _limited(self, facts: PhotoFacts) -> PhotoFacts:
        """Facts remembered under another limit, as this one would have had them."""
        if facts.width * facts.height <= self._max_pixels:
            return facts
        return facts._replace(
            error=too_many_pixels(facts.width, facts.height, self._max_pixels).text
        )


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return os.fsencode(path.absolute()), status.st_size, status.st_mtime_ns


def _lasting(facts: PhotoFacts) -> bool:
    """Whether facts are about the bytes alone, and not about this moment or these settings."""
    passing = ("too-large", "unreadable", "missing", "crashes")
    return facts.error is None or not facts.error.startswith(passing)


def _batch(facts: list[PhotoFacts]) -> Any:
    columns = zip(*facts, strict=True)
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)
