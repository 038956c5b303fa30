"""Six small networks of the third unseen part."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fault_suite.blocks import (
    Attention,
    ChannelNorm,
    Maker,
    pooled,
    stride_of,
)
from fault_suite.spec import Spec

__all__ = ["nin", "poolformer", "repvgg", "shuffle", "swin", "wide"]

Features = tuple[nn.Module, int]


class Skip(nn.Module):
    """A body beside a shortcut; for a share of the examples the body may be dropped."""

    def __init__(self, body: nn.Module, drop: float, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()
        self.drop = DropPath(drop) if drop else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """The sum of both."""
        summed: Tensor = self.drop(self.body(images)) + self.shortcut(images)
        return summed


class DropPath(nn.Module):
    """Stochastic depth: leaves out the body for a share of the examples."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, images: Tensor) -> Tensor:
        """What is kept is made larger by what is not."""
        if not self.training:
            return images
        kept = torch.rand((len(images), *(1,) * (images.dim() - 1))) >= self.share
        return images * kept / (1 - self.share)


class Reparametrised(nn.Module):
    """3 x 3, 1 x 1 and identity, each with BatchNorm, summed."""

    def __init__(self, before: int, after: int, stride: int, make: Maker) -> None:
        super().__init__()
        self.large = nn.Sequential(*make.block(before, after, 3, stride=stride)[:2])
        self.small = nn.Sequential(*make.block(before, after, 1, stride=stride)[:2])
        self.same = make.norm(before) if before == after and stride == 1 else None
        self.act = make.act()

    def forward(self, images: Tensor) -> Tensor:
        """(n, before, h, w) to (n, after, h / stride, w / stride)."""
        summed = self.large(images) + self.small(images)
        if self.same is not None:
            summed = summed + self.same(images)
        activated: Tensor = self.act(summed)
        return activated


def repvgg(spec: Spec, size: int) -> Features:
    """Branches that could be one convolution, as in RepVGG."""
    make, layers = Maker(spec), list[nn.Module]()
    steps = ((3, 12, stride_of(size)), (12, 24, 2), (24, 24, 1), (24, 40, 2))
    for before, after, stride in steps:
        layers.append(Reparametrised(before, after, stride, make))
    return pooled(layers), 160


