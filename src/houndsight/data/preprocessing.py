"""What decides the pixels a network sees, as a record that the model carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import PIL
from PIL import Image

from houndsight.errors import SettingError

__all__ = ["FILTERS", "Preprocessing"]

RULES_VERSION = 1
"""Counts up whenever `houndsight.data.decode` gives other pixels for the same `Preprocessing`."""

_FITS = ("crop", "squash", "letterbox")
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Everything that decides the pixels a network sees; stored in the model."""

    size: int
    """Edge of the square output, px."""
    fit: str = "crop"
    """`crop` takes a centred square of `crop_fraction` of the shorter side, `squash` the whole
    photo without its proportions, `letterbox` the whole photo on a square of `fill`."""
    crop_fraction: float = 0.875
    """Share of the shorter side that `crop` keeps."""
    filter: str = "bicubic"
    """Pillow's resampling filter."""
    mean: tuple[float, float, float]
    """Subtracted from the pixels in 0..1, by channel."""
    std: tuple[float, float, float]
    """Divided by afterwards, by channel."""
    decoder: str = "pillow"
    """The library that decodes."""
    decoder_version: str = PIL.__version__
    """Its version; another one may give other pixels."""
    dct_oversampling: float = 1.5
    """A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as that is at least this times the
    size needed. Against decoding it whole, 1.5 differs by 1.2 of 255 on average (42 dB), a third
    of what JPEG compression at quality 90 itself costs; 1.0 differs by 3 (34 dB)."""
    exif: bool = True
    """Whether the EXIF orientation is followed (a TIFF's always is)."""
    colour: str = "RGB"
    """Channels of the output."""
    fill: tuple[int, int, int] = (124, 116, 104)
    """Behind transparent pixels and around a letterboxed photo; ImageNet's mean colour."""

    def __post_init__(self) -> None:
        for name in ("mean", "std", "fill"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _require("size", self.size, 1 <= self.size <= 4096, "from 1 to 4096")
        _require("fit", self.fit, self.fit in _FITS, f"one of {', '.join(_FITS)}")
        _require("filter", self.filter, self.filter in FILTERS, f"one of {', '.join(FILTERS)}")
        share, oversampling = self.crop_fraction, self.dct_oversampling
        _require("crop_fraction", share, 0 < share <= 1, "above 0 and at most 1")
        _require("dct_oversampling", oversampling, 1 <= oversampling <= 8, "from 1 to 8")
        _require("std", self.std, len(self.std) == 3 and min(self.std) > 0, "three above 0")
        _require("mean", self.mean, len(self.mean) == 3, "three numbers")
        _require("fill", self.fill, len(self.fill) == 3, "three numbers")
        _require("colour", self.colour, self.colour == "RGB", "RGB")
        _require("decoder", self.decoder, self.decoder == "pillow", "pillow")

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in `model.json`."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The preprocessing in `model.json`.

        Raises:
            SettingError: a value is wrong, or a field is missing or not known to this version.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise SettingError(f"preprocessing has {unknown[0]!r}, which this version cannot do.")
        if missing := sorted({"size", "mean", "std"} - set(values)):
            raise SettingError(f"preprocessing has no {missing[0]!r}.")
        try:
            return cls(**values)
        except TypeError as error:
            raise SettingError(f"preprocessing cannot be read: {error}.") from error

    def digest(self) -> str:
        """32 hexadecimal digits that change with everything that changes the network's input."""
        text = json.dumps([RULES_VERSION, self.to_json()], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _require(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise SettingError(f"preprocessing.{name} is {value!r}; it must be {wanted}.")
