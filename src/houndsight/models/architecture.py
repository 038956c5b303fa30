"""Building a backbone's two parts from its row: everything up to the boundary, and the rest.

The parts keep timm's module names, so that the names of parameters are timm's (and, for the
ResNets, torchvision's) with `trunk.` or `stage.` in front.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any

import timm
import torch
from torch import Tensor, nn

from houndsight.models.table import BACKBONES, BackboneRow

__all__ = ["TokenStage", "TokenTrunk", "activation_shape", "build_parts", "expected_shapes"]


class TokenTrunk(nn.Module):
    """The first blocks of a vision transformer: images (n, 3, s, s) -> tokens (n, t, d)."""

    def __init__(self, vit: nn.Module, blocks: int) -> None:
        super().__init__()
        self.patch_embed = vit.get_submodule("patch_embed")
        self.cls_token = vit.get_parameter("cls_token")
        self.pos_embed = vit.get_parameter("pos_embed")
        self.blocks = _named(vit, [f"{n}" for n in range(blocks)], "blocks")

    def forward(self, images: Tensor) -> Tensor:
        """Tokens after the last block, the class token first."""
        patches = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        out: Tensor = self.blocks(tokens + self.pos_embed)
        return out


class TokenStage(nn.Module):
    """The last blocks of a vision transformer: tokens (n, t, d) -> class token (n, d)."""

    def __init__(self, vit: nn.Module, first: int, last: int) -> None:
        super().__init__()
        self.blocks = _named(vit, [f"{n}" for n in range(first, last + 1)], "blocks")
        self.norm = vit.get_submodule("norm")

    def forward(self, tokens: Tensor) -> Tensor:
        """The class token after the norm."""
        out: Tensor = self.norm(self.blocks(tokens))[:, 0]
        return out


def build_parts(row: BackboneRow) -> tuple[nn.Module, nn.Module]:
    """Trunk and stage of the row's architecture, on the meta device: shapes without values."""
    is_vit = row.trunk[0] == "patch_embed"
    extra: dict[str, Any] = {"img_size": row.input_size} if is_vit else {}
    with torch.device("meta"):  # drawing random weights would take longer than loading real ones
        model = timm.create_model(row.architecture, pretrained=False, num_classes=0, **extra)
    if is_vit:
        boundary = sum(path.startswith("blocks.") for path in row.trunk)
        last = boundary + sum(path.startswith("blocks.") for path in row.stage) - 1
        return TokenTrunk(model, boundary), TokenStage(model, boundary, last)
    return _sequential(model, row.trunk), _sequential(model, row.stage)


@functools.cache
def expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter and buffer of the backbone, by timm's name, in timm's order."""
    trunk, stage = build_parts(BACKBONES[name])
    return {
        key: tuple(tensor.shape)
        for part in (trunk, stage)
        for key, tensor in part.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


@functools.cache
def activation_shape(name: str, size: int) -> tuple[int, ...]:
    """Shape of one photo's activations at the boundary, for square images of `size` px."""
    trunk, _ = build_parts(BACKBONES[name])
    images = torch.zeros(1, 3, size, size, device="meta")
    return tuple(trunk.eval()(images).shape[1:])


def _sequential(model: nn.Module, paths: tuple[str, ...]) -> nn.Sequential:
    """The modules at `paths` one after another; `blocks.5`, `blocks.6` share one `blocks`."""
    groups: OrderedDict[str, list[str]] = OrderedDict()
    for path in paths:
        top, _, rest = path.partition(".")
        groups.setdefault(top, [])
        if rest:
            groups[top].append(rest)
    return nn.Sequential(
        OrderedDict(
            (top, _named(model, children, top) if children else model.get_submodule(top))
            for top, children in groups.items()
        )
    )


def _named(model: nn.Module, children: list[str], parent: str) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict((child, model.get_submodule(f"{parent}.{child}")) for child in children)
    )
