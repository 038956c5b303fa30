"""Eighteen small networks: `features`, which a transfer keeps, and `head`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fault_suite.spec import Spec

__all__ = ["NETWORKS", "Network", "build"]

WIDTH = 12
LARGE = 20
"""From this edge on, in pixels, the first layer takes every other pixel."""
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}


class BatchSoftmax(nn.Softmax):
    """Softmax over the wrong axis."""

    def __init__(self) -> None:
        super().__init__(dim=0)


OUTPUTS: dict[str, Callable[[], nn.Module]] = {
    "softmax": lambda: nn.Softmax(dim=1),
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "batch softmax": BatchSoftmax,
}


class Cosine(nn.Linear):
    """Cosines of the angles between features and each class's weights, without a scale."""

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) to (n, classes), from -1 to 1."""
        normalised = nn.functional.normalize
        return nn.functional.linear(normalised(rows), normalised(self.weight))


class Network(nn.Module):
    """Features, dropout, head and what a script applies to the logits."""

    def __init__(self, features: nn.Module, dim: int, classes: int, spec: Spec) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(spec.dropout)
        outputs = spec.head_outputs or classes
        self.head = Cosine(dim, outputs) if spec.cosine_head else nn.Linear(dim, outputs)
        if spec.output != "none":
            self.output = OUTPUTS[spec.output]()
        if spec.output_dropout:
            self.output_dropout = nn.Dropout(spec.output_dropout)
        self.detached, self.mixes = spec.detached, spec.mixes

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) to (n, classes)."""
        if self.detached:
            with torch.no_grad():
                rows = self.features(images)
        else:
            rows = self.features(images)
        if self.mixes:  # As one who takes reshape() for a transposition and back.
            rows = rows.reshape(rows.shape[1], rows.shape[0]).T
        logits: Tensor = self.head(self.dropout(rows))
        for name in ("output", "output_dropout"):
            logits = getattr(self, name)(logits) if hasattr(self, name) else logits
        return logits


