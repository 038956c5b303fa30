"""A backbone with a linear head: what is trained, saved and served."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from houndsight.models.backbone import Backbone

__all__ = ["Classifier", "Head", "Normalisation"]

Normalisation = Literal["none", "l2", "standardise"]


class Head(nn.Module):
    """Features (n, d) -> logits (n, classes), after bringing the features to a common scale.

    `normalise` says how: `none`; `l2`, each photo's features to length one; `standardise`,
    `(features - center) / scale` with the training photos' mean and standard deviation. With
    `l2` the center is taken off first, so that a centred cosine is `l2` with a center.
    """

    def __init__(self, feature_dim: int, classes: int, *, normalise: Normalisation = "l2") -> None:
        super().__init__()
        self.normalise: Normalisation = normalise
        self.linear = nn.Linear(feature_dim, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(feature_dim))
        self.register_buffer("scale", torch.ones(feature_dim))

    @property
    def feature_dim(self) -> int:
        """How many features a photo has."""
        return self.linear.in_features

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.linear.out_features

    def prepare(self, features: Tensor) -> Tensor:
        """The features (n, d) as the linear layer sees them."""
        if self.normalise == "none":
            return features
        centred = features - self.center
        if self.normalise == "l2":
            return functional.normalize(centred, dim=1)
        return centred / self.scale

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, classes) of features (n, d)."""
        logits: Tensor = self.linear(self.prepare(features))
        return logits


class Classifier(nn.Module):
    """Images (n, 3, s, s) -> logits (n, classes)."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        assert head.feature_dim == backbone.feature_dim, "the head is another backbone's"
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        return self.from_features(self.backbone(images))

    def from_activations(self, activations: Tensor) -> Tensor:
        """Logits of activations at the backbone's fine-tuning boundary."""
        return self.from_features(self.backbone.stage(activations))

    def from_features(self, features: Tensor) -> Tensor:
        """Logits of pooled features (n, d)."""
        logits: Tensor = self.head(features)
        return logits
