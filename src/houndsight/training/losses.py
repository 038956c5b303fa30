"""The training loss: cross-entropy with label smoothing, class weights or logit adjustment."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from houndsight.training.recipe import Recipe

__all__ = ["ClassificationLoss", "class_weights", "logit_offsets"]


def class_weights(counts: Tensor, strength: float) -> Tensor:
    """Weights `(classes,)`: inverse frequency ** `strength`, with a mean of 1 over the photos.

    `counts` `(classes,)` are the photos of each class; one without photos counts as having one.
    """
    weights = counts.clamp_min(1).double().pow(-strength)
    return (weights * counts.sum() / (weights * counts).sum()).float()


def logit_offsets(counts: Tensor, strength: float) -> Tensor:
    """`strength * log(frequency)` `(classes,)`, added to the logits while training only.

    Menon et al. 2021, "Long-tail learning via logit adjustment", equation 10.
    """
    return strength * (counts.clamp_min(0.5).double() / counts.sum()).log().float()


class ClassificationLoss(nn.Module):
    """Mean cross-entropy of a batch, in nats; the mean is over photos, whatever their weights.

    Dividing by the number of photos, not by the sum of their weights, makes the gradients of
    accumulated micro-batches add up to that of the whole batch.
    """

    weights: Tensor | None
    offsets: Tensor | None

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("weights", weights)
        self.register_buffer("offsets", offsets)

    @classmethod
    def of(cls, recipe: Recipe, labels: Tensor, classes: int) -> ClassificationLoss:
        """The loss a recipe asks for, with the class counts of `labels` `(n,)`."""
        counts = torch.bincount(labels, minlength=classes)
        balance, strength = recipe.balance, recipe.balance_strength
        return cls(
            label_smoothing=recipe.label_smoothing,
            weights=class_weights(counts, strength) if balance == "weights" else None,
            offsets=logit_offsets(counts, strength) if balance == "logit_adjustment" else None,
        )

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: `(b, classes)`.
            targets: class indices `(b,)`, or probabilities `(b, classes)`.
        """
        logits = logits.float()
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        if self.offsets is not None:
            logits = logits + self.offsets
        return F.cross_entropy(
            logits, targets, weight=self.weights, label_smoothing=self.label_smoothing
        )
