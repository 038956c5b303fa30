"""How far a training has come: everything that changes beside tensors, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

__all__ = ["Progress"]


@dataclass
class Progress:
    """Kept in every checkpoint. Epochs count from 0; `step` counts optimizer steps."""

    epoch: int = 0
    """The epoch under way."""
    steps_in_epoch: int = 0
    """Optimizer steps done of it."""
    step: int = 0
    """Optimizer steps done in all."""
    seconds: float = 0.0
    """Spent so far, over all the times it was resumed."""
    epoch_seconds: float = 0.0
    """What the longest epoch took, evaluation included."""
    loss_sum: float = 0.0
    correct: float = 0.0
    rows: float = 0.0
    """Of the epoch under way: training losses added up, photos got right, photos seen."""
    best_epoch: int | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    epochs_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """The figures of every finished epoch."""
    reason: str = ""
    """Why the training ended; empty while it has not."""

    def count(self, loss_sum: float, correct: float, rows: float) -> None:
        """Take in one optimizer step."""
        self.step += 1
        self.steps_in_epoch += 1
        self.loss_sum += loss_sum
        self.correct += correct
        self.rows += rows

    def finish_epoch(self, metrics: Mapping[str, float], objective: str = "nll") -> bool:
        """Take in the validation figures of the epoch under way; whether it is the best so far."""
        best = self.best_epoch is None or metrics[objective] < self.best_metrics[objective]
        self.epochs_since_best = 0 if best else self.epochs_since_best + 1
        if best:
            self.best_epoch, self.best_metrics = self.epoch, dict(metrics)
        self.history.append({"epoch": float(self.epoch), **metrics})
        self.epoch += 1
        self.steps_in_epoch = 0
        self.loss_sum = self.correct = self.rows = 0.0
        return best

    def training_metrics(self) -> dict[str, float]:
        """`train_loss` and `train_top1` of the epoch under way, as its batches were seen."""
        rows = max(self.rows, 1.0)
        return {"train_loss": self.loss_sum / rows, "train_top1": self.correct / rows}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The progress in a checkpoint."""
        return cls(**values)
