"""One training from its first or resumed epoch to its end: epochs, best weights, checkpoints."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from houndsight.errors import RunError
from houndsight.events import (
    Emitter,
    EpochEnded,
    EvaluationEnded,
    EvaluationForward,
    EvaluationStarted,
    TrainingEnded,
    TrainingStarted,
)
from houndsight.training.batches import Batch, Batches
from houndsight.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    under,
)
from houndsight.training.distributed import Team
from houndsight.training.ema import WeightAverage
from houndsight.training.evaluate import calibrated_metrics, evaluate
from houndsight.training.loop import (
    DivergedError,
    TerminatedError,
    TrainingLoop,
    steps_per_epoch,
)
from houndsight.training.losses import ClassificationLoss
from houndsight.training.mix import Mixer
from houndsight.training.optimizers import build_optimizer, trained_tensors
from houndsight.training.order import random
from houndsight.training.precision import Precision
from houndsight.training.progress import Progress
from houndsight.training.recipe import Recipe

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = ["CHECKPOINT", "Session"]

CHECKPOINT = "training.safetensors"
HARMLESS = ("checkpoint_every_epochs", "device")
"""Recipe fields that may change when a training is resumed."""


class Session:
    """A training under way. The classifier is on its device and frozen as the recipe says."""

    def __init__(
        self,
        classifier: Classifier,
        recipe: Recipe,
        train: Batches,
        valid: Batches,
        *,
        folder: Path,
        classes: tuple[str, ...],
        precision: Precision,
        team: Team,
        emit: Emitter,
        deadline: Callable[[], float] | None,
        terminated: Callable[[], bool],
    ) -> None:
        self.classifier, self.recipe, self.train, self.valid = classifier, recipe, train, valid
        self.path, self.classes, self.team, self.emit = folder / CHECKPOINT, classes, team, emit
        self.deadline, self.terminated = deadline, terminated
        self.progress = Progress()
        self.tensors = trained_tensors(classifier, recipe)
        self.best = _copied(self.tensors)
        self._generator_state: Tensor | None = None
        # Taken before the first step: the backbone's hash follows its weights as they train.
        self._of = self._identity()
        self.loop = self._build(precision)

    def run(self, *, resume: bool) -> None:
        """Train until there is a reason to end, then put the best weights in place."""
        if resume:
            self._restore()
        loop, progress = self.loop, self.progress
        self.emit(
            TrainingStarted(
                model=self.classifier,
                optimizer=loop.optimizer,
                criterion=loop.criterion,
                classes=self.classes,
                steps_total=loop.steps_total,
                first_step=progress.step,
            )
        )
        try:
            while not progress.reason:
                progress.reason = self._reason_to_end() or ""
                if not progress.reason:
                    self._epoch()
        except DivergedError as error:
            progress.reason = self._diverged(error)
        except TerminatedError:
            self._save()
            self._end("it was asked to end (SIGTERM); it can be resumed")
            return
        self._save(finished=True)
        self._end(progress.reason)

    def _epoch(self) -> None:
        begun, progress = time.monotonic(), self.progress
        before = progress.seconds
        self._seed_generators()
        try:
            self.loop.run_epoch(self.train)
            metrics = self._figures()
        finally:
            progress.seconds = before + time.monotonic() - begun
        epoch, best = progress.epoch, progress.finish_epoch(metrics)
        if best:
            with self.loop.average.applied():
                self.best = _copied(self.tensors)
        took = time.monotonic() - begun
        progress.seconds, progress.epoch_seconds = before + took, max(took, progress.epoch_seconds)
        if progress.epoch % self.recipe.checkpoint_every_epochs == 0:
            self._save()
        self.emit(EpochEnded(epoch=epoch, step=progress.step, metrics=metrics, best=best))

    def _figures(self) -> dict[str, float]:
        """The figures of the epoch under way, on training and validation photos."""
        step = self.progress.step
        self.emit(EvaluationStarted(split="valid", step=step))
        with self.loop.average.applied():
            found = evaluate(
                self.classifier,
                self.valid,
                precision=self.loop.precision,
                team=self.team,
                on_batch=self._evaluated,
            )
        if not np.isfinite(found.logits).all():
            raise DivergedError("an output on a validation photo is not a finite number")
        metrics = calibrated_metrics(found)
        self.emit(EvaluationEnded(split="valid", step=step, metrics=metrics))
        return {**self.progress.training_metrics(), **metrics}

    def _evaluated(self, batch: Batch, logits: Tensor) -> None:
        self.emit(
            EvaluationForward(
                split="valid",
                step=self.progress.step,
                inputs=batch.inputs,
                logits=logits,
                targets=batch.targets,
            )
        )
        if self.terminated() and self.team.size == 1:
            raise TerminatedError

    def _reason_to_end(self) -> str | None:
        progress, recipe = self.progress, self.recipe
        if progress.epoch >= recipe.epochs:
            return f"all {recipe.epochs} epochs are done"
        if recipe.patience and progress.epochs_since_best >= recipe.patience:
            return f"the validation loss has not improved for {recipe.patience} epochs"
        left = self.team.leader(self.deadline() if self.deadline else None)
        if left is not None and left <= progress.epoch_seconds:
            return (
                f"the time budget has {max(left, 0):.0f} s left and an epoch takes "
                f"{progress.epoch_seconds:.0f} s"
            )
        return None

    def _diverged(self, error: DivergedError) -> str:
        kept = "the weights it started with are"
        if self.progress.best_epoch is not None:
            kept = f"the weights of epoch {self.progress.best_epoch + 1} are"
        return (
            f"{error} at step {self.progress.step + 1} (epoch {self.progress.epoch + 1}); "
            f"{kept} kept. Lower training.learning_rate and training.head_learning_rate, or set "
            "training.precision to fp32"
        )

    def _end(self, reason: str) -> None:
        _fill(self.tensors, self.best)
        metrics: Mapping[str, Any] = self.progress.best_metrics
        self.emit(TrainingEnded(step=self.progress.step, reason=reason, metrics=metrics))

    # -- building ---------------------------------------------------------------------------

    def _build(self, precision: Precision) -> TrainingLoop:
        recipe, classes = self.recipe, self.classifier.head.classes
        labels = torch.as_tensor(self.train.labels)
        model: nn.Module = self.classifier
        if self.train.kind == "activations":
            model = _AboveBoundary(self.classifier)
        return TrainingLoop(
            classifier=self.classifier,
            model=self.team.wrap(model, precision.device),
            recipe=recipe,
            criterion=ClassificationLoss.of(recipe, labels, classes).to(precision.device),
            optimizer=build_optimizer(self.classifier, recipe),
            average=WeightAverage(self.tensors, recipe.ema_decay),
            mixer=Mixer.of(recipe, classes),
            precision=precision,
            scaler=precision.scaler(),
            team=self.team,
            emit=self.emit,
            progress=self.progress,
            steps_total=recipe.epochs * steps_per_epoch(self.train, recipe),
            terminated=self.terminated,
        )

    def _seed_generators(self) -> None:
        """Dropout of an epoch depends on seed and epoch, or goes on where a resumed one stopped."""
        if self._generator_state is not None:
            torch.set_rng_state(self._generator_state)
            self._generator_state = None
            return
        key = (self.recipe.seed, self.progress.epoch, self.team.rank)
        torch.manual_seed(int(random("dropout", *key).integers(2**63)))

    # -- saving -----------------------------------------------------------------------------

    def _save(self, *, finished: bool = False) -> None:
        """Write the checkpoint; of a finished training only the best weights."""
        if self.team.rank != 0:
            return
        tensors = under("best", self.best)
        if not finished:
            tensors |= under("weights", self.tensors)
            tensors |= under("average", self.loop.average.state())
            tensors |= under("optimizer", optimizer_tensors(self.loop.optimizer))
            tensors |= under("generator", {"torch": torch.get_rng_state()})
        record = {
            "of": self._of,
            "progress": self.progress.to_json(),
            "scaler": self.loop.scaler.state_dict(),
        }
        save_checkpoint(self.path, Checkpoint(tensors, record))

    def _restore(self) -> None:
        """Go on from the checkpoint, if there is one.

        Raises:
            RunError: it belongs to another recipe, network or set of photos, or is damaged.
        """
        found = load_checkpoint(self.path)
        if found is None:
            return
        self._refuse_another(found.record["of"])
        self.progress = self.loop.progress = Progress.from_json(found.record["progress"])
        _fill(self.best, found.part("best"))
        if self.progress.reason:
            return
        _fill(self.tensors, found.part("weights"))
        self.loop.average.restore(found.part("average"))
        restore_optimizer(self.loop.optimizer, found.part("optimizer"))
        if found.record["scaler"]:
            self.loop.scaler.load_state_dict(found.record["scaler"])
        if self.progress.steps_in_epoch:
            self._generator_state = found.part("generator")["torch"]

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint belongs to."""
        recipe = {k: v for k, v in self.recipe.to_json().items() if k not in HARMLESS}
        return {
            **{f"training.{name}": value for name, value in recipe.items()},
            "backbone": getattr(self.classifier.backbone, "weights_hash", ""),
            "classes": self.classifier.head.classes,
            "training photos": _photos(self.train),
            "validation photos": _photos(self.valid),
        }

    def _refuse_another(self, before: Mapping[str, Any]) -> None:
        now = self._of
        different = [
            f"{key} was {before[key]!r} and is {value!r}"
            for key, value in now.items()
            if key in before and before[key] != value
        ]
        if different:
            raise RunError(
                f"{self.path} belongs to another training: {'; '.join(different)}. Resume it "
                "unchanged, delete it, or use another folder."
            )


class _AboveBoundary(nn.Module):
    """The part of a classifier that takes activations."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, activations: Tensor) -> Tensor:
        return self.classifier.from_activations(activations)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}


@torch.no_grad()
def _fill(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _photos(batches: Batches) -> str:
    """A digest of ids and labels."""
    digest = hashlib.blake2b(batches.kind.encode(), digest_size=8)
    digest.update(batches.ids.tobytes())
    digest.update(batches.labels.tobytes())
    return digest.hexdigest()