class Maker:
    """Makes the layers that a spec may change."""

    def __init__(self, spec: Spec, usual: str = "relu") -> None:
        self.activation = spec.activation if spec.activation != "default" else usual
        self.momentum = spec.batchnorm_momentum

    def act(self) -> nn.Module:
        """The activation."""
        return ACTIVATIONS[self.activation]()

    def norm(self, width: int) -> nn.Module:
        """BatchNorm."""
        return nn.BatchNorm2d(width, momentum=self.momentum)

    def block(self, before: int, after: int, size: int = 3, **settings: Any) -> list[nn.Module]:
        """Convolution, BatchNorm, activation."""
        settings = {"padding": size // 2, "bias": False} | settings
        return [nn.Conv2d(before, after, size, **settings), self.norm(after), self.act()]


def _stride(size: int) -> int:
    return 2 if size >= LARGE else 1


def _pooled(layers: list[nn.Module]) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def plain(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Convolutions and ReLUs."""
    make, layers, stride = Maker(spec), list[nn.Module](), _stride(size)
    for before, after in ((3, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), make.act(), nn.MaxPool2d(2)]
        stride = 1
    return _pooled(layers), 8 * WIDTH


def batchnorm(spec: Spec, size: int, bias: bool = False) -> tuple[nn.Module, int]:
    """The same with BatchNorm."""
    make, layers, stride = Maker(spec), list[nn.Module](), _stride(size)
    for before, after in ((3, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH)):
        layers += [*make.block(before, after, bias=bias, stride=stride), nn.MaxPool2d(2)]
        stride = 1
    return _pooled(layers), 8 * WIDTH


def bias_batchnorm(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """With biases that BatchNorm makes useless."""
    return batchnorm(spec, size, bias=True)


class Residual(nn.Module):
    """A body beside a shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, images: Tensor) -> Tensor:
        """The sum of both."""
        summed: Tensor = self.after(self.body(images) + self.shortcut(images))
        return summed


def _added(body: nn.Module) -> nn.Module:
    return Residual(body, nn.Identity(), nn.Identity())


def resnet(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """A stem and three residual blocks."""
    make = Maker(spec)
    layers = make.block(3, WIDTH, stride=_stride(size))
    for before, after, stride in ((WIDTH, WIDTH, 1), (WIDTH, 24, 2), (24, 32, 2)):
        second = make.block(after, after)[:2]
        body = nn.Sequential(*make.block(before, after, stride=stride), *second)
        shortcut = nn.Sequential(*make.block(before, after, 1, stride=stride)[:2])
        layers.append(Residual(body, nn.Identity() if before == after else shortcut, make.act()))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 32


def depthwise(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Depthwise and pointwise convolutions, as in MobileNet."""
    make = Maker(spec)
    layers = make.block(3, WIDTH, stride=_stride(size))
    for before, after in ((WIDTH, 32), (32, 48)):
        layers += make.block(before, before, groups=before)
        layers += [*make.block(before, after, 1), nn.MaxPool2d(2)]
    return _pooled(layers), 4 * 48


def groupnorm(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Residual blocks that begin with GroupNorm and ReLU."""
    make = Maker(spec)
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, _stride(size), 1)]
    for before, after, stride in ((WIDTH, 24, 2), (24, 32, 2)):
        body = nn.Sequential(
            nn.GroupNorm(4, before),
            make.act(),
            nn.Conv2d(before, after, 3, stride, 1),
            nn.GroupNorm(4, after),
            make.act(),
            nn.Conv2d(after, after, 3, 1, 1),
        )
        same = stride == 1 and before == after
        shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride)
        layers.append(Residual(body, shortcut, nn.Identity()))
    layers += [nn.GroupNorm(4, 32), make.act(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), 32


class Dense(nn.Module):
    """Appends what it makes to what it got."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c + growth, h, w)."""
        return torch.cat([images, self.body(images)], 1)


def densenet(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Two dense blocks with a transition."""
    make, width = Maker(spec), WIDTH
    layers: list[nn.Module] = [*make.block(3, WIDTH, stride=_stride(size)), nn.MaxPool2d(2)]
    for place in range(4):
        if place == 2:
            layers += [*make.block(width, width // 2, 1), nn.AvgPool2d(2)]
            width //= 2
        body = nn.Conv2d(width, 12, 3, padding=1, bias=False)
        layers.append(Dense(nn.Sequential(make.norm(width), make.act(), body)))
        width += 12
    layers += [make.norm(width), make.act()]
    return _pooled(layers), 4 * width


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


def squeeze(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Convolutions with BatchNorm and squeeze-and-excitation."""
    make, layers, stride = Maker(spec), list[nn.Module](), _stride(size)
    for before, after in ((3, WIDTH), (WIDTH, 24), (24, 48)):
        block = make.block(before, after, stride=stride)
        layers += [*block, Squeeze(after, make), nn.MaxPool2d(2)]
        stride = 1
    return _pooled(layers), 4 * 48


class Branches(nn.Module):
    """Branches side by side, joined by channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, images: Tensor) -> Tensor:
        """All branches of the same photos."""
        return torch.cat([branch(images) for branch in self.branches], 1)


def inception(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Two blocks of three branches."""
    make = Maker(spec)
    layers: list[nn.Module] = [*make.block(3, WIDTH, stride=_stride(size)), nn.MaxPool2d(2)]
    for before in (WIDTH, 36):
        layers.append(
            Branches(
                nn.Sequential(*make.block(before, 12, 1)),
                nn.Sequential(*make.block(before, 12, 3)),
                nn.Sequential(nn.AvgPool2d(3, 1, 1), *make.block(before, 12, 1)),
            )
        )
        layers.append(nn.MaxPool2d(2))
    return _pooled(layers), 4 * 36


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


def vit(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Two transformer blocks over patches."""
    make, width = Maker(spec, "gelu"), 32
    layers: list[nn.Module] = [Tokens(size, 4, width)]
    for _ in range(2):
        attention = nn.Sequential(nn.LayerNorm(width), Attention(width))
        steps = (nn.LayerNorm(width), nn.Linear(width, 64), make.act(), nn.Linear(64, width))
        layers += [_added(attention), _added(nn.Sequential(*steps))]
    return nn.Sequential(*layers, nn.LayerNorm(width), MeanToken()), width


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


def mixer(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """MLP-Mixer: linear layers across tokens and across channels."""
    make, width = Maker(spec, "gelu"), 32
    tokens = Tokens(size, 4, width)
    layers: list[nn.Module] = [tokens]
    for _ in range(2):
        across = nn.Sequential(nn.LayerNorm(width), Across(tokens.count, make))
        steps = (nn.LayerNorm(width), nn.Linear(width, 64), make.act(), nn.Linear(64, width))
        layers += [_added(across), _added(nn.Sequential(*steps))]
    return nn.Sequential(*layers, nn.LayerNorm(width), MeanToken()), width


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a photo."""

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to the same."""
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Wide depthwise convolutions, LayerNorm and GELU."""
    make, width, patch = Maker(spec, "gelu"), 24, 2 * _stride(size)
    layers: list[nn.Module] = [nn.Conv2d(3, width, patch, patch), ChannelNorm(width)]
    for _ in range(2):
        body = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width),
            ChannelNorm(width),
            nn.Conv2d(width, 2 * width, 1),
            make.act(),
            nn.Conv2d(2 * width, width, 1),
        )
        layers.append(_added(body))
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LayerNorm(4 * width)]
    return nn.Sequential(*layers), 4 * width


