"""Pillow: names that version 10 removed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from houndsight.compat.saying import say_once
from houndsight.compat.shims.fallback import give

__all__ = ["restore_filters", "restore_getsize", "restore_textsize"]

FILTERS = {"ANTIALIAS": "LANCZOS", "LINEAR": "BILINEAR", "CUBIC": "BICUBIC"}


def restore_filters(image: ModuleType) -> None:
    """`Image.ANTIALIAS` is `Image.LANCZOS` again."""
    give(
        image,
        FILTERS,
        lambda name: getattr(image.Resampling, FILTERS[name]),
        lambda name: (
            f"Image.{name} was removed from Pillow; Image.{FILTERS[name]} stands in for it here."
        ),
    )


def restore_textsize(module: ModuleType) -> None:
    """`draw.textsize(text)` measures by `textbbox`."""

    def textsize(self: Any, text: str, font: Any = None, *args: Any, **named: Any) -> Any:
        say_once("textsize", "ImageDraw.textsize was removed from Pillow; textbbox measures here.")
        left, top, right, bottom = self.textbbox((0, 0), text, font, None, *args, **named)
        return right - left, bottom - top

    if not hasattr(module.ImageDraw, "textsize"):
        module.ImageDraw.textsize = textsize


def restore_getsize(module: ModuleType) -> None:
    """`font.getsize(text)` measures by `getbbox`."""

    def getsize(self: Any, text: str, *args: Any, **named: Any) -> Any:
        say_once("getsize", "ImageFont.getsize was removed from Pillow; getbbox measures here.")
        _left, _top, right, bottom = self.getbbox(text, *args, **named)
        return right, bottom

    for name in ("FreeTypeFont", "ImageFont"):
        kind = getattr(module, name)
        if not hasattr(kind, "getsize"):
            kind.getsize = getsize
