"""Trains copies of what a script trains, on the batches that it trained on.

Every trial begins with the weights as they were before the script's first step, and leaves the
script's own model, optimizer and random numbers alone.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.doctor.batches import Batch, TrainingStep, compute_loss
from houndsight.debugger.hook.activations import first_tensor

__all__ = ["Bench", "Curve", "Setup", "are_probabilities"]

TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a trial differs from what the script does; by default in nothing."""

    rate: float | None = None
    """The learning rate of the group with the highest one; others keep their proportion."""
    zero_grad: bool = True
    train_mode: bool | None = None
    """None: every module in the mode that the script has it in."""
    all_parameters: bool = False
    """Whether every parameter is trained, frozen ones and forgotten ones too."""
    groups: Mapping[str, Any] = field(default_factory=dict)
    """Settings of all parameter groups, such as `eps` or `weight_decay`."""
    clip_norm: float | None = None
    batchnorm_momentum: float | None = None
    logarithm: bool = False
    """Whether the output, probabilities, is turned back into logits."""
    transform: str = ""
    """What is done to the output before the loss, of `batches.TRANSFORMS`."""
    loss: str = ""
    """Another function of `torch.nn.functional`."""
    normalise: bool = False
    """Whether inputs are brought to mean 0 and deviation 1 by channel."""


