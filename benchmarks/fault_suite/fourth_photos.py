"""Five generated data sets of the fourth unseen part."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fault_suite.drawing import Images, Labels, halved, noisy

__all__ = ["capsules", "chirps", "clocks", "curves", "lattices"]

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Colour = tuple[int, ...]
RATIOS = ((1, 1), (1, 2), (1, 3), (2, 3), (2, 1), (3, 1), (3, 2), (3, 4))
"""How often a curve swings sideways and upwards."""
DYES = ((210, 60, 60), (60, 160, 80), (70, 90, 200), (220, 190, 70))
PAIRS = ((0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (1, 2), (0, 0), (3, 3))
"""Which two dyes a capsule has."""
LATTICES = (
    ((1.0, 0.0), (0.0, 1.0)),
    ((1.0, 0.0), (0.5, 0.866)),
    ((1.0, 0.0), (0.0, 1.8)),
    ((0.6, 0.0), (0.0, 0.6)),
    ((0.6, 0.0), (0.3, 0.52)),
    ((1.6, 0.0), (0.0, 0.6)),
)
"""The two steps of each lattice."""


def _ink(random: np.random.Generator) -> tuple[Colour, Colour]:
    """Dark paper and light ink, in any colour."""
    paper, ink = random.integers(0, 100, 3), random.integers(150, 256, 3)
    return tuple(int(v) for v in paper), tuple(int(v) for v in ink)


@cache
def curves(part: str) -> tuple[Images, Labels]:
    """Lissajous' curves of eight ratios, any phase, size and colour."""
    random, size, count = np.random.default_rng(41), 32, 1500
    labels = random.integers(0, 8, count)
    images = np.stack([_curve(int(label), size, random) for label in labels])
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _curve(label: int, size: int, random: np.random.Generator) -> Bytes:
    paper, ink = _ink(random)
    image = Image.new("RGB", (size, size), paper)
    across, upwards = RATIOS[label]
    time, phase = np.linspace(0, 2 * np.pi, 120), random.uniform(0.5, 1.1)
    wide, tall = random.uniform(0.34, 0.44, 2) * size
    left, top = size / 2 + random.uniform(-1.5, 1.5, 2)
    x, y = left + wide * np.sin(across * time + phase), top + tall * np.sin(upwards * time)
    points = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    ImageDraw.Draw(image).line(points, fill=ink, width=2)
    return np.asarray(image)


@cache
def capsules(part: str) -> tuple[Images, Labels]:
    """Capsules of two dyes, eight pairs of them, lying anyhow on a tray."""
    random, size, count = np.random.default_rng(42), 20, 1500
    labels = random.integers(0, 8, count)
    images = np.stack([_capsule(int(label), size, random) for label in labels])
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _capsule(label: int, size: int, random: np.random.Generator) -> Bytes:
    tray = int(random.integers(90, 200))
    left, top = size / 2 + random.uniform(-2.5, 2.5, 2)
    y, x = np.mgrid[0:size, 0:size]
    angle = random.uniform(0, 2 * np.pi)
    along = (x - left) * np.cos(angle) + (y - top) * np.sin(angle)
    beside = (y - top) * np.cos(angle) - (x - left) * np.sin(angle)
    length, radius = random.uniform(3, 5), random.uniform(2.5, 3.8)
    inside = np.hypot(np.clip(np.abs(along) - length, 0, None), beside) < radius
    first, second = (np.array(DYES[dye]) + random.normal(0, 22, 3) for dye in PAIRS[label])
    dyed = np.where(along[..., None] > 0, first, second)
    shaded = dyed * (1.1 - 0.35 * np.abs(beside[..., None]) / radius)
    photo = np.where(inside[..., None], shaded, tray)
    return np.clip(photo, 0, 255).astype(np.uint8)


