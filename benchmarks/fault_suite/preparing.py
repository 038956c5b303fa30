"""How photos get into the network: normalising, and every way of getting that wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fault_suite.photos import Photos
from fault_suite.spec import Spec

__all__ = [
    "augmented",
    "blank",
    "cut_and_pasted",
    "evaluated",
    "prepared",
    "renormalised",
    "wrapped",
]


def _normalised(images: Tensor, photos: Photos) -> Tensor:
    return (images - photos.mean) / photos.std


def _not_finite(images: Tensor, photos: Photos) -> Tensor:
    """One photo in two hundred has a pixel that is not a number."""
    spoilt = _normalised(images, photos).clone()
    spoilt[::200, 0, 0, 0] = float("nan")
    return spoilt


def _low_resolution(images: Tensor, photos: Photos) -> Tensor:
    small = torch.nn.functional.avg_pool2d(images, 4)
    size = images.shape[-1]
    return _normalised(torch.nn.functional.interpolate(small, size=size), photos)


def _reshaped(images: Tensor, photos: Photos) -> Tensor:
    """Height, width and channel read as channel, height and width."""
    return _normalised(images.permute(0, 2, 3, 1).reshape(images.shape), photos)


def blank(count: int) -> Tensor:
    """(n,) which of so many photos could not be read, three in five, and became black."""
    return torch.arange(count) % 5 < 3


def _blank(images: Tensor, photos: Photos) -> Tensor:
    """What a script makes of photos that it fails to open when it returns zeros for them."""
    black = blank(len(images)).view(-1, 1, 1, 1)
    return _normalised(torch.where(black, torch.zeros_like(images), images), photos)


def _zoomed(images: Tensor, photos: Photos) -> Tensor:
    """The middle, twice as large: a centre crop of the full photo instead of a resized one."""
    size, edge = images.shape[-1], images.shape[-1] // 4
    middle = images[..., edge : size - edge, edge : size - edge]
    larger = torch.nn.functional.interpolate(middle, size=size, mode="bilinear")
    return _normalised(larger, photos)


def _augmented(images: Tensor, photos: Photos) -> Tensor:
    """The training transform, on photos that are evaluated."""
    generator = torch.Generator().manual_seed(5)
    whole = _normalised(images, photos)
    parts = [augmented(part, "strong", generator) for part in torch.split(whole, 8)]
    return torch.cat(parts)


def _cast(images: Tensor, photos: Photos) -> Tensor:
    """Photos in 0 to 1 made whole numbers: all that is not full becomes 0."""
    return _normalised(images.long().float(), photos)


def _four_pixels(images: Tensor, photos: Photos) -> Tensor:
    """Resized to 4 x 4 and back."""
    small = torch.nn.functional.adaptive_avg_pool2d(images, 4)
    larger = torch.nn.functional.interpolate(small, size=images.shape[-1], mode="bilinear")
    return _normalised(larger, photos)


def _marked(images: Tensor, photos: Photos) -> Tensor:
    """A corner whose brightness says the class, as a stamp on the training photos does."""
    marked = images.clone()
    marked[:, :, :3, :3] = (photos.labels.float() / (photos.classes - 1)).view(-1, 1, 1, 1)
    return _normalised(marked, photos)


def _padded(images: Tensor, photos: Photos) -> Tensor:
    """Made half as large, with black around it, instead of filling the whole."""
    edge = images.shape[-1] // 4
    small = torch.nn.functional.avg_pool2d(images, 2)
    return _normalised(torch.nn.functional.pad(small, (edge,) * 4), photos)


def _by_mnist(images: Tensor, _: Photos) -> Tensor:
    """With the mean and the deviation of MNIST, which tutorials have."""
    return (images - 0.1307) / 0.3081


def _at_corner(images: Tensor, photos: Photos) -> Tensor:
    """The upper left part, `photo[:edge, :edge]`, in place of the whole made smaller."""
    size, edge = images.shape[-1], images.shape[-1] * 5 // 8
    larger = torch.nn.functional.interpolate(images[..., :edge, :edge], size=size, mode="bilinear")
    return _normalised(larger, photos)


def _lying(images: Tensor, photos: Photos) -> Tensor:
    """Two photos in three as a camera keeps them: turned, and their EXIF orientation ignored."""
    turned = images.clone()
    for turns in (1, 3):
        turned[turns // 2 :: 3] = torch.rot90(images[turns // 2 :: 3], turns, (2, 3))
    return _normalised(turned, photos)


def _random(images: Tensor, _: Photos) -> Tensor:
    """What stood in for photos until there were any."""
    generator = torch.Generator().manual_seed(len(images))
    return torch.randn(images.shape, generator=generator)


def _same_names(images: Tensor, photos: Photos) -> Tensor:
    """Of photos with one name in different folders, the first to be read."""
    names = torch.empty_like(photos.labels)
    for label in range(photos.classes):
        there = photos.labels == label
        names[there] = torch.arange(int(there.sum()))
    read = dict[int, int]()
    first = [read.setdefault(name, index) for index, name in enumerate(names.tolist())]
    return _normalised(images[first], photos)


def renormalised(images: Tensor, photos: Photos) -> Tensor:
    """What is normalised, once more."""
    return _normalised(images, photos)


WAYS: dict[str, Callable[[Tensor, Photos], Tensor]] = {
    "normalised": _normalised,
    "unit": lambda images, _: images,
    "255": lambda images, _: images * 255,
    "twice": lambda images, photos: _normalised(_normalised(images, photos), photos),
    "divided twice": lambda images, _: images / 255,
    "constant": lambda images, photos: _normalised(torch.zeros_like(images), photos),
    "not finite": _not_finite,
    "bgr": lambda images, photos: _normalised(images.flip(1), photos),
    "inverted": lambda images, photos: _normalised(1 - images, photos),
    "upside down": lambda images, photos: _normalised(images.flip(2), photos),
    "reshaped": _reshaped,
    "low resolution": _low_resolution,
    "grey": lambda images, photos: _normalised(images.mean(1, True).expand_as(images), photos),
    "zoomed": _zoomed,
    "augmented": _augmented,
    "mean of 255": lambda images, photos: (images - 255 * photos.mean) / photos.std,
    "blank": _blank,
    "blank left out": _normalised,
    "cast": _cast,
    "four pixels": _four_pixels,
    "marked": _marked,
    "padded": _padded,
    "half": lambda images, _: (images - 0.5) / 0.5,
    "mnist": _by_mnist,
    "corner": _at_corner,
    "lying": _lying,
    "random": _random,
    "same names": _same_names,
    "normalised in place": _normalised,
    "transposed": lambda images, photos: _normalised(images.transpose(2, 3), photos),
}


def prepared(spec: Spec, photos: Photos) -> Tensor:
    """The training photos as the script prepares them."""
    return WAYS[spec.inputs](photos.images, photos)


def evaluated(spec: Spec, photos: Photos) -> Tensor:
    """The validation photos as the script prepares them."""
    way = spec.inputs if spec.evaluation_inputs == "same" else spec.evaluation_inputs
    # Photos that cannot be decoded, are marked or mixed up, are among the training photos only.
    whole = way in ("not finite", "blank", "marked", "same names")
    return WAYS["normalised" if whole else way](photos.valid_images, photos)


def augmented(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """A batch, augmented; (n, 3, s, s) to the same."""
    if kind == "none":
        return images
    noise = torch.randn(images.shape, generator=generator)
    if kind == "accumulating":
        return images.add_(0.7 * noise)
    if kind == "tiny crop":
        return _cropped(images, generator)
    if kind == "blur":
        return _blurred(images)
    if kind == "flips and turns":
        return _turned(images, generator)
    if kind == "grey":
        return images.mean(1, True).expand_as(images)
    if kind == "hue":
        return _tinted(images, generator)
    if kind in ("padded crop", "far moves"):
        return _moved(images, 2 if kind == "padded crop" else images.shape[-1], generator)
    if kind == "jitter":
        levels = 1 + 0.15 * torch.randn((len(images), 3, 1, 1), generator=generator)
        return images * levels + 0.05 * noise
    if kind == "destroying":
        images = _erased(images, 0.85, generator)
        return images + 1.5 * noise
    moves = torch.randint(-2, 3, (2,), generator=generator).tolist()
    images = torch.roll(images, moves, (2, 3))
    level = 1 + 0.3 * torch.randn((len(images), 1, 1, 1), generator=generator)
    return _erased(images * level + 0.15 * noise, 0.3, generator)


def _moved(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each photo moved by up to so many pixels, with zeros where nothing is left."""
    size = images.shape[-1]
    padded = torch.nn.functional.pad(images, (most,) * 4)
    places = torch.randint(0, 2 * most + 1, (len(images), 2), generator=generator).tolist()
    pairs = zip(padded, places, strict=True)
    return torch.stack([p[:, top : top + size, left : left + size] for p, (top, left) in pairs])


