"""Five generated data sets of the third unseen part."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fault_suite.drawing import Images, Labels, halved, noisy

__all__ = ["automata", "fruits", "galaxies", "roads", "segments"]

Bytes = npt.NDArray[np.uint8]
ROADS = ((0, 2), (1, 3), (0, 1), (1, 2), (0, 1, 2), (1, 2, 3), (2, 3, 0), (0, 1, 2, 3))
"""Which sides each road leads to: above, right, below, left."""
LIT = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
"""Which of seven segments each digit lights."""


def _colours(
    random: np.random.Generator, dark: int, light: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """One colour up to `dark` and one from `light` on."""
    low, high = random.integers(0, dark, 3), random.integers(light, 255, 3)
    return tuple(int(v) for v in low), tuple(int(v) for v in high)


@cache
def automata(part: str) -> tuple[Images, Labels]:
    """What eight rules of one-dimensional cellular automata draw, some cells wrong."""
    random, size, count = np.random.default_rng(31), 24, 1500
    labels = random.integers(0, 8, count)
    images = np.empty((count, size, size, 3), np.uint8)
    for index, label in enumerate(labels):
        rule = (30, 90, 54, 60, 110, 184, 150, 73)[label]
        cells = random.integers(0, 2, size)
        drawn = np.empty((size, size), np.int64)
        for row in range(-6, size):
            drawn[max(row, 0)] = cells
            seen = 4 * np.roll(cells, 1) + 2 * cells + np.roll(cells, -1)
            cells = (rule >> seen) & 1
        drawn ^= random.random((size, size)) < 0.03
        low, high = _colours(random, 110, 140)
        images[index] = np.where(drawn[..., None] > 0, high, low)
    return halved(noisy(images, random), labels.astype(np.int64), part)


@cache
def galaxies(part: str) -> tuple[Images, Labels]:
    """A round cloud, a ring, and one or two arms that turn to the left or the right."""
    random, size, count = np.random.default_rng(32), 32, 1500
    labels = random.integers(0, 6, count)
    images = np.empty((count, 3, size, size), np.float32)
    for index, label in enumerate(labels):
        left, top = size / 2 + random.uniform(-2, 2, 2)
        x, y = np.meshgrid(np.arange(size) - left, np.arange(size) - top)
        radius, angle = np.hypot(x, y) / random.uniform(9, 12), np.arctan2(y, x)
        light = np.exp(-4 * radius**2)
        if label == 1:
            light = light + np.exp(-(((radius - 0.9) / 0.2) ** 2))
        elif label > 1:
            arms, turn = (label - 2) // 2 + 1, 2 * (label % 2) - 1
            phase = arms * angle + turn * 3.5 * radius + random.uniform(0, 2 * np.pi)
            light = light + np.exp(-1.2 * radius) * np.clip(np.cos(phase), 0, None) ** 2
        tint = random.uniform(0.5, 0.9, (3, 1, 1))
        images[index] = random.uniform(0.05, 0.25) + tint * light
    images += random.normal(0, 0.05, images.shape)
    return halved(np.clip(images, 0, 1).astype(np.float32), labels.astype(np.int64), part)


@cache
def roads(part: str) -> tuple[Images, Labels]:
    """Eight junctions of roads on fields of any two colours."""
    random, size, count = np.random.default_rng(33), 24, 1500
    labels = random.integers(0, 8, count)
    images = np.stack([_road(int(label), size, random) for label in labels])
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _road(label: int, size: int, random: np.random.Generator) -> Bytes:
    one = random.integers(20, 130, 3)
    other = one + random.integers(-20, 30, 3)
    blocks = np.kron(random.integers(0, 2, (6, 6)), np.ones((4, 4), np.int64))[..., None]
    field = np.where(blocks > 0, one, other).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(field[:size, :size]))
    draw, grey = ImageDraw.Draw(image), int(random.integers(150, 255))
    x, y = (int(v) for v in size // 2 + random.integers(-3, 4, 2))
    ends = ((x, -1), (size, y), (x, size), (-1, y))
    width = int(random.integers(2, 5))
    for side in ROADS[label]:
        draw.line((x, y, *ends[side]), fill=(grey, grey, grey), width=width)
    return np.asarray(image)


@cache
def segments(part: str) -> tuple[Images, Labels]:
    """Ten digits of seven segments, leaning, some with a segment that is weak."""
    random, size, count = np.random.default_rng(34), 24, 1600
    labels = random.integers(0, 10, count)
    images = np.stack([_segmented(int(label), size, random) for label in labels])
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _segmented(label: int, size: int, random: np.random.Generator) -> Bytes:
    low, high = _colours(random, 90, 130)
    image = Image.new("RGB", (size, size), low)
    draw = ImageDraw.Draw(image)
    wide, tall = (int(v) for v in random.integers((7, 7), (9, 9)))
    left = int(random.integers(4, 12))
    top, lean = int(random.integers(2, 6)), int(random.integers(-1, 2))
    corners = [(left + lean * (1 - row), top + row * tall) for row in range(3)]
    corners += [(x + wide, y) for x, y in corners]
    ways = {"a": (0, 3), "b": (3, 4), "c": (4, 5), "d": (2, 5), "e": (1, 2), "f": (0, 1)}
    weak = random.choice(list(LIT[label]))
    for name in LIT[label]:
        start, end = (ways | {"g": (1, 4)})[name]
        share = 0.65 if name == weak else 1.0
        pairs = zip(low, high, strict=True)
        colour = tuple(int(dark + share * (light - dark)) for dark, light in pairs)
        draw.line((*corners[start], *corners[end]), fill=colour, width=2)
    for x, y in random.integers(0, size, (3, 2)):
        draw.point((int(x), int(y)), fill=high)
    return np.asarray(image)


@cache
def fruits(part: str) -> tuple[Images, Labels]:
    """Round or long, in four colours that overlap, shaded, any size, before leaves."""
    random, size, count = np.random.default_rng(35), 16, 1500
    labels = random.integers(0, 8, count)
    images = np.empty((count, 3, size, size), np.float32)
    tints = np.array([[0.8, 0.25, 0.2], [0.8, 0.55, 0.2], [0.75, 0.75, 0.25], [0.4, 0.65, 0.25]])
    for index, label in enumerate(labels):
        left, top = size / 2 + random.uniform(-2.5, 2.5, 2)
        x, y = np.meshgrid(np.arange(size) - left, np.arange(size) - top)
        angle, longer = random.uniform(0, np.pi), (1.0, 2.2)[label // 4]
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        far = np.hypot(along / longer, across) / random.uniform(3, 4.2)
        shade = 1.1 - 0.4 * far + 0.02 * (x + y) * random.choice([-1, 1])
        tint = tints[label % 4] + random.normal(0, 0.04, 3)
        leaves = np.array([0.25, 0.45, 0.2]) + random.normal(0, 0.08, (size, size, 3))
        photo = np.where((far < 1)[..., None], tint * shade[..., None], leaves)
        images[index] = photo.transpose(2, 0, 1) * random.uniform(0.75, 1.1)
    images += random.normal(0, 0.06, images.shape)
    return halved(np.clip(images, 0, 1).astype(np.float32), labels.astype(np.int64), part)
