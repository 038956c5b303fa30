"""The event types of a training and the loop they describe.

A listener is any callable that takes an `Event`; it looks at the type and leaves the rest.
The debugger, the profiler, the metrics log and the progress display are listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from houndsight.findings import Finding

__all__ = [
    "BackwardEnded",
    "BatchLoaded",
    "Emitter",
    "EpochEnded",
    "EpochStarted",
    "EvaluationEnded",
    "EvaluationForward",
    "EvaluationStarted",
    "Event",
    "FindingMade",
    "Forecast",
    "ForwardEnded",
    "Listener",
    "StageEnded",
    "StageProgress",
    "StageStarted",
    "StepEnded",
    "TrainingEnded",
    "TrainingStarted",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. The training loop, with its events at the right::

        model, optimizer, loss built                        # TrainingStarted
        for epoch in range(epochs):                         # EpochStarted
            for images, labels in batches:                  # BatchLoaded
                logits = model(images)
                loss = criterion(logits, labels)            # ForwardEnded
                (loss / accumulation).backward()            # BackwardEnded
                if last micro-batch of the step:
                    clip; optimizer.step(); schedule.step() # StepEnded
                    optimizer.zero_grad()
            evaluate on validation:                         # EvaluationStarted
                logits = averaged_model(images)             # EvaluationForward
            loss, top-1 ... of the split                    # EvaluationEnded
            checkpoint written                              # EpochEnded
        best epoch's weights restored                       # TrainingEnded

    Around it stand the stages of a job: `Forecast` before anything long, then `StageStarted`,
    `StageProgress` and `StageEnded` for each. `step` counts optimizer steps.
    """


@dataclass(frozen=True, kw_only=True)
class Forecast(Event):
    """What the coming work is expected to take, said before it starts."""

    text: str
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage of a job begins; `total` units are to be done, None when unknown."""

    stage: str
    text: str
    total: int | None = None
    unit: str = "photos"


@dataclass(frozen=True, kw_only=True)
class StageProgress(Event):
    """`done` of the stage's `total` units are done, counting those reused from a cache."""

    stage: str
    done: int
    total: int | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class FindingMade(Event):
    """A rule found something in the training under way, or sees it differently than before."""

    stage: str
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class StageEnded(Event):
    """A stage is finished; `text` says in a line what came out."""

    stage: str
    seconds: float
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingStarted(Event):
    """Everything is built and nothing has been computed yet."""

    model: nn.Module
    optimizer: Optimizer
    criterion: nn.Module
    classes: tuple[str, ...]
    steps_total: int
    first_step: int = 0


@dataclass(frozen=True, kw_only=True)
class EpochStarted(Event):
    """A pass over the training photos begins."""

    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True)
class BatchLoaded(Event):
    """A batch is on the device: images or activations `(batch, ...)`, targets and photo ids."""

    step: int
    inputs: Tensor
    targets: Tensor
    ids: Tensor | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ForwardEnded(Event):
    """Logits `(batch, classes)` and the mean loss of the micro-batch are known."""

    step: int
    logits: Tensor
    loss: Tensor


@dataclass(frozen=True, kw_only=True)
class BackwardEnded(Event):
    """The gradients of the micro-batch are added up in `.grad`."""

    step: int


@dataclass(frozen=True, kw_only=True)
class StepEnded(Event):
    """The optimizer has stepped; gradients are still there. `step` counts this one."""

    step: int
    loss: float
    learning_rates: tuple[float, ...]
    gradient_norm: float
    examples: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class EvaluationStarted(Event):
    """A pass over a split without gradients begins."""

    split: str
    step: int


@dataclass(frozen=True, kw_only=True)
class EvaluationForward(Event):
    """Logits `(batch, classes)` of a batch of the split, and what went in."""

    split: str
    step: int
    inputs: Tensor
    logits: Tensor
    targets: Tensor


@dataclass(frozen=True, kw_only=True)
class EvaluationEnded(Event):
    """The figures of the whole split, such as `loss` and `top1`."""

    split: str
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class EpochEnded(Event):
    """The epoch's checkpoint is on disk."""

    epoch: int
    step: int
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True, kw_only=True)
class TrainingEnded(Event):
    """The best epoch's weights are back in the model; `reason` says why it ended."""

    step: int
    reason: str
    metrics: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


class Emitter:
    """Hands each event to every listener, in the order they were added."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)

    def add(self, listener: Listener) -> None:
        """Let `listener` hear every event from now on."""
        self._listeners.append(listener)

    def __call__(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
