"""What the small networks are built of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fault_suite.spec import Spec

__all__ = [
    "ACTIVATIONS",
    "WIDTH",
    "Across",
    "Attention",
    "Branches",
    "ChannelNorm",
    "Dense",
    "Maker",
    "MeanToken",
    "Residual",
    "Rows",
    "Squeeze",
    "Tokens",
    "added",
    "pooled",
    "stride_of",
]

WIDTH = 12
LARGE = 20
"""From this edge on, in pixels, the first layer takes every other pixel."""
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: Softmax(),
    "none": nn.Identity,
}


class Softmax(nn.Module):
    """Over the channels, as an activation."""

    def forward(self, values: Tensor) -> Tensor:
        """(n, c, h, w) or (n, ..., c) to the same."""
        return torch.softmax(values, 1 if values.dim() == 4 else -1)


class Maker:
    """Makes the layers that a spec may change."""

    def __init__(self, spec: Spec, usual: str = "relu") -> None:
        self.activation = spec.activation if spec.activation != "default" else usual
        self.momentum, self.tracks = spec.batchnorm_momentum, spec.running_statistics
        self.normalisation = spec.normalisation

    def act(self) -> nn.Module:
        """The activation."""
        return ACTIVATIONS[self.activation]()

    def norm(self, width: int) -> nn.Module:
        """BatchNorm, unless the script has none."""
        if self.normalisation == "none":
            return nn.Identity()
        return nn.BatchNorm2d(width, momentum=self.momentum, track_running_stats=self.tracks)

    def block(self, before: int, after: int, size: int = 3, **settings: Any) -> list[nn.Module]:
        """Convolution, BatchNorm, activation."""
        settings = {"padding": size // 2, "bias": False} | settings
        return [nn.Conv2d(before, after, size, **settings), self.norm(after), self.act()]


def stride_of(size: int) -> int:
    """Of the first layer."""
    return 2 if size >= LARGE else 1


def pooled(layers: list[nn.Module]) -> nn.Module:
    """Layers with what is left of a photo, 2 x 2 and flat, after them."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


class Residual(nn.Module):
    """A body beside a shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, images: Tensor) -> Tensor:
        """The sum of both."""
        summed: Tensor = self.after(self.body(images) + self.shortcut(images))
        return summed


def added(body: nn.Module) -> nn.Module:
    """A body whose photos are added to what it makes of them."""
    return Residual(body, nn.Identity(), nn.Identity())


class Dense(nn.Module):
    """Appends what it makes to what it got."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c + growth, h, w)."""
        return torch.cat([images, self.body(images)], 1)


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, make: Maker) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // 4, 1),
            make.act(),
            nn.Conv2d(width // 4, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Weighs the channels."""
        gated: Tensor = images * self.gate(images)
        return gated


class Branches(nn.Module):
    """Branches side by side, joined by channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, images: Tensor) -> Tensor:
        """All branches of the same photos."""
        return torch.cat([branch(images) for branch in self.branches], 1)


class Tokens(nn.Module):
    """Patches with a learnt place."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.count = (size // patch) ** 2
        self.place = nn.Parameter(torch.randn(1, self.count, width) * 0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) to (n, tokens, width)."""
        tokens: Tensor = self.patch(images).flatten(2).transpose(1, 2) + self.place
        return tokens


class MeanToken(nn.Module):
    """The mean over the tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) to (n, width)."""
        return tokens.mean(1)


class Across(nn.Module):
    """Mixes tokens, channel by channel."""

    def __init__(self, count: int, make: Maker) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(count, 2 * count), make.act(), nn.Linear(2 * count, count)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) to the same."""
        mixed: Tensor = self.body(tokens.transpose(1, 2)).transpose(1, 2)
        return mixed


class Attention(nn.Module):
    """Self-attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Four heads."""
        n, count, width = tokens.shape
        parts = self.queries(tokens).view(n, count, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*parts)
        attended: Tensor = self.out(mixed.transpose(1, 2).reshape(n, count, width))
        return attended


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a photo."""

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to the same."""
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Rows(nn.Module):
    """Places of a photo as tokens."""

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, h * w, c)."""
        return images.flatten(2).transpose(1, 2)
