"""Data sets that ship in packages or are generated, as small colour photos with labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fault_suite import fourth_photos, third_photos
from fault_suite.drawing import Images, Labels, coloured, halved, noisy

__all__ = ["DATA", "Photos", "by_class", "photos"]

VALID = 300
"""Photos that are held out."""


@dataclass(frozen=True)
class Photos:
    """Photos with values in 0 to 1, their labels, and how to normalise them."""

    images: Tensor
    """(n, 3, s, s) float32"""
    labels: Tensor
    """(n,) int64"""
    valid_images: Tensor
    valid_labels: Tensor
    classes: int
    mean: Tensor
    """(3, 1, 1) of the training photos."""
    std: Tensor

    @property
    def size(self) -> int:
        """Edge in pixels."""
        return int(self.images.shape[-1])


def photos(name: str, part: str, seed: int) -> Photos:
    """A data set: all classes (`scratch`), or one half of them (`source`, `transfer`).

    A network is trained on `source` before it is on `transfer`. The seed draws the split.
    """
    images, labels = DATA[name](part)
    order = np.random.default_rng(seed + 1000).permutation(len(labels))
    images, labels = images[order], labels[order]
    held_out = min(VALID, len(labels) // 3)
    train = torch.from_numpy(images[held_out:])
    return Photos(
        train,
        torch.from_numpy(labels[held_out:]),
        torch.from_numpy(images[:held_out]),
        torch.from_numpy(labels[:held_out]),
        int(labels.max()) + 1,
        train.mean((0, 2, 3)).view(3, 1, 1),
        train.std((0, 2, 3)).view(3, 1, 1),
    )


def by_class(photos: Photos) -> Photos:
    """The same photos, the last of a list that is sorted by class held out."""
    images = torch.cat([photos.images, photos.valid_images])
    labels = torch.cat([photos.labels, photos.valid_labels])
    order, count = torch.argsort(labels, stable=True), len(photos.labels)
    generator = torch.Generator().manual_seed(9)
    train, valid = order[:count], order[count:]
    train = train[torch.randperm(count, generator=generator)]
    return replace(
        photos,
        images=images[train],
        labels=labels[train],
        valid_images=images[valid],
        valid_labels=labels[valid],
    )


@cache
def _digits(part: str) -> tuple[Images, Labels]:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    grey = torch.from_numpy(np.asarray(loaded.images, np.float32) / 16)[:, None]
    larger = torch.nn.functional.interpolate(grey, size=16, mode="bilinear")[:, 0].numpy()
    return halved(coloured(larger), np.asarray(loaded.target, np.int64), part)


@cache
def _textures(part: str) -> tuple[Images, Labels]:
    """Gratings of 8 directions and widths in colours that overlap, with noise."""
    random, size, count = np.random.default_rng(11), 16, 1500
    labels = random.integers(0, 8, count)
    y, x = np.mgrid[0:size, 0:size] / size
    angle, frequency = np.pi * (labels % 4) / 4, 2.0 + 1.5 * (labels // 4)
    across = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    phase = random.uniform(0, 2 * np.pi, count)[:, None, None]
    wave = np.sin(2 * np.pi * frequency[:, None, None] * across + phase)
    colour = random.uniform(0.3, 0.7, (count, 3))[:, :, None, None]
    images = colour + 0.2 * wave[:, None] + random.normal(0, 0.15, (count, 3, size, size))
    return halved(np.clip(images, 0, 1).astype(np.float32), labels.astype(np.int64), part)


@cache
def _prototypes(part: str) -> tuple[Images, Labels]:
    """Twelve random smooth patterns, moved by up to two pixels, under noise."""
    random, size, count = np.random.default_rng(12), 16, 1500
    coarse = torch.from_numpy(random.random((12, 3, 5, 5)))
    patterns = torch.nn.functional.interpolate(coarse, size=size + 4, mode="bicubic").numpy()
    labels = random.integers(0, 12, count)
    images = np.empty((count, 3, size, size), np.float32)
    for index, label in enumerate(labels):
        top, left = random.integers(0, 5, 2)
        images[index] = patterns[label][:, top : top + size, left : left + size]
    mixed = 0.6 * images + 0.4 * random.random(images.shape)
    return halved(np.clip(mixed, 0, 1).astype(np.float32), labels.astype(np.int64), part)


@cache
def _elpv(part: str) -> tuple[Images, Labels]:
    """Solar cells: mono and poly, sound and broken; from the cell's kind to whether it broke."""
    from elpv_dataset.utils import load_dataset

    cells, broken, kinds = load_dataset()
    sure = np.flatnonzero((broken == 0) | (broken == 1))
    pooled = cells[sure, :288, :288].reshape(len(sure), 32, 9, 32, 9).mean((2, 4)) / 255
    broke = broken[sure].astype(np.int64)
    poly = (kinds[sure] == "poly").astype(np.int64)
    labels = {"scratch": 2 * poly + broke, "source": poly, "transfer": broke}[part]
    return coloured(pooled), labels


