"""Thirty small networks: `features`, which a transfer keeps, and `head`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fault_suite import fourth_networks, third_networks
from fault_suite.blocks import (
    WIDTH,
    Across,
    Attention,
    Branches,
    ChannelNorm,
    Dense,
    Maker,
    MeanToken,
    Residual,
    Rows,
    Squeeze,
    Tokens,
    added,
    pooled,
    stride_of,
)
from fault_suite.spec import Spec

__all__ = ["NETWORKS", "Network", "build"]


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
    "log softmax": lambda: nn.LogSoftmax(dim=1),
}


class Cosine(nn.Linear):
    """Cosines of the angles between features and each class's weights, without a scale."""

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) to (n, classes), from -1 to 1."""
        normalised = nn.functional.normalize
        return nn.functional.linear(normalised(rows), normalised(self.weight))


class GradientReversal(nn.Module):
    """Leaves what passes as it is, and multiplies its gradient."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, rows: Tensor) -> Tensor:
        """The same values."""
        return self.factor * rows + (1 - self.factor) * rows.detach()


class Network(nn.Module):
    """Features, dropout, head and what a script applies to the logits."""

    def __init__(self, features: nn.Module, dim: int, classes: int, spec: Spec) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(spec.dropout)
        outputs = spec.head_outputs or classes + (spec.labels == "from one")
        if spec.photo_dropout:
            self.photo_dropout = nn.Dropout(spec.photo_dropout)
        if spec.features_gradient != 1:
            self.reversal = GradientReversal(spec.features_gradient)
        if spec.bottleneck is not None:
            self.bottleneck = nn.Linear(dim, spec.bottleneck)
            dim = spec.bottleneck
        self.outputs = outputs
        if not spec.head_remade:
            self.head = Cosine(dim, outputs) if spec.cosine_head else nn.Linear(dim, outputs)
        if spec.output != "none":
            self.output = OUTPUTS[spec.output]()
        if spec.output_dropout:
            self.output_dropout = nn.Dropout(spec.output_dropout)
        self.detached, self.mixes = spec.detached, spec.mixes
        self.functional_dropout = spec.functional_dropout

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) to (n, classes)."""
        if hasattr(self, "photo_dropout"):
            images = self.photo_dropout(images)
        if self.detached:
            with torch.no_grad():
                rows = self.features(images)
        else:
            rows = self.features(images)
        if self.mixes:  # As one who takes reshape() for a transposition and back.
            rows = rows.reshape(rows.shape[1], rows.shape[0]).T
        if self.functional_dropout:  # As one who forgets `training=self.training`.
            rows = nn.functional.dropout(rows, self.functional_dropout)
        for name in ("reversal", "bottleneck"):
            rows = getattr(self, name)(rows) if hasattr(self, name) else rows
        # As one who makes the layer where it is applied, and so anew each time.
        head = self.head if hasattr(self, "head") else nn.Linear(rows.shape[1], self.outputs)
        logits: Tensor = head(self.dropout(rows))
        for name in ("output", "output_dropout"):
            logits = getattr(self, name)(logits) if hasattr(self, name) else logits
        return logits


def plain(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Convolutions and ReLUs."""
    make, layers, stride = Maker(spec), list[nn.Module](), stride_of(size)
    for before, after in ((3, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), make.act(), nn.MaxPool2d(2)]
        stride = 1
    return pooled(layers), 8 * WIDTH


def batchnorm(spec: Spec, size: int, bias: bool = False) -> tuple[nn.Module, int]:
    """The same with BatchNorm."""
    make, layers, stride = Maker(spec), list[nn.Module](), stride_of(size)
    for before, after in ((3, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH)):
        layers += [*make.block(before, after, bias=bias, stride=stride), nn.MaxPool2d(2)]
        stride = 1
    return pooled(layers), 8 * WIDTH