@cache
def lattices(part: str) -> tuple[Images, Labels]:
    """Atoms in six lattices, turned anyhow, each a little out of place."""
    random, size, count = np.random.default_rng(43), 16, 1500
    labels = random.integers(0, 6, count)
    y, x = np.mgrid[0:size, 0:size]
    images = np.empty((count, size, size, 3), np.uint8)
    for index, label in enumerate(labels):
        places = _atoms(int(label), random) + size / 2
        near = (np.abs(places - size / 2) < size / 2 + 2).all(1)
        far = np.hypot(x[..., None] - places[near, 0], y[..., None] - places[near, 1])
        light = np.exp(-((far.min(-1) / 0.9) ** 2))[..., None]
        dark, bright = (np.array(colour) for colour in _ink(random))
        images[index] = dark + light * (bright - dark)
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _atoms(label: int, random: np.random.Generator) -> Floats:
    steps = 4.2 * random.uniform(0.92, 1.08) * np.array(LATTICES[label])
    angle = random.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grid = np.stack(np.meshgrid(np.arange(-12, 13), np.arange(-12, 13)), -1).reshape(-1, 2)
    places = (grid + random.uniform(0, 1, 2)) @ steps @ turn
    moved: Floats = places + random.normal(0, 0.25, places.shape)
    return moved


@cache
def clocks(part: str) -> tuple[Images, Labels]:
    """Dials whose hand is at one of ten hours, with a short one that means nothing."""
    random, size, count = np.random.default_rng(44), 24, 1500
    labels = random.integers(0, 10, count)
    images = np.stack([_clock(int(label), size, random) for label in labels])
    return halved(noisy(images, random), labels.astype(np.int64), part)


def _clock(label: int, size: int, random: np.random.Generator) -> Bytes:
    paper, ink = _ink(random)
    image = Image.new("RGB", (size, size), paper)
    draw = ImageDraw.Draw(image)
    x, y = (float(v) for v in size / 2 + random.uniform(-2, 2, 2))
    radius = float(random.uniform(7.5, 9.5))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink)
    angles = (2 * np.pi * label / 10 + random.uniform(-0.15, 0.15), random.uniform(0, 2 * np.pi))
    for angle, length, width in zip(angles, (0.9, 0.45), (3, 1), strict=True):
        tip = (x + length * radius * np.sin(angle), y - length * radius * np.cos(angle))
        draw.line((x, y, float(tip[0]), float(tip[1])), fill=ink, width=width)
    return np.asarray(image)


@cache
def chirps(part: str) -> tuple[Images, Labels]:
    """Spectrograms of eight sounds: steady, rising, falling, bent, with overtones, clicks."""
    random, size, count = np.random.default_rng(45), 16, 1600
    labels = random.integers(0, 8, count)
    images = np.stack([_spectrogram(int(label), size, random) for label in labels])
    return halved(images.astype(np.float32), labels.astype(np.int64), part)


def _spectrogram(label: int, size: int, random: np.random.Generator) -> Floats:
    time, pitch = np.linspace(0, 1, size)[None, :], np.arange(size)[:, None]
    start, bend = random.uniform(0.4, 0.6) * size, random.uniform(0.35, 0.55) * size
    arch = bend * (1 - (2 * time - 1) ** 2)
    ways = (0 * time, bend * (time - 0.5), bend * (0.5 - time), arch - bend / 2, bend / 2 - arch)
    if label < 5:
        tones = [start + ways[label]]
    elif label == 5:
        tones = [start + shift + 0 * time for shift in (-4.5, 4.5)]
    else:
        tones = [start + bend * np.sin(2 * np.pi * 2 * (time + random.random()))]
    power = sum(np.exp(-(((pitch - tone) / 0.9) ** 2)) for tone in tones)
    if label == 7:
        beats = random.random() + time * 3.0
        power = np.exp(-(((beats % 1 - 0.5) / 0.12) ** 2)) * np.ones_like(pitch)
    loud = random.uniform(0.6, 1.0) * power + random.exponential(0.12, (size, size))
    tints = np.stack([loud, loud**2, 0.5 - 0.4 * loud])
    mixed: Floats = np.clip(tints * random.uniform(0.8, 1.0, (3, 1, 1)), 0, 1)
    return mixed