@dataclass
class Curve:
    """What a trial gave, a value a step."""

    losses: list[float] = field(default_factory=list)
    """What was differentiated."""
    measured: list[float] = field(default_factory=list)
    """Negative log-likelihood of the labels, so that losses of two kinds can be compared; the
    loss itself where labels are no class indices."""
    accuracies: list[float] = field(default_factory=list)
    cut_off: bool = False
    """Whether the time was up."""

    @property
    def end(self) -> float:
        """Where it arrives: the mean of the last fifth; infinity when it is not finite."""
        last = self.measured[-max(len(self.measured) // 5, 1) :]
        mean = sum(last) / len(last) if last else math.inf
        return mean if math.isfinite(mean) else math.inf


class Bench:
    """The model, the optimizers and the batches of a script, ready for trials.

    Args:
        model: as it was before the first step; it is copied for every trial.
        optimizers: of its parameters.
        steps: what the script's steps were made of; a trial that is longer begins again.
        seconds: how long one trial may take.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        steps: Sequence[TrainingStep],
        *,
        seconds: float = 60.0,
    ) -> None:
        self.model, self.optimizers = model, list(optimizers)
        self.steps = [step for step in steps if step.batches]
        self.seconds = seconds

    @property
    def rate(self) -> float:
        """The script's highest learning rate over its steps."""
        return max((max(step.rates, default=0.0) for step in self.steps), default=0.0)

    def train(
        self,
        setup: Setup,
        *,
        steps: int,
        rates: Sequence[float] | None = None,
        only_first: bool = False,
        until: float = math.inf,
    ) -> Curve:
        """A trial.

        Args:
            setup: how it differs from the script.
            steps: how many.
            rates: the learning rate of each step, for a range test.
            only_first: train on the first step's batches again and again.
            until: leave when the loss is above this many times the lowest one.
        """
        curve, end = Curve(), time.monotonic() + self.seconds
        with _quiet():
            model, optimizers = self._copies(setup)
            for number in range(steps):
                taken = self.steps[0 if only_first else number % len(self.steps)]
                self._set_rates(optimizers, taken, setup, rates[number] if rates else None)
                self._step(model, optimizers, taken, setup, curve)
                lowest = min(curve.losses)
                if not math.isfinite(curve.losses[-1]) or curve.losses[-1] > until * lowest:
                    break
                if time.monotonic() > end:
                    curve.cut_off = True
                    break
        return curve

    def forward(self, batch: Batch, *, training: bool) -> tuple[float, Tensor]:
        """The loss and the output of a batch, in one mode, without a step."""
        with _quiet(), torch.no_grad():
            model = copy.deepcopy(self.model).train(training)
            output = _output(model, batch, Setup())
            return float(compute_loss(batch, output)), output

    def _step(
        self,
        model: nn.Module,
        optimizers: Iterable[torch.optim.Optimizer],
        taken: TrainingStep,
        setup: Setup,
        curve: Curve,
    ) -> None:
        if setup.zero_grad:
            model.zero_grad()
        losses, measured, right, count = [], [], 0.0, 0
        for batch in taken.batches:
            output = _output(model, batch, setup)
            loss = compute_loss(batch, output, kind=setup.loss, transform=setup.transform)
            torch.autograd.backward(loss / len(taken.batches))
            losses.append(float(loss.detach()))
            likelihood, hits = _judged(batch, output.detach())
            measured.append(losses[-1] if likelihood is None else likelihood)
            right, count = right + hits, count + len(batch.targets)
        if setup.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), setup.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
        curve.losses.append(sum(losses) / len(losses))
        curve.measured.append(sum(measured) / len(measured))
        curve.accuracies.append(right / max(count, 1))

    def _copies(self, setup: Setup) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
        # Copied together, so that the optimizers hold the parameters of the copy.
        model, optimizers = copy.deepcopy((self.model, self.optimizers))
        if setup.train_mode is not None:
            model.train(setup.train_mode)
        if setup.batchnorm_momentum is not None:
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.momentum = setup.batchnorm_momentum
        if setup.all_parameters:
            _hold_all(model, optimizers)
        for group in (g for o in optimizers for g in o.param_groups):
            group |= {k: v for k, v in setup.groups.items() if k in group}
        return model, optimizers

    def _set_rates(
        self,
        optimizers: Iterable[torch.optim.Optimizer],
        taken: TrainingStep,
        setup: Setup,
        rate: float | None,
    ) -> None:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        wanted = setup.rate if rate is None else rate
        highest = max(taken.rates, default=0.0) if rate is not None else self.rate
        factor = 1.0 if wanted is None else wanted / max(highest, TINY)
        for group, own in zip(groups, taken.rates, strict=False):
            group["lr"] = own * factor


def _output(model: nn.Module, batch: Batch, setup: Setup) -> Tensor:
    args = batch.args
    if setup.normalise:
        args = tuple(_normalised(a) if isinstance(a, Tensor) else a for a in args)
    output = first_tensor(model(*args, **batch.kwargs))
    assert output is not None
    return (output.clamp_min(TINY)).log() if setup.logarithm else output


def _normalised(inputs: Tensor) -> Tensor:
    if not inputs.is_floating_point() or inputs.ndim < 2:
        return inputs
    over = [d for d in range(inputs.ndim) if d != 1] if inputs.ndim > 2 else [0, 1]
    deviation = inputs.std(over, keepdim=True).clamp_min(1e-6)
    return (inputs - inputs.mean(over, keepdim=True)) / deviation


def _judged(batch: Batch, output: Tensor) -> tuple[float | None, float]:
    """Negative log-likelihood of the labels, and how many answers are right."""
    targets = batch.targets
    if output.ndim != 2 or output.shape[1] < 2 or targets.shape[0] != output.shape[0]:
        return None, 0.0
    if targets.ndim == 2 and targets.shape == output.shape:
        targets = targets.argmax(1)
    if targets.ndim != 1 or targets.is_floating_point():
        return None, 0.0
    kept = (targets >= 0) & (targets < output.shape[1])
    if not bool(kept.any()):
        return None, 0.0
    output, targets = output[kept].float(), targets[kept]
    sums = output.exp().sum(1) if bool((output <= 0).all()) else None
    if are_probabilities(output):
        logs = output.clamp_min(TINY).log()
    elif sums is not None and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        logs = output
    else:
        logs = output.log_softmax(1)
    hits = float((output.argmax(1) == targets).sum())
    return float(-logs.gather(1, targets[:, None]).mean()), hits


def are_probabilities(output: Tensor) -> bool:
    """Whether every row is at least 0 and sums to 1."""
    if output.ndim != 2 or not bool((output >= 0).all()):
        return False
    sums = output.float().sum(1)
    return torch.allclose(sums, torch.ones_like(sums), atol=1e-3)


def _hold_all(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    held = {id(p) for o in optimizers for g in o.param_groups for p in g["params"]}
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    missing = [p for p in model.parameters() if p.requires_grad and id(p) not in held]
    optimizers[0].param_groups[0]["params"] += missing


@contextmanager
def _quiet() -> Any:
    """With gradients, outside of autocast, and with random numbers of its own."""
    devices = list(range(torch.cuda.device_count()))
    off = torch.autocast("cuda", enabled=False) if devices else nullcontext()
    with torch.random.fork_rng(devices=devices), torch.enable_grad(), off:
        torch.manual_seed(0)
        yield
