"""The training loop of one epoch; `events.Event` has it in pseudo-code."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from houndsight.events import (
    BackwardEnded,
    BatchLoaded,
    Emitter,
    EpochStarted,
    ForwardEnded,
    StepEnded,
)
from houndsight.training.batches import Batch, Batches
from houndsight.training.distributed import Team
from houndsight.training.ema import WeightAverage
from houndsight.training.losses import ClassificationLoss
from houndsight.training.mix import Mixer
from houndsight.training.optimizers import train_mode
from houndsight.training.order import random
from houndsight.training.precision import Precision
from houndsight.training.progress import Progress
from houndsight.training.recipe import Recipe
from houndsight.training.schedule import cosine_with_warmup, set_learning_rates

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = ["DivergedError", "TerminatedError", "TrainingLoop", "steps_per_epoch"]


class DivergedError(Exception):
    """The loss or the gradient is no longer a finite number."""


class TerminatedError(Exception):
    """The process was asked to end."""


class _Loaded(NamedTuple):
    """A batch, its number in the epoch and how long the loop waited for it."""

    batch: Batch
    number: int
    wait_seconds: float


def steps_per_epoch(batches: Batches, recipe: Recipe) -> int:
    """Optimizer steps an epoch; the last one may have fewer batches than the others."""
    return -(-len(batches) // recipe.accumulation)


@dataclass(kw_only=True)
class TrainingLoop:
    """Everything an optimizer step needs."""

    classifier: Classifier
    model: nn.Module
    """From inputs to logits: the classifier, or its part above the boundary; wrapped in a team."""
    recipe: Recipe
    criterion: ClassificationLoss
    optimizer: Optimizer
    average: WeightAverage
    mixer: Mixer
    precision: Precision
    scaler: torch.amp.GradScaler
    team: Team
    emit: Emitter
    progress: Progress
    steps_total: int
    terminated: Callable[[], bool]

    def run_epoch(self, batches: Batches) -> None:
        """Train on what is left of the epoch under way.

        Raises:
            DivergedError: a loss or gradient is not finite; the optimizer has not used it.
            TerminatedError: the process was asked to end; the last step is done and counted.
        """
        self.emit(EpochStarted(epoch=self.progress.epoch, step=self.progress.step))
        train_mode(self.classifier, self.recipe)
        for group in self._groups(batches):
            self._step(group)

    def _groups(self, batches: Batches) -> Iterator[list[_Loaded]]:
        """The batches of each optimizer step that is still to do."""
        recipe, progress = self.recipe, self.progress
        start = progress.steps_in_epoch * recipe.accumulation
        shard = self.team.shard
        source = batches.iterate(progress.epoch, recipe.seed, shard=shard, start=start)
        with closing(_timed(source, start)) as loaded:
            while group := list(islice(loaded, recipe.accumulation)):
                yield group

    def _step(self, group: list[_Loaded]) -> None:
        begun = time.perf_counter()
        device = self.precision.device
        rows = sum(len(loaded.batch.targets) for loaded in group)
        (all_rows,) = self.team.sum([float(rows)], device)
        losses, right = [], []
        for loaded in group:
            # A team's gradients are averaged, not added up: its size makes up for that.
            share = len(loaded.batch.targets) * self.team.size / all_rows
            with self._syncing(last=loaded is group[-1]):
                loss, correct = self._forward_backward(loaded, share)
            losses.append(loss * len(loaded.batch.targets))
            right.append(correct)
        sums = torch.stack([torch.stack(losses).sum().double(), torch.stack(right).sum().double()])
        stop = float(self.terminated())
        loss_sum, correct_sum, stop = self.team.sum([*sums.tolist(), stop], device)
        self._update(loss_sum, correct_sum, all_rows, begun)
        if stop:
            raise TerminatedError

    def _forward_backward(self, loaded: _Loaded, share: float) -> tuple[Tensor, Tensor]:
        """The batch's mean loss and how many photos it has right, both scalars on the device."""
        device, step, recipe = self.precision.device, self.progress.step, self.recipe
        inputs = loaded.batch.inputs.to(device, non_blocking=True).float()
        labels = loaded.batch.targets.to(device, non_blocking=True)
        self.emit(
            BatchLoaded(
                step=step,
                inputs=inputs,
                targets=labels,
                ids=loaded.batch.ids,
                wait_seconds=loaded.wait_seconds,
            )
        )
        generator = random("mix", recipe.seed, self.progress.epoch, loaded.number, self.team.rank)
        inputs, targets = self.mixer(inputs, labels, generator)
        if recipe.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with self.precision.autocast():
            logits = self.model(inputs)
        loss = self.criterion(logits, targets)
        self.emit(ForwardEnded(step=step, logits=logits, loss=loss))
        self.scaler.scale(loss * share).backward()
        self.emit(BackwardEnded(step=step))
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()

    def _update(self, loss_sum: float, correct: float, rows: float, begun: float) -> None:
        """Let the optimizer step, unless what it would use is not finite."""
        progress, recipe = self.progress, self.recipe
        loss = loss_sum / rows
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss}")
        self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        # The scaler leaves out a step whose fp16 gradients overflow; without it nothing does.
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise DivergedError(f"the gradient's norm became {norm}")
        factor = cosine_with_warmup(progress.step, self.steps_total, recipe.warmup_share)
        rates = set_learning_rates(self.optimizer, factor)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        progress.count(loss_sum, correct, rows)
        self.average.update(progress.step)
        self.emit(
            StepEnded(
                step=progress.step,
                loss=loss,
                learning_rates=rates,
                gradient_norm=norm,
                examples=int(rows),
                seconds=time.perf_counter() - begun,
            )
        )
        self.optimizer.zero_grad()

    def _clip(self) -> float:
        """Scale the gradients down to the recipe's norm; their norm before."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.recipe.clip_norm:
            clip_grads_with_norm_(parameters, self.recipe.clip_norm, norm)
        return float(norm)

    def _syncing(self, *, last: bool) -> AbstractContextManager[None]:
        """In a team, exchange gradients once a step, with its last batch."""
        if last or self.team.size == 1:
            return nullcontext()
        assert isinstance(self.model, DistributedDataParallel)
        return self.model.no_sync()


def _timed(source: Iterator[Batch], start: int) -> Generator[_Loaded, None, None]:
    """`source` with each batch's number and the time it was waited for."""
    number, begun = start, time.perf_counter()
    try:
        for batch in source:
            yield _Loaded(batch, number, time.perf_counter() - begun)
            number, begun = number + 1, time.perf_counter()
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
