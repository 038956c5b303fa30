"""Changing training photos by chance: random crop, mirroring, RandAugment.

Every photo has its own generator, made from (seed, epoch, batch), so that what happens to it does
not depend on threads, on other photos or on where a training resumed. torchvision's transform
classes draw from PyTorch's global generator and cannot promise that; its functions do the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as V

from houndsight.training.recipe import Recipe

__all__ = ["RANDAUGMENT_OPERATIONS", "Augmentation", "crop_box", "randaugment", "random_crop"]

MAGNITUDES = 31
ASPECT = (3 / 4, 4 / 3)


def crop_box(
    height: int, width: int, scale_minimum: float, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop, px.

    Its area is `scale_minimum` to all of the image, its aspect ratio 3:4 to 4:3 (Szegedy et al.
    2015, "Going Deeper with Convolutions", section 6). After ten misses: the whole image.
    """
    for _ in range(10):
        area = height * width * generator.uniform(scale_minimum, 1.0)
        aspect = math.exp(generator.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        tall, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < tall <= height and 0 < wide <= width:
            top = int(generator.integers(0, height - tall + 1))
            left = int(generator.integers(0, width - wide + 1))
            return top, left, tall, wide
    return 0, 0, height, width


def random_crop(
    image: Tensor, size: int, scale_minimum: float, generator: np.random.Generator
) -> Tensor:
    """A random part of a uint8 image `(3, h, w)`, resized to `(3, size, size)`."""
    height, width = image.shape[1:]
    box = [0, 0, height, width]
    if scale_minimum < 1:
        box = list(crop_box(height, width, scale_minimum, generator))
    if box == [0, 0, size, size]:
        return image
    resized: Tensor = V.resized_crop(
        image, *box, size=[size, size], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    return resized


def _affine(
    image: Tensor, *, shift: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)
) -> Tensor:
    moved: Tensor = V.affine(
        image,
        angle=0.0,
        translate=[int(shift[0]), int(shift[1])],
        scale=1.0,
        shear=[math.degrees(math.atan(s)) for s in shear],
        interpolation=InterpolationMode.NEAREST,
    )
    return moved


RANDAUGMENT_OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda image, _: image,
    "shear_x": lambda image, m: _affine(image, shear=(0.3 * m, 0)),
    "shear_y": lambda image, m: _affine(image, shear=(0, 0.3 * m)),
    "translate_x": lambda image, m: _affine(image, shift=(150 / 331 * m * image.shape[2], 0)),
    "translate_y": lambda image, m: _affine(image, shift=(0, 150 / 331 * m * image.shape[1])),
    "rotate": lambda image, m: V.rotate(image, 30.0 * m, InterpolationMode.NEAREST),
    "brightness": lambda image, m: V.adjust_brightness(image, 1 + 0.9 * m),
    "colour": lambda image, m: V.adjust_saturation(image, 1 + 0.9 * m),
    "contrast": lambda image, m: V.adjust_contrast(image, 1 + 0.9 * m),
    "sharpness": lambda image, m: V.adjust_sharpness(image, 1 + 0.9 * m),
    "posterize": lambda image, m: V.posterize(image, 8 - round(4 * abs(m))),
    "solarize": lambda image, m: V.solarize(image, 255.0 * (1 - abs(m))),
    "autocontrast": lambda image, _: V.autocontrast(image),
    "equalize": lambda image, _: V.equalize(image),
}
"""The operations and strengths of Cubuk et al. 2020, "RandAugment", as torchvision has them.

Each takes a uint8 image `(3, h, w)` and a strength from -1 to 1.
"""


def randaugment(
    image: Tensor, magnitude: int, operations: int, generator: np.random.Generator
) -> Tensor:
    """`operations` random changes of a uint8 image `(3, h, w)`, at `magnitude` of 31 steps."""
    names = list(RANDAUGMENT_OPERATIONS)
    for _ in range(operations):
        name = names[int(generator.integers(len(names)))]
        sign = 1 if generator.random() < 0.5 else -1
        image = RANDAUGMENT_OPERATIONS[name](image, sign * magnitude / (MAGNITUDES - 1))
    return image


@dataclass(frozen=True)
class Augmentation:
    """What a recipe does to a photo."""

    size: int
    crop_scale: float
    flip: bool
    magnitude: int
    operations: int

    @classmethod
    def of(cls, recipe: Recipe, size: int) -> Augmentation:
        """The recipe's augmentation, giving images of `size` px."""
        return cls(
            size, recipe.crop_scale, recipe.flip, recipe.randaugment, recipe.randaugment_operations
        )

    def __call__(
        self, image: npt.NDArray[np.uint8], generator: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """A uint8 image `(size, size, 3)` made from one `(h, w, 3)`."""
        changed = torch.from_numpy(image).permute(2, 0, 1)
        changed = random_crop(changed, self.size, self.crop_scale, generator)
        if self.flip and generator.random() < 0.5:
            changed = V.horizontal_flip(changed)
        if self.magnitude:
            changed = randaugment(changed, self.magnitude, self.operations, generator)
        result: npt.NDArray[np.uint8] = changed.permute(1, 2, 0).numpy()
        return result
