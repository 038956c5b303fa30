"""The fine-tuning of a `houndsight run`, begun again in a copy of its folder and examined."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from houndsight.debugger.doctor.batches import Batch, TrainingStep
from houndsight.debugger.doctor.bench import Bench
from houndsight.debugger.doctor.examine import examine
from houndsight.errors import RunError
from houndsight.events import (
    BatchLoaded,
    Event,
    ForwardEnded,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
)
from houndsight.pipeline import RunConfig
from houndsight.pipeline import run as run_job
from houndsight.runs import Run, RunStatus
from houndsight.training.recipe import Recipe

__all__ = ["examine_run", "settings_for"]

NOT_COPIED = ("watched", "tensors", "doctor", "model", "images", "logs", "fine-tuning", "report.*")
KEPT_STAGES = ("check", "backbone", "plan", "features", "tune", "look")


def examine_run(
    folder: Path, into: Path, causes: Sequence[Mapping[str, Any]], *, seconds: float, steps: int
) -> Mapping[str, Any]:
    """What stands in `doctor.json` of `into` after the checks.

    Everything before the training is taken from the run as it is; photos that its caches no
    longer hold are decoded again.

    Raises:
        RunError: the run fine-tuned nothing, or cannot be begun again.
    """
    run = Run.open(folder)
    if not (run.plan or {}).get("epochs"):
        raise RunError(
            f"{folder} fine-tuned nothing: its head was solved for exactly, and there is no "
            "training to examine."
        )
    capture = _Capture(steps)
    with _copied(folder) as copied:
        config = RunConfig.from_json(Run.open(copied).config)
        with suppress(_EnoughError):
            run_job(config=config, folder=copied, listeners=[capture])
    if capture.copied is None or not capture.made:
        raise RunError(f"The training of {folder} came to no step when it was begun again.")
    model, optimizer = capture.copied
    into.mkdir(parents=True)
    bench = Bench(_Forward(model), [optimizer], capture.made, seconds=seconds)
    examine(bench, capture.made, {"causes": list(causes), "steps": steps}, into)
    verdict: Mapping[str, Any] = json.loads((into / "doctor.json").read_text())
    return verdict


def settings_for(change: Mapping[str, Any], recipe: Recipe, rate: float) -> dict[str, Any]:
    """The settings of `houndsight run` that make the change; empty when none does.

    Args:
        change: as the repair was tried.
        recipe: the run's own.
        rate: the highest learning rate in the run's first steps.
    """
    if "learning_rate" in change and rate > 0:
        factor = float(change["learning_rate"]) / rate
        return {
            "training.learning_rate": float(f"{recipe.learning_rate * factor:.2g}"),
            "training.head_learning_rate": float(f"{recipe.head_learning_rate * factor:.2g}"),
        }
    known = {field.name for field in Recipe.describe()}
    return {f"training.{name}": value for name, value in change.items() if name in known}


class _EnoughError(Exception):
    """All steps that were wanted, or that there are, are captured."""


class _Capture:
    """Hears of a training and keeps what its steps were made of."""

    def __init__(self, steps: int) -> None:
        self.made: list[TrainingStep] = []
        self.copied: Any = None
        self._wanted = steps
        self._started: TrainingStarted | None = None
        self._loaded: BatchLoaded | None = None
        self._batches: list[Batch] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self._started = event
        elif isinstance(event, BatchLoaded) and self._started is not None:
            if self.copied is None:
                self.copied = copy.deepcopy((self._started.model, self._started.optimizer))
            self._loaded = event
        elif isinstance(event, ForwardEnded) and self._loaded is not None:
            self._batches.append(self._batch(self._loaded, float(event.loss.detach())))
        elif isinstance(event, StepEnded) and self._batches:
            self._step(event)
        elif isinstance(event, TrainingEnded):
            raise _EnoughError

    def _batch(self, loaded: BatchLoaded, loss: float) -> Batch:
        assert self._started is not None
        smoothing = float(getattr(self._started.criterion, "label_smoothing", 0.0))
        inputs, targets = loaded.inputs.detach().clone(), loaded.targets.detach().clone()
        settings = {"label_smoothing": smoothing}
        return Batch((inputs,), {}, targets, "cross_entropy", settings, "nothing", loss)

    def _step(self, event: StepEnded) -> None:
        losses = [batch.value for batch in self._batches]
        rates = tuple(map(float, event.learning_rates))
        self.made.append(
            TrainingStep(self._batches, rates, float(event.gradient_norm), losses=losses)
        )
        self._batches = []
        if len(self.made) >= self._wanted:
            raise _EnoughError


class _Forward(nn.Module):
    """A classifier that takes photos, or activations of its boundary."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier
        self._modes = {name: m.training for name, m in classifier.named_modules()}

    def forward(self, inputs: Tensor) -> Tensor:
        photos = inputs.ndim == 4 and inputs.shape[1] == 3
        above = self.classifier if photos else self.classifier.from_activations
        logits: Tensor = above(inputs)
        return logits

    def train(self, mode: bool = True) -> _Forward:
        """Evaluate, or train as the recipe does: most of it leaves BatchNorm evaluating."""
        for name, module in self.classifier.named_modules():
            module.training = mode and self._modes[name]
        return self


@contextmanager
def _copied(folder: Path) -> Iterator[Path]:
    """The run as it was before it trained, unwatched, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="houndsight-", ignore_cleanup_errors=True) as place:
        copied = Path(place) / "run"
        shutil.copytree(folder, copied, ignore=shutil.ignore_patterns(*NOT_COPIED))
        path = copied / "run.json"
        record = json.loads(path.read_text())
        record["stages"] = {k: v for k, v in record["stages"].items() if k in KEPT_STAGES}
        record |= {"status": RunStatus.STOPPED, "unfinished": {}, "seconds": 0.0}
        config = RunConfig.from_json(record["config"])
        unwatched = replace(config.debugger, rules="none")
        record["config"] = replace(config, debugger=unwatched).to_json()
        path.write_text(json.dumps(record))
        yield copied
