"""From what was taken to rows: everything that can wait, done on the writer's thread."""

from __future__ import annotations

from collections.abc import Sequence

from houndsight.debugger.hook.baseline import Baseline
from houndsight.debugger.hook.forwards import ForwardRows
from houndsight.debugger.hook.making import AnyBlock
from houndsight.debugger.hook.outcomes import outcomes_of
from houndsight.debugger.hook.recording import Chunk, Step
from houndsight.debugger.hook.steps import exact_rows, step_rows
from houndsight.debugger.record import Mode

__all__ = ["Reducer"]


class Reducer:
    """Turns chunks into blocks of rows, in order.

    Args:
        activations: names of the watched modules, by slot; it may grow.
        kinds: their classes.
    """

    def __init__(self, activations: Sequence[str], kinds: Sequence[str]) -> None:
        self._baseline = Baseline()
        self._before: Step | None = None
        self._forwards = ForwardRows(activations, kinds, self._baseline)

    def reduce(self, chunk: Chunk) -> list[AnyBlock]:
        """All rows of the chunk."""
        # A step's first micro-batches may have been filed with the chunk before.
        taken = {id(forward): forward for forward in chunk.forwards}
        taken |= {id(forward): forward for step in chunk.steps for forward in step.forwards}
        outcomes = outcomes_of(taken.values())
        self._baseline.note(chunk.forwards, outcomes)
        blocks: list[AnyBlock] = []
        for mode in Mode:
            forwards = [f for f in chunk.forwards if f.mode == mode]
            if forwards:
                blocks += self._forwards.make(mode, forwards, outcomes)
        if chunk.steps:
            blocks += step_rows(chunk.steps, outcomes, self._before)
            self._before = chunk.steps[-1]
        for raw in chunk.raw:
            blocks += exact_rows(raw)
        return blocks
