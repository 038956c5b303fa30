"""Where a classifier looks: Grad-CAM for convolutions, and its equivalent for tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from houndsight.data.decode import Preprocessing, normalise

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = ["grad_cam", "overlay"]

# Stops of "turbo" (Mikhailov 2019), dark blue for 0 to dark red for 1, at equal distances.
COLOURS = np.array(
    [
        (48, 18, 59),
        (70, 107, 227),
        (40, 187, 236),
        (49, 242, 153),
        (162, 252, 60),
        (237, 208, 58),
        (251, 128, 34),
        (210, 49, 5),
        (122, 4, 3),
    ],
    np.float32,
)


def grad_cam(
    classifier: Classifier,
    images: npt.NDArray[np.uint8],
    targets: npt.ArrayLike | None = None,
    *,
    preprocessing: Preprocessing | None = None,
) -> npt.NDArray[np.float32]:
    """Heat maps, 0 to 1, of what speaks for a class; all 0 where nothing does.

    Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2, on the last maps of the backbone's last
    stage. A vision transformer reads its class token from the last block, so the other tokens
    there have no gradient: its map is made of the tokens at the fine-tuning boundary, without
    the class token, with the same equations.

    Args:
        classifier: left as it was, gradients included.
        images: uint8 `(s, s, 3)` as `decode` gives them, or several, `(n, s, s, 3)`.
        targets: the class of each image; by default the one the classifier predicts.
        preprocessing: by default the backbone's.

    Returns:
        float32 `(s, s)`, or `(n, s, s)` for several images.
    """
    if images.ndim == 3:
        wanted = None if targets is None else np.atleast_1d(targets)
        heats = grad_cam(classifier, images[None], wanted, preprocessing=preprocessing)
        return heats.squeeze(0)
    parameter = next(classifier.parameters())
    pixels = normalise(images, preprocessing or classifier.backbone.preprocessing)
    inputs = torch.from_numpy(pixels).to(parameter.device, parameter.dtype)
    with _in_evaluation(classifier), torch.enable_grad():
        maps, gradients = _maps_and_gradients(classifier, inputs, targets)
    weights = gradients.mean((2, 3), keepdim=True)
    heat = torch.relu((weights * maps).sum(1, keepdim=True)).float()
    heat = F.interpolate(heat, images.shape[1:3], mode="bilinear", align_corners=False)[:, 0]
    peak = heat.amax((1, 2), keepdim=True)
    result: npt.NDArray[np.float32] = (heat / peak.clamp_min(1e-12)).cpu().numpy()
    return result


def overlay(
    image: npt.NDArray[np.uint8], heat: npt.NDArray[np.floating[Any]], *, opacity: float = 0.5
) -> npt.NDArray[np.uint8]:
    """An image `(h, w, 3)` with a heat map `(h, w)` of 0 to 1 over it; cold parts stay clear."""
    place = np.clip(heat, 0, 1).astype(np.float32) * (len(COLOURS) - 1)
    below = np.minimum(place.astype(int), len(COLOURS) - 2)
    share = (place - below)[..., None]
    colour = COLOURS[below] * (1 - share) + COLOURS[below + 1] * share
    weight = (opacity * np.clip(heat, 0, 1) ** 0.5)[..., None].astype(np.float32)
    mixed: npt.NDArray[np.uint8] = (image * (1 - weight) + colour * weight).round().astype(np.uint8)
    return mixed


def _maps_and_gradients(
    classifier: Classifier, inputs: Tensor, targets: npt.ArrayLike | None
) -> tuple[Tensor, Tensor]:
    """Activation maps `(n, c, h, w)` and the chosen logits' gradients by them."""
    with torch.no_grad():
        activations = classifier.backbone.trunk(inputs)
    activations = activations.detach().requires_grad_()
    seen: list[Tensor] = [activations]
    with _watching(classifier.backbone.stage, seen):
        logits = classifier.from_activations(activations)
    chosen = logits.argmax(1)
    if targets is not None:
        chosen = torch.as_tensor(np.asarray(targets, np.int64), device=logits.device)
    score = logits.gather(1, chosen[:, None]).sum()
    maps = seen[0] if activations.ndim == 3 else _last_maps(seen)
    (gradients,) = torch.autograd.grad(score, maps)
    if maps.ndim == 3:
        return _grid(maps.detach()), _grid(gradients)
    return maps.detach(), gradients


def _last_maps(seen: list[Tensor]) -> Tensor:
    """The last activations that still have rows and columns."""
    return [t for t in seen if t.ndim == 4 and t.shape[2] * t.shape[3] > 1][-1]


def _grid(tokens: Tensor) -> Tensor:
    """Tokens `(n, t, d)` as maps `(n, d, h, w)`: the patches are the last square number."""
    side = math.isqrt(tokens.shape[1])
    patches = tokens[:, -side * side :].transpose(1, 2)
    return patches.reshape(len(tokens), -1, side, side)


@contextmanager
def _watching(stage: nn.Module, seen: list[Tensor]) -> Iterator[None]:
    """Inside, every module of the stage adds its output to `seen`."""

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            seen.append(output)

    hooks = [module.register_forward_hook(keep) for module in stage.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _in_evaluation(classifier: nn.Module) -> Iterator[None]:
    """Inside, the classifier is in eval mode."""
    modes = {module: module.training for module in classifier.modules()}
    classifier.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
