"""The weights of a saved model: from a classifier to safetensors and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.errors import ArtifactError
from houndsight.models.manifest import WEIGHTS, Manifest

if TYPE_CHECKING:
    from torch import Tensor

    from houndsight.models.classifier import Classifier

__all__ = ["build_classifier", "describe_backbone", "describe_head", "save_weights"]


def describe_backbone(classifier: Classifier) -> dict[str, Any]:
    """What `model.json` says about the pretrained part."""
    backbone = classifier.backbone
    return {
        "name": backbone.name,
        "weights_hash": backbone.weights_hash,
        "origin": backbone.origin,
        "licence": backbone.licence,
    }


def describe_head(classifier: Classifier) -> dict[str, Any]:
    """What the head is made with."""
    classes, features = classifier.head.linear.weight.shape
    return {
        "normalise": classifier.head.normalise,
        "features": int(features),
        "classes": int(classes),
    }


def save_weights(classifier: Classifier, path: Path) -> None:
    """Write every parameter and buffer to a safetensors file.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # Tensors that share storage or are not contiguous cannot stand in a safetensors file.
    state = {k: v.detach().cpu().contiguous().clone() for k, v in classifier.state_dict().items()}
    try:
        save_file(state, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(0o644)


def build_classifier(manifest: Manifest, folder: Path) -> Classifier:
    """The network of a model folder with its weights, in evaluation mode.

    Raises:
        ArtifactError: the weights do not belong to the network that the manifest names.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from houndsight.errors import WeightsError

    path = folder / WEIGHTS
    try:
        return _filled_classifier(manifest, load_file(path))
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is not a safetensors file: {error}.") from error
    except (RuntimeError, KeyError, ValueError, TypeError, WeightsError) as error:
        raise ArtifactError(
            f"{path} does not hold the weights of {manifest.backbone['name']!r} with "
            f"{len(manifest.classes)} classes: {str(error)[:300]}"
        ) from error


def _filled_classifier(manifest: Manifest, state: dict[str, Tensor]) -> Classifier:
    from houndsight.models.backbone import build_backbone
    from houndsight.models.classifier import Classifier, Head

    prefix = "backbone."
    trunk = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    backbone = build_backbone(
        str(manifest.backbone["name"]), trunk, preprocessing=manifest.preprocessing
    )
    normalise = manifest.head["normalise"]
    if normalise not in ("none", "l2", "standardise"):
        raise ValueError(f"this version knows no head that normalises by {normalise!r}")
    head = Head(backbone.feature_dim, len(manifest.classes), normalise=normalise)
    classifier = Classifier(backbone, head)
    classifier.load_state_dict(state)
    return classifier.eval()