class Unit(nn.Module):
    """Half of the channels pass, half are worked on; then both are shuffled."""

    def __init__(self, width: int, make: Maker) -> None:
        super().__init__()
        half = width // 2
        depthwise = make.block(half, half, groups=half)[:2]
        self.body = nn.Sequential(
            *make.block(half, half, 1), *depthwise, *make.block(half, half, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to the same."""
        left, right = images.chunk(2, 1)
        joined = torch.stack([left, self.body(right)], 2)
        return joined.flatten(1, 2)


def shuffle(spec: Spec, size: int) -> Features:
    """Split, depthwise, shuffled, as in ShuffleNet."""
    make, width = Maker(spec), 24
    layers: list[nn.Module] = [*make.block(3, width, stride=stride_of(size)), nn.MaxPool2d(2)]
    for after in (48, 64):
        layers += [Unit(width, make), *make.block(width, after, 1), nn.MaxPool2d(2)]
        width = after
    return pooled(layers), 4 * width


def wide(spec: Spec, size: int) -> Features:
    """Wide residual blocks that begin with BatchNorm, with dropout within, as in WideResNet."""
    make, width = Maker(spec), 16
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, stride_of(size), 1, bias=False)]
    for after, stride in ((32, 2), (48, 2)):
        body = nn.Sequential(
            make.norm(width),
            make.act(),
            nn.Conv2d(width, after, 3, stride, 1, bias=False),
            make.norm(after),
            make.act(),
            nn.Dropout(0.1),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
        )
        layers.append(Skip(body, spec.drop_path, nn.Conv2d(width, after, 1, stride, bias=False)))
        width = after
    layers += [make.norm(width), make.act(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), width


class Windows(nn.Module):
    """Attention within windows, which may be moved by half of one."""

    def __init__(self, width: int, edge: int, moved: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width)
        self.edge, self.move = edge, edge // 2 if moved else 0

    def forward(self, images: Tensor) -> Tensor:
        """(n, h, w, c) to the same; h and w are multiples of the window's edge."""
        n, height, width, depth = images.shape
        rows, columns = height // self.edge, width // self.edge
        moved = torch.roll(self.norm(images), (-self.move, -self.move), (1, 2))
        parts = moved.view(n, rows, self.edge, columns, self.edge, depth).transpose(2, 3)
        attended = self.attention(parts.reshape(-1, self.edge**2, depth))
        whole = attended.view(n, rows, columns, self.edge, self.edge, depth).transpose(2, 3)
        return torch.roll(whole.reshape(images.shape), (self.move, self.move), (1, 2))


class Embedded(nn.Module):
    """Patches that overlap, channels last, with a learnt place."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch, edge = nn.Conv2d(3, width, 2 * patch + 1, patch, patch), size // patch
        self.place = nn.Parameter(torch.randn(1, edge, edge, width) * 0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) to (n, s / patch, s / patch, width)."""
        placed: Tensor = self.patch(images).permute(0, 2, 3, 1) + self.place
        return placed


class Merged(nn.Module):
    """Four neighbours as one token."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm, self.body = nn.LayerNorm(4 * before), nn.Linear(4 * before, after)

    def forward(self, images: Tensor) -> Tensor:
        """(n, h, w, c) to (n, h / 2, w / 2, after)."""
        n, height, width, depth = images.shape
        parts = images.view(n, height // 2, 2, width // 2, 2, depth).transpose(2, 3)
        merged: Tensor = self.body(self.norm(parts.flatten(3)))
        return merged


class Quarters(nn.Module):
    """The mean of each quarter of the photo."""

    def forward(self, images: Tensor) -> Tensor:
        """(n, h, w, c) to (n, 4 * c)."""
        first = images.permute(0, 3, 1, 2)
        return nn.functional.adaptive_avg_pool2d(first, 2).flatten(1)


def swin(spec: Spec, size: int) -> Features:
    """Attention in windows, moved and not, then merged patches, as in Swin."""
    make, edge, depth = Maker(spec, "gelu"), 8, 24
    layers: list[nn.Module] = [Embedded(size, size // edge, depth)]
    for moved in (False, True):
        steps = (nn.Linear(depth, 2 * depth), make.act(), nn.Linear(2 * depth, depth))
        layers.append(Skip(Windows(depth, edge // 2, moved), spec.drop_path))
        layers.append(Skip(nn.Sequential(nn.LayerNorm(depth), *steps), spec.drop_path))
    layers += [Merged(depth, 40), Skip(Windows(40, edge // 2, False), spec.drop_path)]
    layers += [nn.LayerNorm(40), Quarters()]
    return nn.Sequential(*layers), 160


class Pooling(nn.Module):
    """What the mean of its neighbours has over a place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.pool = (
            nn.GroupNorm(1, width),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to the same."""
        normal = self.norm(images)
        mixed: Tensor = self.pool(normal) - normal
        return mixed


def poolformer(spec: Spec, size: int) -> Features:
    """Pooling in place of attention, GroupNorm and GELU, as in PoolFormer."""
    make, width = Maker(spec, "gelu"), 24
    stem = nn.Conv2d(3, width, 5, 2 * stride_of(size), 2)
    layers: list[nn.Module] = [stem]
    for after in (24, 40):
        if after != width:
            layers.append(nn.Conv2d(width, after, 3, 2, 1))
            width = after
        steps = (nn.Conv2d(width, 3 * width, 1), make.act(), nn.Conv2d(3 * width, width, 1))
        layers.append(Skip(Pooling(width), spec.drop_path))
        layers.append(Skip(nn.Sequential(nn.GroupNorm(1, width), *steps), spec.drop_path))
    layers += [ChannelNorm(width), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers), 4 * width


def nin(spec: Spec, size: int) -> Features:
    """Convolutions, each with 1 x 1 ones after it, and dropout, as in Network in Network."""
    make, layers, stride = Maker(spec), list[nn.Module](), stride_of(size)
    for before, after, edge in ((3, 24, 5), (24, 48, 3)):
        layers += [nn.Conv2d(before, after, edge, stride, edge // 2), make.act()]
        layers += [nn.Conv2d(after, after, 1), make.act()]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.1)]
        stride = 1
    return pooled(layers), 4 * 48
