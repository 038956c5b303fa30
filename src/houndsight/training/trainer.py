"""Fine-tuning a classifier: the last stage of its backbone and its head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from houndsight.errors import SettingError
from houndsight.events import Emitter, Listener
from houndsight.training.batches import Batches
from houndsight.training.distributed import Team, join_team
from houndsight.training.optimizers import freeze
from houndsight.training.precision import choose_device, choose_precision
from houndsight.training.recipe import Recipe
from houndsight.training.session import Session
from houndsight.training.termination import deferred_termination

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = ["Trainer", "TrainingResult"]


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training."""

    metrics: dict[str, float]
    """Of the best epoch on the validation photos: `evaluate_probabilities` after temperature
    scaling, `loss` before it, `temperature`, `train_loss`, `train_top1`. Empty when no epoch
    finished; the classifier is then as it was."""
    best_epoch: int | None
    """Counted from 0."""
    epochs_done: int
    reason: str
    """Why it ended, as part of a sentence."""
    seconds: float
    """Over all the times it was resumed."""
    finished: bool = True
    """False when it was asked to end before it was done; `fit` goes on from there."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The figures of every epoch."""


class Trainer:
    """Trains a classifier by a recipe and keeps the best epoch's weights.

    `folder` gets the checkpoint. `deadline` says how many seconds are left: an epoch that would
    overrun it is not begun, while `recipe.epochs` alone decides the learning rates. Under
    `torchrun` all processes train one model; rank 0 writes files and tells the listeners.
    """

    def __init__(
        self,
        classifier: Classifier,
        recipe: Recipe,
        *,
        folder: Path,
        listeners: Iterable[Listener] = (),
        deadline: Callable[[], float] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.classifier = classifier
        self.recipe = recipe
        self.folder = folder
        names = range(classifier.head.classes) if classes is None else classes
        self._classes = tuple(str(name) for name in names)
        self._listeners = list(listeners)
        self._deadline = deadline

    def fit(self, train: Batches, valid: Batches, *, resume: bool = True) -> TrainingResult:
        """Train; the classifier ends with the best weights, where it was and in eval mode.

        With `resume` a checkpoint in the folder is gone on from: killed at any moment, at most
        the epoch under way (of `checkpoint_every_epochs`) is done again, and on a CPU with as
        many threads the final weights are those of a training that was never killed. SIGTERM
        loses nothing; the signal is raised again once the state is saved.

        Raises:
            SettingError: the recipe does not fit the device, the batches or the team.
            RunError: the checkpoint is another training's, or damaged.
            DataError: no validation photo could be decoded.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with deferred_termination() as terminated, join_team(self.recipe.device) as team:
            self._check(train, valid, team)
            device = choose_device(self.recipe.device, team.local_rank)
            with _own_generators(device), self._placed(device):
                session = Session(
                    self.classifier,
                    self.recipe,
                    train,
                    valid,
                    folder=self.folder,
                    classes=self._classes,
                    precision=choose_precision(self.recipe.precision, device),
                    team=team,
                    emit=Emitter(self._listeners if team.rank == 0 else ()),
                    deadline=self._deadline,
                    terminated=terminated,
                )
                session.run(resume=resume)
        return _result(session)

    def _check(self, train: Batches, valid: Batches, team: Team) -> None:
        recipe = self.recipe
        if recipe.trainable == "all" and "activations" in (train.kind, valid.kind):
            raise SettingError(
                "training.trainable is all, but the batches are activations, which the trunk has "
                "already made; use stage, or train on photos."
            )
        rows = min(recipe.batch_size, len(train.labels))
        if rows < 2 * team.size and team.size > 1:
            raise SettingError(
                f"A batch has {rows} photos for {team.size} processes; raise training.batch_size "
                f"to at least {2 * team.size}, or start fewer processes."
            )

    @contextmanager
    def _placed(self, device: torch.device) -> Iterator[None]:
        """Inside, the classifier is on `device` and trainable as the recipe says."""
        classifier = self.classifier
        home = next(classifier.parameters()).device
        gradients = {p: p.requires_grad for p in classifier.parameters()}
        order = torch.channels_last if self.recipe.channels_last else torch.preserve_format
        classifier.to(device).to(memory_format=order)
        freeze(classifier, self.recipe)
        try:
            yield
        finally:
            classifier.to(home).to(memory_format=torch.contiguous_format)
            for parameter, before in gradients.items():
                parameter.requires_grad_(before)
                parameter.grad = None
            classifier.eval()


@contextmanager
def _own_generators(device: torch.device) -> Iterator[None]:
    """Leave PyTorch's random generators as they were found."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _result(session: Session) -> TrainingResult:
    progress = session.progress
    return TrainingResult(
        metrics=dict(progress.best_metrics),
        best_epoch=progress.best_epoch,
        epochs_done=progress.epoch,
        reason=progress.reason or "it was asked to end (SIGTERM)",
        seconds=progress.seconds,
        finished=bool(progress.reason),
        history=list(progress.history),
    )