def lenet(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """LeCun's: 5 x 5 convolutions, tanh, mean pooling."""
    make, edge = Maker(spec, "tanh"), size // 4
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 5, padding=2), make.act(), nn.AvgPool2d(2)]
    layers += [nn.Conv2d(8, 24, 5, padding=2), make.act(), nn.AvgPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(24 * edge**2, 64), make.act()]
    return nn.Sequential(*layers), 64


def mlp(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """No convolutions: two wide linear layers."""
    make = Maker(spec)
    layers = [nn.Flatten(), nn.Linear(3 * size**2, 128), make.act(), nn.Linear(128, 64), make.act()]
    return nn.Sequential(*layers), 64


def inverted(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Inverted residuals with SiLU, as in EfficientNet."""
    make = Maker(spec, "silu")
    layers = make.block(3, WIDTH, stride=_stride(size))
    for before, after, stride in ((WIDTH, WIDTH, 1), (WIDTH, 24, 2), (24, 24, 1)):
        wide = 3 * before
        body = nn.Sequential(
            *make.block(before, wide, 1),
            *make.block(wide, wide, stride=stride, groups=wide),
            *make.block(wide, after, 1)[:2],
        )
        layers.append(_added(body) if before == after else body)
    layers += make.block(24, 64, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 64


def grouped(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Grouped convolutions in bottlenecks, as in ResNeXt."""
    make = Maker(spec)
    layers = make.block(3, 16, stride=_stride(size))
    for before, after, stride in ((16, 32, 2), (32, 32, 1)):
        body = nn.Sequential(
            *make.block(before, 16, 1),
            *make.block(16, 16, stride=stride, groups=4),
            *make.block(16, after, 1)[:2],
        )
        shortcut = nn.Sequential(*make.block(before, after, 1, stride=stride)[:2])
        layers.append(Residual(body, nn.Identity() if before == after else shortcut, make.act()))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 128


class Rows(nn.Module):
    """Places of a photo as tokens."""

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, h * w, c)."""
        return images.flatten(2).transpose(1, 2)


def cct(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """A convolution, then a transformer block, as in compact convolutional transformers."""
    make, width = Maker(spec), 32
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, _stride(size), 1), make.act()]
    layers += [nn.MaxPool2d(2), nn.Conv2d(width, width, 3, 1, 1), make.act(), nn.MaxPool2d(2)]
    attention = nn.Sequential(nn.LayerNorm(width), Attention(width))
    steps = (nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))
    layers += [Rows(), _added(attention), _added(nn.Sequential(*steps))]
    return nn.Sequential(*layers, nn.LayerNorm(width), MeanToken()), width


def vgg(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Pairs of 3 x 3 convolutions with BatchNorm and a hidden linear layer, all LeakyReLU."""
    make, layers, stride = Maker(spec, "leaky_relu"), list[nn.Module](), _stride(size)
    for before, after in ((3, WIDTH), (WIDTH, 2 * WIDTH)):
        layers += [*make.block(before, after, stride=stride), *make.block(after, after)]
        layers.append(nn.MaxPool2d(2))
        stride = 1
    layers += [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(18 * WIDTH, 64), make.act()]
    return nn.Sequential(*layers), 64


NETWORKS: dict[str, Callable[[Spec, int], tuple[nn.Module, int]]] = {
    "plain": plain,
    "batchnorm": batchnorm,
    "bias_batchnorm": bias_batchnorm,
    "resnet": resnet,
    "depthwise": depthwise,
    "vit": vit,
    "convnext": convnext,
    "densenet": densenet,
    "groupnorm": groupnorm,
    "mixer": mixer,
    "squeeze": squeeze,
    "inception": inception,
    "lenet": lenet,
    "mlp": mlp,
    "inverted": inverted,
    "grouped": grouped,
    "cct": cct,
    "vgg": vgg,
}


def build(spec: Spec, size: int, classes: int) -> Network:
    """The network of a spec, its weights as PyTorch draws them."""
    features, dim = NETWORKS[spec.network](spec, size)
    return Network(features, dim, classes, spec)
