"""Hooks a training of `houndsight.training` by its events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from houndsight.debugger.actions import TrainingStoppedError
from houndsight.debugger.hook.hook import Hook
from houndsight.events import (
    BatchLoaded,
    EvaluationEnded,
    EvaluationForward,
    EvaluationStarted,
    Event,
    ForwardEnded,
    TrainingEnded,
    TrainingStarted,
)

__all__ = ["HookListener"]


class HookListener:
    """A listener that records every training it hears of, one after the other.

    Its first training is logged to `folder`'s `tensors`; what it records is what `Hook` does.

    Args:
        folder: the run folder, or one in it.
        facts: what else is known, such as how photos are prepared.
        options: as for `Hook`: `rules`, `save_interval`, `collections`, `actions`.
    """

    def __init__(
        self, folder: Path | str, *, facts: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self.folder, self._facts, self._options = Path(folder), facts, options
        self.hook: _DrivenHook | None = None
        """That of the training under way, or of the last one."""

    def __call__(self, event: Event) -> None:
        """Take in an event; a fault of the hook's own never reaches the training."""
        if isinstance(event, TrainingStarted):
            self._start(event)
        elif self.hook is not None and self.hook.alive:
            self.hook.hear(event)

    def _start(self, event: TrainingStarted) -> None:
        if self.hook is not None:
            self.hook.close()
        self.hook = _DrivenHook(
            event.model,
            loss=event.criterion,
            optimizer=event.optimizer,
            folder=self.folder,
            classes=event.classes,
            facts={"steps_total": event.steps_total, **(self._facts or {})},
            **self._options,
        )
        self.hook.collector.step = event.first_step
        self.hook.collector.inputs.images = (self._facts or {}).get("inputs") != "activations"

    def close(self) -> None:
        """Close the hook of the last training."""
        if self.hook is not None:
            self.hook.close()


class _DrivenHook(Hook):
    """A hook that is told of forwards by events, since only a part of the root may be called."""

    def _watch_root(self) -> None:
        pass

    def hear(self, event: Event) -> None:
        try:
            self._hear(event)
        except TrainingStoppedError:
            raise
        except Exception as error:
            self._fail(error)

    def _hear(self, event: Event) -> None:
        collector = self.collector
        if isinstance(event, BatchLoaded):
            self._forward_begun(event.inputs)
        elif isinstance(event, ForwardEnded):
            self._forward_ended(event.logits)
        elif isinstance(event, EvaluationStarted):
            with torch.no_grad():
                collector.begin(None)
        elif isinstance(event, EvaluationForward):
            self._evaluated(event)
        elif isinstance(event, EvaluationEnded):
            collector.flush()
        elif isinstance(event, TrainingEnded):
            self.close()

    def _evaluated(self, event: EvaluationForward) -> None:
        from torch.nn import functional as F

        from houndsight.debugger.hook.losses import loss_call

        with torch.no_grad():
            value = F.cross_entropy(event.logits, event.targets)
            call = loss_call("cross_entropy", event.logits, event.targets, {}, value)
            forward = self.collector.current
            if forward is not None:
                forward.batch = len(event.logits)
                forward.inputs = self.collector.inputs.take(event.inputs)
                if call is not None:
                    forward.losses.append(call)
            self.collector.end(None)
            # Modules are sampled from now on for the next batch; its event brings the inputs.
            self.collector.begin(None)
