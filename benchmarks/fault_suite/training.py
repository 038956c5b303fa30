"""The training loop of a script, with whatever a spec makes wrong in it."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fault_suite.batches import Batches
from fault_suite.healthy import recipe
from fault_suite.networks import Network, build
from fault_suite.photos import Photos, by_class, photos
from fault_suite.preparing import evaluated
from fault_suite.spec import Spec
from fault_suite.weights import initialise
from houndsight.debugger import Hook
from houndsight.findings import Finding

__all__ = ["Outcome", "Training", "train"]

EVALUATIONS = 6
PRETRAINING_STEPS = 300
ONE_HOT = ("mse", "l1", "bce", "kl_div")
"""Losses that take one-hot rows."""


@dataclass
class Outcome:
    """What a training came to."""

    accuracy: float
    """Of the script's own evaluation: the last one, or the best where it keeps the best."""
    seconds: float
    findings: list[Finding]
    """What the hook said live, before it was closed."""


class Training:
    """One training of a spec.

    Args:
        spec: what is trained, and how.
        weights: the folder where weights for transfer are kept.
    """

    def __init__(self, spec: Spec, weights: Path) -> None:
        self.spec = spec
        part = "scratch" if spec.start == "scratch" else "transfer"
        self.photos = photos(spec.data, part, spec.seed)
        if spec.split == "sorted":
            self.photos = by_class(self.photos)
        torch.manual_seed(spec.seed)
        self.model = build(spec, self.photos.size, self.photos.classes)
        initialise(self.model, spec.initialisation)
        if spec.start == "transfer" and spec.pretrained:
            # Without running statistics there is no place for those of the weights.
            loaded = _pretrained(spec, weights)
            self.model.features.load_state_dict(loaded, strict=spec.running_statistics)
        _freeze(self.model, spec)
        if not spec.registered:
            _unregister(self.model)
        self.batches = Batches(spec, self.photos)
        self.criterion = _criterion(spec, self.photos, self.batches)
        self.held = copy.deepcopy(self.model) if spec.held == "stale" else self.model
        self.optimizer = self._optimizer()
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = copy.deepcopy(self.model.state_dict())
        self.initial = copy.deepcopy(self.model.state_dict())
        self.targets: Tensor | None = None
        """Of the batch before."""
        self.epochs = 0
        """How many have begun."""

    def hook(self, folder: Path) -> Hook:
        """Watches it, as two lines in a script do."""
        optimizer = None if self.spec.rebuilt else self.optimizer
        return Hook(self.model, loss=self.criterion, optimizer=optimizer, folder=folder)

    def run(self) -> list[float]:
        """Train; the accuracies of the evaluations."""
        spec, accuracies = self.spec, list[float]()
        inputs = evaluated(spec, self.photos)[self.batches.valid_kept]
        labels = self.batches.valid_labels
        every = max(spec.steps // EVALUATIONS, 1)
        if spec.mode == "eval":
            self.model.eval()
        for step, micro_batches in zip(range(spec.steps), self._steps(), strict=False):
            if spec.redrawn and self.batches.begins_epoch:
                initialise(self.model, "default")
            if step == spec.unfrozen_at:
                self.model.requires_grad_(True)
            if spec.reloaded and self.batches.begins_epoch:
                self.model.load_state_dict(self.initial)
            self._step(step, micro_batches)
            if (step + 1) % every == 0:
                accuracies.append(self._evaluate(inputs, labels))
        return accuracies

    def _steps(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        batches = iter(self.batches)
        while True:
            yield [next(batches) for _ in range(self.spec.accumulation)]

    def _step(self, step: int, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
        spec = self.spec
        if spec.rebuilt:
            self.optimizer = self._optimizer()
        self.epochs += self.batches.begins_epoch
        if spec.stepped == "each epoch" and self.batches.begins_epoch and step:
            self.optimizer.step()
        share = spec.rate_at(step) / spec.learning_rate
        if spec.epoch_factor != 1:
            share *= spec.epoch_factor ** max(self.epochs - 1, 0)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        begins = spec.zero_grad == "each epoch" and self.batches.begins_epoch
        if spec.zero_grad == "before" or begins:
            self.held.zero_grad()
            self.model.zero_grad()
        if spec.stepped == "before backward":
            self._take_step()
        factor = spec.loss_factor / (spec.accumulation if spec.divided else 1)
        for images, targets in micro_batches:
            self._backward(self._loss(images, targets) * factor)
        self._clip()
        if spec.zero_grad == "between":
            self.optimizer.zero_grad()
        if (step + 1) % spec.stepped_every == 0 and spec.stepped == "after backward":
            self._take_step()

    def _take_step(self) -> None:
        self.optimizer.step()
        self._after_step()
        if self.spec.zero_grad == "after":
            self.held.zero_grad()

    def _clip(self) -> None:
        spec = self.spec
        if spec.unscaled == "before clipping":
            self._unscale()
        if spec.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), spec.clip_norm)
        if spec.clip_value is not None:
            nn.utils.clip_grad_value_(self.model.parameters(), spec.clip_value)
        if spec.unscaled == "after clipping":
            self._unscale()

    def _unscale(self) -> None:
        if self.spec.grad_scale != 1:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad /= self.spec.grad_scale

    def _backward(self, loss: Tensor) -> None:
        if self.spec.grad_scale != 1:
            loss = loss * self.spec.grad_scale
        if self.spec.backward == "copy":
            loss = loss.detach().clone().requires_grad_()
        if self.spec.backward != "missing":
            torch.autograd.backward(loss)

    def _after_step(self) -> None:
        limit, decay = self.spec.weight_limit, self.spec.average
        with torch.no_grad():
            if limit is not None:
                for parameter in self.model.parameters():
                    parameter.clamp_(-limit, limit)
            if decay is not None:
                for name, value in self.model.state_dict().items():
                    if value.is_floating_point():
                        self.average[name].lerp_(value, 1 - decay)

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        logits = self._logits(images)
        targets = self._targets(logits, targets)
        count = self.spec.loss_examples or len(logits)
        logits, targets = logits[:count], targets[:count]
        loss: Tensor = self.criterion(*self._compared(logits, targets))
        if self.spec.penalty:
            squares = [(p**2).sum() for p in self.model.parameters()]
            loss = loss + self.spec.penalty * torch.stack(squares).sum()
        if self.spec.l1:
            sums = [p.abs().sum() for p in self.model.parameters()]
            loss = loss + self.spec.l1 * torch.stack(sums).sum()
        return loss

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits if self.spec.temperature == 1 else logits / self.spec.temperature

    def _targets(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What the loss compares with: the labels, unless the spec says otherwise."""
        before, self.targets = self.targets, targets
        if self.spec.labels == "of previous batch":
            return targets if before is None else before
        return logits.detach().argmax(1) if self.spec.labels == "predicted" else targets

    def _compared(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What the criterion takes."""
        if self.spec.loss in ONE_HOT:
            return logits, nn.functional.one_hot(targets, logits.shape[1]).float()
        return (logits[:, 0], targets.float()) if self.spec.loss == "index" else (logits, targets)

    def _evaluate(self, images: Tensor, labels: Tensor) -> float:
        old = self.spec.evaluation_weights == "start"
        if self.spec.average is None and self.spec.buffers_copied and not old:
            return self._accuracy(images, labels)
        kept = copy.deepcopy(self.model.state_dict())
        if self.spec.average is not None:
            self.model.load_state_dict(self.average)
        elif old:
            self.model.load_state_dict(self.initial)
        if not self.spec.buffers_copied:
            lost = {name: self.initial[name] for name, _ in self.model.named_buffers()}
            self.model.load_state_dict(lost, strict=False)
        accuracy = self._accuracy(images, labels)
        if self.spec.restored:
            self.model.load_state_dict(kept)
        return accuracy

    def _accuracy(self, images: Tensor, labels: Tensor) -> float:
        if self.spec.evaluation_mode == "eval":
            self.model.eval()
        right = 0
        with torch.no_grad():
            size = self.spec.evaluation_batch
            for first in range(0, len(images), size):
                some = slice(first, first + size)
                logits = self._logits(images[some])
                self.criterion(*self._compared(logits, labels[some]))
                index = self.spec.loss == "index"
                said = logits[:, 0].round() if index else logits.argmax(1)
                right += int((said == labels[some]).sum())
        if self.spec.mode == "train":
            self.model.train()
        return right / len(images)

    def _optimizer(self) -> torch.optim.Optimizer:
        spec, model = self.spec, self.held
        rate = spec.learning_rate
        backbone = list(model.features.parameters()) if spec.registered else []
        head = [p for name, p in model.named_parameters() if not name.startswith("features.")]
        if spec.held == "biases":
            backbone, head = ([p for p in some if p.dim() == 1] for some in (backbone, head))
        if spec.held == "old head":
            head = [nn.Parameter(p.detach().clone()) for p in head]
        if spec.held == "all but one":
            largest = max(backbone, key=lambda parameter: parameter.numel())
            backbone = [p for p in backbone if p is not largest]
        groups: list[dict[str, Any]] = []
        if spec.held != "head":
            groups.append({"params": backbone, "lr": rate * spec.backbone_factor})
        if spec.held != "backbone":
            groups.append({"params": head, "lr": rate})
        if len({group["lr"] for group in groups}) == 1:
            groups = [{"params": [p for group in groups for p in group["params"]]}]
        decay, maximize = spec.weight_decay, spec.maximize
        algorithm = spec.optimizer if spec.algorithm == "usual" else spec.algorithm
        if algorithm == "adadelta":
            return torch.optim.Adadelta(groups, rate, weight_decay=decay, maximize=maximize)
        if algorithm == "rmsprop":
            return torch.optim.RMSprop(groups, rate, weight_decay=decay)
        if algorithm in ("sgd", "nesterov"):
            return torch.optim.SGD(
                groups,
                rate,
                momentum=spec.momentum,
                dampening=spec.dampening,
                weight_decay=decay,
                nesterov=algorithm == "nesterov",
                maximize=maximize,
            )
        kind = torch.optim.AdamW if algorithm == "adamw" else torch.optim.Adam
        betas = (spec.beta1, spec.beta2)
        return kind(groups, rate, betas=betas, eps=spec.eps, weight_decay=decay, maximize=maximize)


def train(spec: Spec, weights: Path, folder: Path | None = None) -> Outcome:
    """Train a spec, recorded into a run folder where one is given."""
    training = Training(spec, weights)
    started = time.perf_counter()
    findings: list[Finding] = []
    if folder is None:
        accuracies = training.run()
    else:
        with training.hook(folder) as hook:
            accuracies = training.run()
            findings = hook.findings()
    accuracy = accuracies[-1] if spec.patience is None else max(accuracies)
    return Outcome(accuracy, time.perf_counter() - started, findings)


def _freeze(model: Network, spec: Spec) -> None:
    if spec.frozen == "none":
        return
    frozen = model.features if spec.frozen == "backbone" else model.head
    for parameter in frozen.parameters():
        setattr(parameter, "require_grad" if spec.misspelt else "requires_grad", False)


def _unregister(model: Network) -> None:
    """Keep the features where PyTorch does not look for modules, as in a plain list."""
    features = model.features
    del model.features
    model.__dict__["features"] = features


class Focal(nn.Module):
    """Cross-entropy that counts examples less the surer they are."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean over the batch."""
        each = nn.functional.cross_entropy(logits, targets, reduction="none")
        return ((1 - torch.exp(-each)) ** self.gamma * each).mean()


def _criterion(spec: Spec, data: Photos, batches: Batches) -> Any:
    if spec.loss in ONE_HOT:
        kinds = {"mse": nn.MSELoss, "l1": nn.L1Loss, "bce": nn.BCEWithLogitsLoss}
        return kinds.get(spec.loss, nn.KLDivLoss)(
            reduction="batchmean" if spec.loss == "kl_div" else spec.reduction
        )
    if spec.loss == "index":
        return nn.MSELoss()
    if spec.loss == "focal":
        return Focal(spec.gamma)
    weight = None
    outputs = spec.head_outputs or data.classes
    if spec.zero_weight:
        weight = torch.ones(outputs)
        weight[:2] = 0
    elif spec.first_weight != 1:
        weight = torch.ones(outputs)
        weight[0] = spec.first_weight
    elif spec.balance in ("weights", "inverted weights"):
        counts = torch.bincount(batches.labels, minlength=outputs).clamp(min=1).float()
        weight = counts.sum() / counts / outputs
        weight = 1 / weight if spec.balance == "inverted weights" else weight
    ignored = -100 if spec.ignored_class is None else spec.ignored_class
    if spec.loss == "nll":
        return nn.NLLLoss(weight, ignore_index=ignored, reduction=spec.reduction)
    return nn.CrossEntropyLoss(
        weight,
        ignore_index=ignored,
        reduction=spec.reduction,
        label_smoothing=spec.label_smoothing,
    )


def _pretrained(spec: Spec, folder: Path) -> dict[str, Tensor]:
    """The features' weights after a healthy training on the data set's other classes."""
    path = folder / f"{spec.network}-{spec.data}.pt"
    if not path.exists():
        source = recipe(spec.network, spec.data, "adam", "scratch", 0)
        training = _SourceTraining(replace(source, steps=PRETRAINING_STEPS), folder)
        training.run()
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".aside")
        torch.save(training.model.features.state_dict(), aside)
        aside.replace(path)
    state: dict[str, Tensor] = torch.load(path)
    return state


class _SourceTraining(Training):
    """On the classes that a transfer does not have."""

    def __init__(self, spec: Spec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.photos = photos(spec.data, "source", spec.seed)
        torch.manual_seed(spec.seed)
        self.model = build(spec, self.photos.size, self.photos.classes)
        self.batches = Batches(spec, self.photos)
        self.held = self.model
        self.optimizer = self._optimizer()
