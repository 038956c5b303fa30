"""What every stage of a run has at hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from houndsight.events import (
    Emitter,
    Event,
    Listener,
    StageEnded,
    StageProgress,
    StageStarted,
)
from houndsight.runs import Run

if TYPE_CHECKING:
    from houndsight.models.features import FeatureCache
    from houndsight.pipeline import RunConfig

__all__ = ["Context", "Outcome"]

BEAT_SECONDS = 5.0


@dataclass
class Outcome:
    """What a stage says when it ends: a line for people, and values for `run.json`."""

    text: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Context:
    """The run being written, its settings, who listens, and the clock.

    The clock goes on where an earlier process left it: what a run was killed at has cost time
    too. At every event that is `BEAT_SECONDS` after the last note the time is noted in
    `run.json`, so a kill loses no more than that, or than the stretch without any event.
    """

    run: Run
    config: RunConfig
    emit: Emitter
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._earlier = self.run.seconds
        self._noted = self.started
        self._under_way: tuple[str, float, float] | None = None
        self.emit = Emitter([self.emit, self._beat])

    @cached_property
    def cache(self) -> FeatureCache:
        """The feature cache; it brings torch along, so it is made when it is first needed."""
        from houndsight.models.features import FeatureCache

        return FeatureCache(limit_bytes=round(self.config.models.cache_gigabytes * 1e9))

    @property
    def seconds_spent(self) -> float:
        """Wall time of the whole run so far, over all the times it was started."""
        return self._earlier + time.monotonic() - self.started

    @property
    def seconds_left(self) -> float:
        """What remains of the time budget; negative once it is overrun."""
        return self.config.run.minutes * 60 - self.seconds_spent

    def done(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage left in `run.json`, or None when it is still to do."""
        record = self.run.stages.get(stage)
        return None if record is None else dict(record)

    def within(self, stage: str) -> Listener:
        """A listener for a room's own progress, shown as progress of `stage`."""

        def forward(event: Event) -> None:
            if isinstance(event, StageStarted):
                self.emit(StageProgress(stage=stage, done=0, total=event.total))
            elif isinstance(event, StageProgress):
                self.emit(replace(event, stage=stage))
            elif not isinstance(event, StageEnded):
                self.emit(event)

        return forward

    @contextmanager
    def stage(
        self, name: str, text: str, *, total: int | None = None, unit: str = "photos"
    ) -> Iterator[Outcome]:
        """Time a stage, tell the listeners, and record it as finished when it ends well.

        Its seconds are those of every start together, also of those that were cut off.
        """
        begun, outcome = time.monotonic(), Outcome()
        before = self.run.unfinished.get(name, 0.0)
        self._under_way = (name, before, begun)
        try:
            self.emit(StageStarted(stage=name, text=text, total=total, unit=unit))
            yield outcome
            self._finish(name, before + time.monotonic() - begun, outcome)
            seconds = time.monotonic() - begun
            self.emit(StageEnded(stage=name, seconds=seconds, text=outcome.text))
        finally:
            self.note_time()
            self._under_way = None

    def note_time(self) -> None:
        """Write into `run.json` how long the run, and the stage under way, have taken."""
        self._noted = time.monotonic()
        unfinished = {}
        if self._under_way is not None:
            name, before, begun = self._under_way
            unfinished[name] = before + self._noted - begun
        self.run.note_time(self.seconds_spent, unfinished=unfinished)

    def _finish(self, name: str, seconds: float, outcome: Outcome) -> None:
        earlier = (self.done(name) or {}).get("seconds", 0.0)
        self._under_way = None
        self.run.finish_stage(name, seconds=earlier + seconds, text=outcome.text, **outcome.values)

    def _beat(self, _event: Event) -> None:
        if time.monotonic() - self._noted > BEAT_SECONDS:
            self.note_time()