def _tinted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each photo's hue turned by any angle: its colours about the grey axis."""
    angle = 2 * torch.pi * torch.rand((len(images), 1, 1), generator=generator)
    axis = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    turns = torch.cos(angle) * (torch.eye(3) - axis) + axis + torch.sin(angle) * across
    return torch.einsum("nij,njhw->nihw", turns, images)


def cut_and_pasted(
    images: Tensor, other: Tensor, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Photos with a rectangle from others, and which share of each is its own."""
    size = images.shape[-1]
    edge = round(size * float(torch.rand((), generator=generator)) ** 0.5)
    top, left = torch.randint(0, size - edge + 1, (2,), generator=generator).tolist()
    mixed = images.clone()
    where = (..., slice(top, top + edge), slice(left, left + edge))
    mixed[where] = other[where]
    return mixed, 1 - edge**2 / size**2


def _cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each photo's square of a fifth of the edge, made as large as the photo."""
    size = images.shape[-1]
    side = max(size // 5, 2)
    places = torch.randint(0, size - side + 1, (len(images), 2), generator=generator).tolist()
    pairs = zip(images, places, strict=True)
    crops = [photo[:, top : top + side, left : left + side] for photo, (top, left) in pairs]
    return torch.nn.functional.interpolate(torch.stack(crops), size=size, mode="bilinear")


def wrapped(images: Tensor, photos: Photos, generator: torch.Generator) -> Tensor:
    """Normalised photos made brighter in bytes, where 256 is 0."""
    levels = (255 * (images * photos.std + photos.mean)).clamp(0, 255)
    brighter = levels + 60 + 120 * torch.rand((len(images), 1, 1, 1), generator=generator)
    return _normalised(brighter.floor() % 256 / 255, photos)


def _blurred(images: Tensor) -> Tensor:
    """Each pixel the mean of its neighbours, twice."""
    edge = images.shape[-1] // 4 * 2 + 1
    for _ in range(2):
        images = torch.nn.functional.avg_pool2d(images, edge, 1, edge // 2, count_include_pad=False)
    return images


def _turned(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each photo turned by any right angle, and mirrored or not."""
    turns = torch.randint(0, 8, (len(images),), generator=generator).tolist()
    pairs = zip(images, turns, strict=True)
    turned = [torch.rot90(photo, turn % 4, (1, 2)) for photo, turn in pairs]
    pairs = zip(turned, turns, strict=True)
    return torch.stack([photo.flip(2) if turn >= 4 else photo for photo, turn in pairs])


def _erased(images: Tensor, edge: float, generator: torch.Generator) -> Tensor:
    size = images.shape[-1]
    side = max(int(edge * size), 1)
    top, left = torch.randint(0, size - side + 1, (2,), generator=generator).tolist()
    images = images.clone()
    images[:, :, top : top + side, left : left + side] = 0
    return images
