"""Six small networks of the fourth unseen part."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from fault_suite.blocks import Maker, Tokens, added, pooled, stride_of
from fault_suite.spec import Spec

__all__ = ["dilated", "ghost", "gmlp", "gru", "pyramid", "selu"]

Features = tuple[nn.Module, int]


def joined(body: nn.Module, spec: Spec) -> nn.Module:
    """A body with a shortcut beside it, unless the script has forgotten it."""
    return added(body) if spec.skips else body


class Ghost(nn.Module):
    """Half of the channels by a 1 x 1 convolution, the other half cheaply from these."""

    def __init__(self, before: int, after: int, make: Maker, *, activated: bool) -> None:
        super().__init__()
        layers = 3 if activated else 2
        half = after // 2
        self.first = nn.Sequential(*make.block(before, half, 1)[:layers])
        self.cheap = nn.Sequential(*make.block(half, half, groups=half)[:layers])

    def forward(self, images: Tensor) -> Tensor:
        """(n, before, h, w) to (n, after, h, w)."""
        first = self.first(images)
        return torch.cat([first, self.cheap(first)], 1)


def ghost(spec: Spec, size: int) -> Features:
    """Bottlenecks of ghost modules, as in GhostNet."""
    make, width = Maker(spec), 16
    layers: list[nn.Module] = make.block(3, width, stride=stride_of(size))
    for after in (28, 40):
        body = nn.Sequential(
            Ghost(width, 2 * width, make, activated=True),
            Ghost(2 * width, width, make, activated=False),
        )
        layers += [joined(body, spec), *make.block(width, after, stride=2)]
        width = after
    return pooled(layers), 4 * width


def dilated(spec: Spec, size: int) -> Features:
    """Residual blocks of dilated convolutions, all at one resolution."""
    make, width = Maker(spec), 20
    layers: list[nn.Module] = [*make.block(3, width, stride=stride_of(size)), nn.MaxPool2d(2)]
    for step in (1, 2, 3, 2, 1):
        wide = make.block(width, width, dilation=step, padding=step)
        body = nn.Sequential(*wide, *make.block(width, width)[:2])
        layers += [joined(body, spec), make.act()]
    return pooled(layers), 4 * width


class Pyramid(nn.Module):
    """Three resolutions, the coarser ones added to the finer."""

    def __init__(self, widths: tuple[int, int, int], out: int, make: Maker) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.down = nn.ModuleList(
            nn.Sequential(*make.block(before, after, stride=2)) for before, after in pairs
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, out, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Sequential(*make.block(out, out)) for _ in widths)

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, 3 * out): the mean of each resolution."""
        levels = [images]
        for down in self.down:
            levels.append(down(levels[-1]))
        sides = [side(level) for side, level in zip(self.lateral, levels, strict=True)]
        for place in (1, 0):
            larger = nn.functional.interpolate(sides[place + 1], size=sides[place].shape[-2:])
            sides[place] = sides[place] + larger
        pairs = zip(self.smooth, sides, strict=True)
        return torch.cat([smooth(side).mean((2, 3)) for smooth, side in pairs], 1)


def pyramid(spec: Spec, size: int) -> Features:
    """A pyramid of features, as detectors have."""
    make = Maker(spec)
    stem = [*make.block(3, 16, stride=stride_of(size)), *make.block(16, 16)]
    return nn.Sequential(*stem, Pyramid((16, 24, 32), 24, make)), 72


class Gated(nn.Module):
    """One half of the channels, multiplied by what the other half has at all places."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.norm, self.across = nn.LayerNorm(width // 2), nn.Linear(count, count)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) to (n, tokens, width / 2)."""
        kept, gate = tokens.chunk(2, -1)
        mixed = self.across(self.norm(gate).transpose(1, 2)).transpose(1, 2)
        gated: Tensor = kept * (1 + mixed)
        return gated


class QuarterTokens(nn.Module):
    """The mean over the tokens of each quarter of the photo."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) to (n, 4 * width)."""
        edge = round(tokens.shape[1] ** 0.5)
        places = tokens.transpose(1, 2).reshape(len(tokens), -1, edge, edge)
        return nn.functional.adaptive_avg_pool2d(places, 2).flatten(1)


def gmlp(spec: Spec, size: int) -> Features:
    """Linear layers with spatial gates, as in gMLP."""
    make, width, wide = Maker(spec, "gelu"), 32, 96
    tokens = Tokens(size, 4, width)
    layers: list[nn.Module] = [tokens]
    for _ in range(3):
        steps = (nn.LayerNorm(width), nn.Linear(width, wide), make.act())
        gate = (Gated(tokens.count, wide), nn.Linear(wide // 2, width))
        layers.append(joined(nn.Sequential(*steps, *gate), spec))
    return nn.Sequential(*layers, nn.LayerNorm(width), QuarterTokens()), 4 * width


class Columns(nn.Module):
    """Reads a photo's columns one after another, from both sides."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.read = nn.GRU(before, width, batch_first=True, bidirectional=True)

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, 2 * width)."""
        states: Tensor = self.read(images.permute(0, 3, 1, 2).flatten(2))[0]
        return states.mean(1)


def gru(spec: Spec, size: int) -> Features:
    """Convolutions, then a recurrent layer over the columns, as readers of text lines have."""
    make, stride = Maker(spec), stride_of(size)
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, stride, 1), make.act()]
    layers += [nn.Conv2d(16, 24, 3, 1, 1), make.act(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, Columns(24 * (size // stride // 2), 40)), 80


class Lecun(nn.Conv2d):
    """A convolution whose weights are drawn as SELU needs them."""

    def reset_parameters(self) -> None:
        """LeCun's normal ones, and no biases."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def selu(spec: Spec, size: int) -> Features:
    """Convolutions without normalisation and with SELU, which keeps variances by itself."""
    make, layers, stride = Maker(spec, "selu"), list[nn.Module](), stride_of(size)
    for before, after in ((3, 16), (16, 32), (32, 40)):
        layers += [Lecun(before, after, 3, stride, 1), make.act()]
        layers += [Lecun(after, after, 3, 1, 1), make.act(), nn.AvgPool2d(2)]
        stride = 1
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.AlphaDropout(0.05)]
    return nn.Sequential(*layers, nn.Linear(160, 64), make.act()), 64