@cache
def _shapes(part: str) -> tuple[Images, Labels]:
    """Eight filled or open shapes, any colour, size and place."""
    random, size, count = np.random.default_rng(13), 24, 1500
    labels = random.integers(0, 8, count)
    images = np.stack([_shape(int(label), size, random) for label in labels])
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _shape(label: int, size: int, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    back, front = random.integers(0, 110, 3), random.integers(130, 255, 3)
    image = Image.new("RGB", (size, size), tuple(int(v) for v in back))
    draw, colour = ImageDraw.Draw(image), tuple(int(v) for v in front)
    edge = int(random.integers(10, 16))
    left, top = (int(v) for v in random.integers(1, size - edge, 2))
    box, middle = (left, top, left + edge, top + edge), (left + edge // 2, top + edge // 2)
    if label < 4:
        sides = (0, 3, 4, 6)[label]
        if sides == 0:
            draw.ellipse(box, fill=colour)
        else:
            draw.regular_polygon((*middle, edge / 2), sides, fill=colour)
    elif label == 4:
        draw.ellipse(box, outline=colour, width=2)
    elif label == 5:
        draw.rectangle(box, outline=colour, width=2)
    elif label == 6:
        draw.line((left, middle[1], left + edge, middle[1]), fill=colour, width=3)
        draw.line((middle[0], top, middle[0], top + edge), fill=colour, width=3)
    else:
        draw.line(box, fill=colour, width=3)
    return np.asarray(image)


@cache
def _glyphs(part: str) -> tuple[Images, Labels]:
    """Twelve letters in Pillow's own font, turned a little, in any two colours."""
    random, size, count = np.random.default_rng(14), 20, 1800
    labels = random.integers(0, 12, count)
    font = ImageFont.load_default(size=17)
    images = []
    for label in labels:
        mask = Image.new("L", (size, size))
        place = (size / 2 + random.uniform(-2, 2), size / 2 + random.uniform(-2, 2))
        ImageDraw.Draw(mask).text(place, "ABEFGHKMNRSZ"[label], 255, font, anchor="mm")
        turned = mask.rotate(float(random.uniform(-15, 15)))
        ink, paper = random.integers(0, 110, 3), random.integers(140, 255, 3)
        share = np.asarray(turned, np.float32)[..., None] / 255
        images.append((share * ink + (1 - share) * paper).astype(np.uint8))
    return halved(noisy(np.stack(images), random), labels.astype(np.int64), part)


@cache
def _spectra(part: str) -> tuple[Images, Labels]:
    """Random clouds: six laws by which their spectrum falls, even or stretched."""
    random, size, count = np.random.default_rng(15), 24, 1500
    labels = random.integers(0, 6, count)
    vertical, horizontal = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    images = np.empty((count, 3, size, size), np.float32)
    for index, label in enumerate(labels):
        stretch = (1.0, 2.5)[label // 3]
        radius = np.sqrt((vertical * stretch) ** 2 + horizontal**2)
        radius[0, 0] = 1.0
        noise = np.fft.fft2(random.normal(size=(3, size, size)))
        cloud = np.fft.ifft2(noise / radius ** (0.5, 1.2, 2.0)[label % 3]).real
        cloud = (cloud - cloud.mean()) / cloud.std()
        images[index] = 0.5 + 0.15 * cloud
    return halved(np.clip(images, 0, 1), labels.astype(np.int64), part)


@cache
def _scenes(part: str) -> tuple[Images, Labels]:
    """Pieces of scikit-learn's two sample photos: which quarter of which photo."""
    from sklearn.datasets import load_sample_images

    random, size, count = np.random.default_rng(16), 24, 1600
    whole = [np.asarray(image, np.float32) / 255 for image in load_sample_images().images]
    labels = random.integers(0, 8, count)
    images = np.empty((count, 3, size, size), np.float32)
    for index, label in enumerate(labels):
        image = whole[label // 4]
        height, width = image.shape[0] // 2, image.shape[1] // 2
        top = (label % 4 // 2) * height + random.integers(0, height - 2 * size)
        left = (label % 2) * width + random.integers(0, width - 2 * size)
        piece = image[top : top + 2 * size : 2, left : left + 2 * size : 2]
        images[index] = piece.transpose(2, 0, 1)
    return halved(images, labels.astype(np.int64), part)


@cache
def _arrows(part: str) -> tuple[Images, Labels]:
    """Arrows in eight directions, any colour, length and place."""
    random, size, count = np.random.default_rng(21), 20, 1500
    labels = random.integers(0, 8, count)
    images = np.stack([_arrow(int(label), size, random) for label in labels])
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _arrow(label: int, size: int, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    back, front = random.integers(0, 120, 3), random.integers(120, 255, 3)
    image = Image.new("RGB", (size, size), tuple(int(v) for v in back))
    draw, colour = ImageDraw.Draw(image), tuple(int(v) for v in front)
    angle = np.pi * label / 4 + random.uniform(-0.15, 0.15)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    middle, length = size / 2 + random.uniform(-3, 3, 2), random.uniform(5, 8)
    tip, side = middle + length * ahead, np.array([-ahead[1], ahead[0]])
    draw.line((*(middle - length * ahead), *tip), fill=colour, width=2)
    corners = [tip, tip - 5 * ahead + 4 * side, tip - 5 * ahead - 4 * side]
    draw.polygon([(float(x), float(y)) for x, y in corners], fill=colour)
    return np.asarray(image)


@cache
def _flags(part: str) -> tuple[Images, Labels]:
    """Ten flags of two or three stripes, lying or upright, faded and under noise."""
    random, size, count = np.random.default_rng(22), 16, 1500
    stripes = random.uniform(0.1, 0.9, (10, 3, 3))
    labels = random.integers(0, 10, count)
    images = np.empty((count, 3, size, size), np.float32)
    for index, label in enumerate(labels):
        edges = np.sort(random.integers(3, size - 2, 2))
        which = np.searchsorted(edges, np.arange(size), side="right")
        flag = np.repeat(stripes[label][which].T[:, :, None], size, axis=2)
        images[index] = flag if label % 2 else flag.transpose(0, 2, 1)
    faded = 0.5 + (images - 0.5) * random.uniform(0.3, 1, (count, 1, 1, 1))
    faded += random.normal(0, 0.15, images.shape)
    return halved(np.clip(faded, 0, 1).astype(np.float32), labels.astype(np.int64), part)


@cache
def _dots(part: str) -> tuple[Images, Labels]:
    """One, two, four, seven, or twelve dots, which may touch, of any colour."""
    random, size, count = np.random.default_rng(23), 20, 1500
    labels = random.integers(0, 5, count)
    y, x = np.mgrid[0:size, 0:size]
    images = np.empty((count, size, size, 3), np.uint8)
    for index, label in enumerate(labels):
        mask = np.zeros((size, size), bool)
        for left, top in random.uniform(2, size - 3, ((1, 2, 4, 7, 12)[label], 2)):
            mask |= (x - left) ** 2 + (y - top) ** 2 < 5
        dark, light = random.integers(0, 100, 3), random.integers(150, 255, 3)
        images[index] = np.where(mask[..., None], light, dark)
    return halved(noisy(images, random), labels.astype(np.int64), part)


@cache
def _weaves(part: str) -> tuple[Images, Labels]:
    """Eight weaves: stripes, checks, rings, rays, coarse or fine, moved, light on dark."""
    random, size, count = np.random.default_rng(24), 24, 1500
    labels = random.integers(0, 8, count)
    images = np.empty((count, size, size, 3), np.uint8)
    for index, label in enumerate(labels):
        left, top = size / 2 + random.uniform(-2, 2, 2)
        x, y = np.meshgrid(np.arange(size) - left, np.arange(size) - top)
        step = (3.0, 5.5)[label // 4]
        ways = (np.sin(np.pi * (x + y) / step), np.sin(np.pi * x / step) * np.sin(np.pi * y / step))
        around = np.sin(2 * (label // 4 + 2) * np.arctan2(y, x))
        wave = (*ways, np.sin(np.pi * np.hypot(x, y) / step), around)[label % 4]
        one, other = random.integers(140, 255, 3), random.integers(0, 110, 3)
        images[index] = np.where(wave[..., None] > 0, one, other)
    return halved(noisy(images, random), labels.astype(np.int64), part)


@cache
def _tissue(part: str) -> tuple[Images, Labels]:
    """Cells of random grounds: three densities, with walls or without."""
    random, size, count = np.random.default_rng(25), 24, 1500
    labels = random.integers(0, 6, count)
    y, x = np.mgrid[0:size, 0:size]
    images = np.empty((count, size, size, 3), np.uint8)
    for index, label in enumerate(labels):
        seeds = random.uniform(0, size, ((5, 14, 40)[label % 3], 2))
        far = np.hypot(x[..., None] - seeds[:, 0], y[..., None] - seeds[:, 1])
        nearest = np.sort(far, axis=-1)
        wall = (nearest[..., 1] - nearest[..., 0] < 1) & (label >= 3)
        colour = random.integers(60, 230, (len(seeds), 3))[far.argmin(-1)]
        images[index] = np.where(wall[..., None], 20, colour)
    return halved(noisy(images, random), labels.astype(np.int64), part)


DATA: dict[str, Callable[[str], tuple[Images, Labels]]] = {
    "digits": _digits,
    "textures": _textures,
    "prototypes": _prototypes,
    "elpv": _elpv,
    "shapes": _shapes,
    "glyphs": _glyphs,
    "spectra": _spectra,
    "scenes": _scenes,
    "arrows": _arrows,
    "flags": _flags,
    "dots": _dots,
    "weaves": _weaves,
    "tissue": _tissue,
    "automata": third_photos.automata,
    "galaxies": third_photos.galaxies,
    "roads": third_photos.roads,
    "segments": third_photos.segments,
    "fruits": third_photos.fruits,
    "curves": fourth_photos.curves,
    "capsules": fourth_photos.capsules,
    "lattices": fourth_photos.lattices,
    "clocks": fourth_photos.clocks,
    "chirps": fourth_photos.chirps,
}