def bias_batchnorm(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """With biases that BatchNorm makes useless."""
    return batchnorm(spec, size, bias=True)


def resnet(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """A stem and three residual blocks."""
    make = Maker(spec)
    layers = make.block(3, WIDTH, stride=stride_of(size))
    for before, after, stride in ((WIDTH, WIDTH, 1), (WIDTH, 24, 2), (24, 32, 2)):
        second = make.block(after, after)[:2]
        body = nn.Sequential(*make.block(before, after, stride=stride), *second)
        shortcut = nn.Sequential(*make.block(before, after, 1, stride=stride)[:2])
        layers.append(Residual(body, nn.Identity() if before == after else shortcut, make.act()))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 32


def depthwise(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Depthwise and pointwise convolutions, as in MobileNet."""
    make = Maker(spec)
    layers = make.block(3, WIDTH, stride=stride_of(size))
    for before, after in ((WIDTH, 32), (32, 48)):
        layers += make.block(before, before, groups=before)
        layers += [*make.block(before, after, 1), nn.MaxPool2d(2)]
    return pooled(layers), 4 * 48


def groupnorm(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Residual blocks that begin with GroupNorm and ReLU."""
    make = Maker(spec)
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, stride_of(size), 1)]
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


def densenet(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Two dense blocks with a transition."""
    make, width = Maker(spec), WIDTH
    layers: list[nn.Module] = [*make.block(3, WIDTH, stride=stride_of(size)), nn.MaxPool2d(2)]
    for place in range(4):
        if place == 2:
            layers += [*make.block(width, width // 2, 1), nn.AvgPool2d(2)]
            width //= 2
        body = nn.Conv2d(width, 12, 3, padding=1, bias=False)
        layers.append(Dense(nn.Sequential(make.norm(width), make.act(), body)))
        width += 12
    layers += [make.norm(width), make.act()]
    return pooled(layers), 4 * width


def squeeze(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Convolutions with BatchNorm and squeeze-and-excitation."""
    make, layers, stride = Maker(spec), list[nn.Module](), stride_of(size)
    for before, after in ((3, WIDTH), (WIDTH, 24), (24, 48)):
        block = make.block(before, after, stride=stride)
        layers += [*block, Squeeze(after, make), nn.MaxPool2d(2)]
        stride = 1
    return pooled(layers), 4 * 48


def inception(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Two blocks of three branches."""
    make = Maker(spec)
    layers: list[nn.Module] = [*make.block(3, WIDTH, stride=stride_of(size)), nn.MaxPool2d(2)]
    for before in (WIDTH, 36):
        layers.append(
            Branches(
                nn.Sequential(*make.block(before, 12, 1)),
                nn.Sequential(*make.block(before, 12, 3)),
                nn.Sequential(nn.AvgPool2d(3, 1, 1), *make.block(before, 12, 1)),
            )
        )
        layers.append(nn.MaxPool2d(2))
    return pooled(layers), 4 * 36


def vit(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Two transformer blocks over patches."""
    make, width = Maker(spec, "gelu"), 32
    layers: list[nn.Module] = [Tokens(size, 4, width)]
    for _ in range(2):
        attention = nn.Sequential(nn.LayerNorm(width), Attention(width))
        steps = (nn.LayerNorm(width), nn.Linear(width, 64), make.act(), nn.Linear(64, width))
        layers += [added(attention), added(nn.Sequential(*steps))]
    return nn.Sequential(*layers, nn.LayerNorm(width), MeanToken()), width


def mixer(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """MLP-Mixer: linear layers across tokens and across channels."""
    make, width = Maker(spec, "gelu"), 32
    tokens = Tokens(size, 4, width)
    layers: list[nn.Module] = [tokens]
    for _ in range(2):
        across = nn.Sequential(nn.LayerNorm(width), Across(tokens.count, make))
        steps = (nn.LayerNorm(width), nn.Linear(width, 64), make.act(), nn.Linear(64, width))
        layers += [added(across), added(nn.Sequential(*steps))]
    return nn.Sequential(*layers, nn.LayerNorm(width), MeanToken()), width


def convnext(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Wide depthwise convolutions, LayerNorm and GELU."""
    make, width, patch = Maker(spec, "gelu"), 24, 2 * stride_of(size)
    layers: list[nn.Module] = [nn.Conv2d(3, width, patch, patch), ChannelNorm(width)]
    for _ in range(2):
        body = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width),
            ChannelNorm(width),
            nn.Conv2d(width, 2 * width, 1),
            make.act(),
            nn.Conv2d(2 * width, width, 1),
        )
        layers.append(added(body))
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
    layers = make.block(3, WIDTH, stride=stride_of(size))
    for before, after, stride in ((WIDTH, WIDTH, 1), (WIDTH, 24, 2), (24, 24, 1)):
        wide = 3 * before
        body = nn.Sequential(
            *make.block(before, wide, 1),
            *make.block(wide, wide, stride=stride, groups=wide),
            *make.block(wide, after, 1)[:2],
        )
        layers.append(added(body) if before == after else body)
    layers += make.block(24, 64, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 64


def grouped(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Grouped convolutions in bottlenecks, as in ResNeXt."""
    make = Maker(spec)
    layers = make.block(3, 16, stride=stride_of(size))
    for before, after, stride in ((16, 32, 2), (32, 32, 1)):
        body = nn.Sequential(
            *make.block(before, 16, 1),
            *make.block(16, 16, stride=stride, groups=4),
            *make.block(16, after, 1)[:2],
        )
        shortcut = nn.Sequential(*make.block(before, after, 1, stride=stride)[:2])
        layers.append(Residual(body, nn.Identity() if before == after else shortcut, make.act()))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 128


def cct(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """A convolution, then a transformer block, as in compact convolutional transformers."""
    make, width = Maker(spec), 32
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, stride_of(size), 1), make.act()]
    layers += [nn.MaxPool2d(2), nn.Conv2d(width, width, 3, 1, 1), make.act(), nn.MaxPool2d(2)]
    attention = nn.Sequential(nn.LayerNorm(width), Attention(width))
    steps = (nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))
    layers += [Rows(), added(attention), added(nn.Sequential(*steps))]
    return nn.Sequential(*layers, nn.LayerNorm(width), MeanToken()), width


def vgg(spec: Spec, size: int) -> tuple[nn.Module, int]:
    """Pairs of 3 x 3 convolutions with BatchNorm and a hidden linear layer, all LeakyReLU."""
    make, layers, stride = Maker(spec, "leaky_relu"), list[nn.Module](), stride_of(size)
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
    "repvgg": third_networks.repvgg,
    "shuffle": third_networks.shuffle,
    "wide": third_networks.wide,
    "swin": third_networks.swin,
    "poolformer": third_networks.poolformer,
    "nin": third_networks.nin,
    "ghost": fourth_networks.ghost,
    "dilated": fourth_networks.dilated,
    "pyramid": fourth_networks.pyramid,
    "gmlp": fourth_networks.gmlp,
    "gru": fourth_networks.gru,
    "selu": fourth_networks.selu,
}


def build(spec: Spec, size: int, classes: int) -> Network:
    """The network of a spec, its weights as PyTorch draws them."""
    features, dim = NETWORKS[spec.network](spec, size)
    return Network(features, dim, classes, spec)
