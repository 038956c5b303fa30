"""From the bytes of a photo to the pixels a network sees.

`decode` executes a `Preprocessing` for training, evaluation and serving alike, bit for bit the
same from a path or from bytes. A file that cannot be decoded raises `PhotoError` and nothing
else, in time and memory bounded by `max_pixels`.
"""

from __future__ import annotations

import hashlib
import io
import math
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from houndsight.data import headers
from houndsight.data.photo_error import PhotoError, Reason
from houndsight.data.preprocessing import FILTERS, Preprocessing
from houndsight.data.quiet import pillow_quiet

__all__ = [
    "MAX_PIXELS",
    "PhotoError",
    "Preprocessing",
    "Reason",
    "decode",
    "explained",
    "fit_image",
    "normalise",
    "open_image",
    "open_photo",
    "read_photo",
    "to_grey",
    "to_rgb",
    "too_many_pixels",
]

T = TypeVar("T")

MAX_PIXELS = 100_000_000
"""Photos with more pixels than this are refused unless told otherwise."""

# The classes themselves, not `Image.open`: that warns from 89 MP on, and identifies dozens of
# formats that photos do not come in. `JpegImageFile` reads a multi-picture file as its first.
_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    source: Path | bytes,
    preprocessing: Preprocessing,
    *,
    max_pixels: int = MAX_PIXELS,
    content_hash: bytes = b"",
) -> np.ndarray:
    """The photo as the network sees it before normalisation: uint8 `(size, size, 3)`, RGB.

    Raises:
        PhotoError: the photo cannot be decoded, or is another than that of `content_hash`
            (BLAKE2b-128); `.reason` says why.
    """
    return _guarded(source, max_pixels, lambda image: fit_image(image, preprocessing), content_hash)


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The whole photo, RGB and upright, for thumbnails and overlays.

    Raises:
        PhotoError: the photo cannot be decoded; `.reason` says why.
    """

    def upright(image: Image.Image) -> Image.Image:
        return _upright(to_rgb(image, (255, 255, 255)), image.info).convert("RGB")

    return _guarded(source, max_pixels, upright)


def normalise(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Decoded images `(n, size, size, 3)` uint8 as the network's input.

    Returns float32 `(n, 3, size, size)`, C-contiguous: `(pixel / 255 - mean) / std`.
    """
    count, height, width, channels = images.shape
    out = np.empty((count, channels, height, width), np.float32)
    scales = [np.float32(1 / (255 * std)) for std in preprocessing.std]
    shifts = [np.float32(m / s) for m, s in zip(preprocessing.mean, preprocessing.std, strict=True)]
    for image, planes in zip(images, out, strict=True):  # one by one, to stay in the cache
        for channel, plane in enumerate(planes):
            plane[...] = image[..., channel]
            plane *= scales[channel]
            plane -= shifts[channel]
    return out


