"""What a classifier says about every photo of a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from houndsight.errors import DataError
from houndsight.training.batches import Batch, Batches
from houndsight.training.calibrate import fit_temperature
from houndsight.training.distributed import ALONE, Team
from houndsight.training.metrics import evaluate_logits
from houndsight.training.precision import Precision

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = ["Evaluation", "calibrated_metrics", "evaluate", "run_classifier"]


@dataclass(frozen=True)
class Evaluation:
    """Logits `(n, classes)` float32, labels `(n,)` and ids `(n,)` of the photos that decoded."""

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]

    def metrics(self, temperature: float = 1.0) -> dict[str, float]:
        """`metrics.evaluate_probabilities` at a temperature."""
        return evaluate_logits(self.logits, self.labels, temperature=temperature)


def evaluate(
    classifier: Classifier,
    batches: Batches,
    *,
    precision: Precision | None = None,
    team: Team = ALONE,
    on_batch: Callable[[Batch, Tensor], None] | None = None,
) -> Evaluation:
    """Run `classifier` over a split, in evaluation mode and without gradients.

    Its training mode is put back afterwards. `on_batch` gets each batch and
    its logits `(b, classes)`. A team shares the work and everybody gets the whole.

    Raises:
        DataError: no photo of the split could be decoded.
    """
    precision = precision or Precision("fp32", next(classifier.parameters()).device)
    modes = {module: module.training for module in classifier.modules()}
    classifier.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        with torch.inference_mode():
            for batch in batches.iterate(0, 0, shard=team.shard):
                logits = run_classifier(classifier, batch, batches.kind, precision)
                if on_batch is not None:
                    on_batch(batch, logits)
                parts.append((logits.cpu(), batch.targets, batch.ids))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return _together([part for parts in team.gather(parts) for part in parts], batches)


def run_classifier(
    classifier: torch.nn.Module, batch: Batch, kind: str, precision: Precision
) -> Tensor:
    """Logits `(b, classes)` float32 of a batch of `images` or `activations`, on the device."""
    inputs = batch.inputs.to(precision.device, non_blocking=True).float()
    with precision.autocast():
        forward = classifier if kind == "images" else classifier.from_activations
        logits: Tensor = forward(inputs)  # type: ignore[operator]
    return logits.float()


def calibrated_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The figures after temperature scaling on the same photos, with `loss` before it.

    Fine-tuning makes a network overconfident while it still learns; the raw loss would call an
    early epoch the best one, so epochs are compared by `nll`, the loss after scaling.
    """
    temperature = fit_temperature(evaluation.logits, evaluation.labels)
    loss = evaluation.metrics()["nll"]
    return {"loss": loss, "temperature": temperature, **evaluation.metrics(temperature)}


def _together(parts: list[tuple[Tensor, Tensor, Tensor]], batches: Batches) -> Evaluation:
    """All parts as one, in the split's order."""
    if sum(len(ids) for _, _, ids in parts) == 0:
        raise DataError("No photo of the split could be decoded, so there is nothing to evaluate.")
    logits, labels, ids = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    by_id = np.argsort(batches.ids)
    place = by_id[np.searchsorted(batches.ids, ids, sorter=by_id)]
    order = np.argsort(place, kind="stable")
    return Evaluation(logits[order], labels[order], ids[order])
