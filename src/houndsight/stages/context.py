"""What every stage of a run has at hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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


@dataclass
class Outcome:
    """What a stage says when it ends: a line for people, and values for `run.json`."""

    text: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Context:
    """The run being written, its settings, who listens, and the clock."""

    run: Run
    config: RunConfig
    emit: Emitter
    cache: FeatureCache
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """What remains of the time budget; negative once it is overrun."""
        return self.config.run.minutes * 60 - (time.monotonic() - self.started)

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
        """Time a stage, tell the listeners, and record it as finished when it ends well."""
        self.emit(StageStarted(stage=name, text=text, total=total, unit=unit))
        begun, outcome = time.monotonic(), Outcome()
        earlier = (self.done(name) or {}).get("seconds", 0.0)
        yield outcome
        seconds = time.monotonic() - begun
        self.run.finish_stage(
            name, seconds=max(seconds, earlier), text=outcome.text, **outcome.values
        )
        self.emit(StageEnded(stage=name, seconds=seconds, text=outcome.text))