def fit_image(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """An opened image in any mode as uint8 `(size, size, 3)`; what `decode` does to a file's."""
    size, resample = preprocessing.size, FILTERS[preprocessing.filter]
    box, target = _placement(image.size, preprocessing)
    image, box = _drafted(image, box, target, preprocessing.dct_oversampling)
    small = to_rgb(image, preprocessing.fill).resize(target, resample, box=box)
    if preprocessing.exif:
        small = _upright(small, image.info)
    if small.size != (size, size):
        canvas = Image.new("RGB", (size, size), preprocessing.fill)
        canvas.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
        small = canvas
    return np.array(small.convert("RGB"))


def read_photo(path: Path, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The bytes of a photo's file, if it begins like one and could hold at most `max_pixels`.

    Raises:
        PhotoError: it cannot be read, is empty, is no image or is larger than any such photo.
    """
    try:
        # Not opened before it is known to be a file: opening a pipe would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise PhotoError(Reason.UNREADABLE, "it is not a file")
        with path.open("rb") as file:
            head = file.read(64)
            _require_image(head)
            limit = 8 * max_pixels + 64 * 2**20  # 16-bit RGBA, uncompressed, and its metadata
            content = head + file.read(limit)
    except FileNotFoundError:
        raise PhotoError(Reason.MISSING) from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise PhotoError(Reason.UNREADABLE, str(said or error).lower()) from error
    if len(content) > limit:
        raise PhotoError(Reason.TOO_LARGE, f"its file has over {limit // 2**20:,} MiB")
    return content


def open_photo(content: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image in `content`, opened and its size checked, with no pixel decoded yet.

    Raises:
        PhotoError: it is empty, no image, damaged in its header, or has too many pixels.
    """
    kind = _require_image(content[:64])
    if kind == "WEBP" and (size := headers.webp_size(content[:30])):
        _require_pixels(size, max_pixels)  # opening allocates the canvas
    if kind == "TIFF" and not headers.check_tiff(content):
        raise PhotoError(Reason.DAMAGED, "its tags claim more data than the file can hold")
    image = _OPENERS[kind](io.BytesIO(content))
    _require_pixels(image.size, max_pixels)
    if kind == "JPEG" and "progressive" in image.info:
        pixels = image.width * image.height
        if headers.too_many_scans(content, pixels):
            raise PhotoError(Reason.TOO_LARGE, "it repeats scans far more often than any photo")
    return image


def to_rgb(image: Image.Image, fill: tuple[int, int, int]) -> Image.Image:
    """The image as RGB (or greyscale, `L`), with `fill` behind what is transparent.

    Greyscale samples of 16 bits are rounded to 8; float samples are taken as 0..1 when none is
    above 1, as 0..255 otherwise.
    """
    image.load()
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (*fill, 255))
        return Image.alpha_composite(canvas, layer).convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG as Adobe's, whose inks are stored inverted.
        image = Image.eval(image, lambda ink: 255 - ink)
    return image.convert("RGB")


def to_grey(image: Image.Image, edge: int) -> Image.Image:
    """An opened image in greyscale and upright, its shorter side at most `edge` px."""
    shorter = min(image.size)
    if shorter > edge:
        image.draft("L", (edge, edge))
    grey = to_rgb(image, (255, 255, 255)).convert("L")
    scale = edge / min(grey.size)
    if scale < 1:
        # At most 8 times as long as wide: the measures of a strip need no more of it.
        size = [min(8 * edge, max(1, round(side * scale))) for side in grey.size]
        grey = grey.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return _upright(grey, image.info)


def _guarded(
    source: Path | bytes,
    max_pixels: int,
    use: Callable[[Image.Image], T],
    content_hash: bytes = b"",
) -> T:
    """`use` the opened photo; whatever its bytes bring about comes out as a `PhotoError`."""
    name = "" if isinstance(source, bytes) else str(source)
    content = b""
    try:
        content = source if isinstance(source, bytes) else read_photo(source, max_pixels=max_pixels)
        if content_hash and not _is_content(content, content_hash):
            raise PhotoError(Reason.CHANGED)
        with pillow_quiet():
            return use(open_photo(content, max_pixels=max_pixels))
    except PhotoError as error:
        raise error.named(name) from error.__cause__
    except Exception as error:
        raise explained(error, content).named(name) from error


def _is_content(content: bytes, content_hash: bytes) -> bool:
    # NumPy's fixed-width bytes lose zeros at their end.
    found = hashlib.blake2b(content, digest_size=16).digest()
    return found.rstrip(b"\0") == content_hash.rstrip(b"\0")


def too_many_pixels(width: int, height: int, max_pixels: int) -> PhotoError:
    """The error of a photo with more pixels than allowed."""
    return PhotoError(
        Reason.TOO_LARGE,
        f"{width:,} x {height:,} px are {width * height / 1e6:,.4g} MP, "
        f"more than the {max_pixels / 1e6:,.4g} MP allowed",
    )


def explained(error: Exception, content: bytes) -> PhotoError:
    """What a library's exception about the photo in `content` means."""
    detail = (str(error) or type(error).__name__).rstrip(".").replace("\n", " ")[:200]
    if isinstance(error, MemoryError):
        return PhotoError(Reason.TOO_LARGE, "there is not enough memory for its pixels")
    if "truncated" in detail.lower() or headers.ends_early(content):
        return PhotoError(Reason.TRUNCATED, "the file ends before its picture does")
    if "bomb" in detail:
        return PhotoError(Reason.TOO_LARGE, detail)
    return PhotoError(Reason.DAMAGED, detail)


def _require_image(head: bytes) -> str:
    if not head:
        raise PhotoError(Reason.EMPTY)
    kind = headers.sniff(head)
    if kind is None:
        raise PhotoError(Reason.NOT_AN_IMAGE, headers.kind_of_file(head))
    return kind


def _require_pixels(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise too_many_pixels(*size, max_pixels)


def _placement(
    size: tuple[int, int], preprocessing: Preprocessing
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """The box of the source that is kept, px, and the size it becomes.

    Both are the same for a photo and its mirrored or turned self, so the (small) result can be
    set upright instead of the (large) source.
    """
    width, height = size
    edge = preprocessing.size
    if preprocessing.fit == "crop":
        kept = min(width, height) * preprocessing.crop_fraction
        left, top = (width - kept) / 2, (height - kept) / 2
        return (left, top, left + kept, top + kept), (edge, edge)
    if preprocessing.fit == "squash":
        return (0.0, 0.0, float(width), float(height)), (edge, edge)
    scale = edge / max(width, height)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    return (0.0, 0.0, float(width), float(height)), target


def _drafted(
    image: Image.Image,
    box: tuple[float, float, float, float],
    target: tuple[int, int],
    oversampling: float,
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The JPEG set to decode at the smallest DCT scale that keeps enough, and the box in it."""
    width, height = image.size
    factor = min((box[2] - box[0]) / target[0], (box[3] - box[1]) / target[1]) / oversampling
    if factor < 2 or not isinstance(image, JpegImagePlugin.JpegImageFile):
        return image, box
    drafted = image.draft(None, (math.ceil(width / factor), math.ceil(height / factor)))
    if drafted is None:
        return image, box
    across, down = width / drafted[1][2], height / drafted[1][3]
    return image, (box[0] / across, box[1] / down, box[2] / across, box[3] / down)


def _upright(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    exif = info.get("exif")
    turn = _UPRIGHT.get(headers.orientation(exif)) if isinstance(exif, bytes) else None
    return image if turn is None else image.transpose(turn)


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit or float samples `(height, width)` as uint8."""
    values = np.nan_to_num(samples.astype(np.float32), posinf=255.0)
    top = float(values.max(initial=0.0))
    if samples.dtype.kind == "f":
        values *= 255.0 if top <= 1.0 else 1.0
    elif samples.dtype.itemsize == 2 or top > 255:
        values /= 257.0
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
