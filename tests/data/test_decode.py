"""Decoding: formats, geometry, orientation, and one set of pixels however a photo arrives."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from houndsight.data.decode import (
    PhotoError,
    Preprocessing,
    Reason,
    decode,
    normalise,
    open_image,
)
from houndsight.errors import SettingError

PLAIN = Preprocessing(size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))


def picture(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A smooth picture without symmetry: red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    blue = np.where((x > 128) & (y < 128), 200, 40)
    return Image.fromarray(np.stack([x, y, blue], -1).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


LOSSLESS = {
    "png": encoded(picture(), "PNG"),
    "bmp": encoded(picture(), "BMP"),
    "tiff": encoded(picture(), "TIFF"),
    "tiff lzw": encoded(picture(), "TIFF", compression="tiff_lzw"),
    "webp": encoded(picture(), "WEBP", lossless=True),
    "png alpha": encoded(picture(mode="RGBA"), "PNG"),
}
LOSSY = {
    "jpeg": encoded(picture(), "JPEG", quality=95),
    "jpeg progressive": encoded(picture(), "JPEG", quality=95, progressive=True),
    "jpeg cmyk": encoded(picture(mode="CMYK"), "JPEG", quality=95),
    "tiff jpeg": encoded(picture(), "TIFF", compression="jpeg", quality=95),
    "webp": encoded(picture(), "WEBP", quality=95),
    "gif": encoded(picture(), "GIF"),
    "png palette": encoded(picture().quantize(256), "PNG"),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    expected = decode(LOSSLESS["png"], PLAIN)
    assert expected.shape == (32, 32, 3)
    assert expected.dtype == np.uint8
    np.testing.assert_array_equal(decode(LOSSLESS[kind], PLAIN), expected)


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_formats_give_nearly_the_same_pixels(kind: str) -> None:
    expected = decode(LOSSLESS["png"], PLAIN).astype(int)
    assert np.abs(decode(LOSSY[kind], PLAIN) - expected).mean() < 6


@pytest.mark.parametrize("fit", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("kind", ["jpeg", "tiff jpeg", "webp", "gif"])
def test_path_and_bytes_give_the_same_pixels(tmp_path: Path, kind: str, fit: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(LOSSY[kind])
    preprocessing = replace(PLAIN, fit=fit)
    np.testing.assert_array_equal(decode(path, preprocessing), decode(LOSSY[kind], preprocessing))


def test_cmyk_without_adobe_marker_is_not_inverted() -> None:
    content = encoded(picture(mode="CMYK"), "JPEG", quality=95)
    start = content.index(b"\xff\xee")
    length = struct.unpack(">H", content[start + 2 : start + 4])[0]
    plain = content[:start] + content[start + 2 + length :]
    inverted = decode(content, PLAIN).astype(int)
    assert np.abs(inverted - decode(LOSSLESS["png"], PLAIN)).mean() < 6
    # The same samples, read as not inverted: dark where the picture is light.
    assert np.abs(inverted - decode(plain, PLAIN)).mean() > 50


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("fit", ["crop", "squash", "letterbox"])
def test_exif_orientation_is_followed(orientation: int, kind: str, fit: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    content = encoded(picture(), kind, exif=exif, **({} if kind == "TIFF" else options))
    with Image.open(io.BytesIO(content)) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    preprocessing = replace(PLAIN, fit=fit)
    expected = decode(encoded(upright, "PNG"), preprocessing)
    difference = np.abs(decode(content, preprocessing) - expected.astype(int))
    assert difference.mean() < 2
    assert open_image(content).size == upright.size
    assert np.abs(np.asarray(open_image(content)) - np.asarray(upright, int)).max() == 0


def test_orientation_can_be_left_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(picture(), "PNG", exif=exif)
    np.testing.assert_array_equal(
        decode(turned, replace(PLAIN, exif=False)), decode(LOSSLESS["png"], PLAIN)
    )


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    pixels = decode(encoded(Image.fromarray(ramp.astype(np.uint16)), "PNG"), PLAIN)
    expected = decode(encoded(Image.fromarray((ramp / 257).astype(np.uint8)), "PNG"), PLAIN)
    assert np.abs(pixels.astype(int) - expected).max() <= 1
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_float_tiff_is_scaled(top: float) -> None:
    ramp = np.linspace(0, top, 64 * 64, dtype=np.float32).reshape(64, 64)
    pixels = decode(encoded(Image.fromarray(ramp), "TIFF"), replace(PLAIN, fit="squash"))
    assert pixels.min() < 10
    assert pixels.max() > 245


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparent_pixels_show_the_fill(mode: str) -> None:
    if mode in ("RGBA", "LA"):
        content = encoded(Image.new(mode, (40, 40), 0), "PNG")
    else:
        content = encoded(Image.new(mode, (40, 40), 0), "PNG", transparency=_black(mode))
    pixels = decode(content, replace(PLAIN, fill=(10, 120, 250)))
    assert np.abs(pixels.astype(int) - (10, 120, 250)).max() <= 1


def _black(mode: str) -> int | tuple[int, int, int]:
    return (0, 0, 0) if mode == "RGB" else 0


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_greyscale_and_palette_come_out_as_three_channels(mode: str) -> None:
    pixels = decode(encoded(picture(mode="L").convert(mode), "PNG"), PLAIN)
    assert pixels.shape == (32, 32, 3)


def test_gif_and_webp_show_their_first_frame() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "green")]
    for kind in ("GIF", "WEBP"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(decode(content, PLAIN).astype(int) - (255, 0, 0)).max() <= 6


def test_crop_keeps_the_middle() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    pixels = decode(encoded(wide, "PNG"), replace(PLAIN, crop_fraction=0.8))
    assert np.abs(pixels.astype(int) - (0, 0, 255)).max() <= 1


def test_squash_keeps_everything() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    pixels = decode(encoded(wide, "PNG"), replace(PLAIN, fit="squash"))
    assert tuple(pixels[16, 2]) == (255, 0, 0)
    assert tuple(pixels[16, 16]) == (0, 0, 255)


def test_letterbox_keeps_proportions_on_the_fill() -> None:
    content = encoded(Image.new("RGB", (200, 100), "red"), "PNG")
    pixels = decode(content, replace(PLAIN, fit="letterbox", fill=(0, 255, 0)))
    assert (pixels[:8] == (0, 255, 0)).all()
    assert (pixels[8:24] == (255, 0, 0)).all()
    assert (pixels[24:] == (0, 255, 0)).all()


@pytest.mark.parametrize("fit", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_extreme_shapes_are_decoded(size: tuple[int, int], fit: str) -> None:
    for kind in ("PNG", "JPEG"):
        content = encoded(Image.new("RGB", size, "red"), kind)
        assert decode(content, replace(PLAIN, fit=fit)).shape == (32, 32, 3)


@pytest.mark.parametrize("fit", ["crop", "squash", "letterbox"])
def test_dct_scaling_changes_little(fit: str) -> None:
    random = np.random.default_rng(0)
    rough = Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8))
    content = encoded(rough.resize((1200, 800), Image.Resampling.BICUBIC), "JPEG", quality=90)
    scaled = replace(PLAIN, size=64, fit=fit)
    whole = replace(scaled, dct_oversampling=8.0)
    difference = np.abs(decode(content, scaled).astype(int) - decode(content, whole))
    assert 0 < difference.mean() < 1.5


def test_normalise() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    out = normalise(images, PLAIN)
    expected = (images / 255 - PLAIN.mean) / PLAIN.std
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    np.testing.assert_allclose(out, expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_preprocessing_survives_json_and_digest_sees_every_field() -> None:
    assert Preprocessing.from_json(PLAIN.to_json()) == PLAIN
    assert Preprocessing.from_json(PLAIN.to_json()).digest() == PLAIN.digest()
    changes = {
        "size": 33, "fit": "squash", "crop_fraction": 0.9, "filter": "bilinear",
        "mean": (0, 0, 0), "std": (1, 1, 1), "decoder_version": "1", "dct_oversampling": 2.0,
        "exif": False, "fill": (0, 0, 0),
    }  # fmt: skip
    digests = {replace(PLAIN, **{name: value}).digest() for name, value in changes.items()}
    assert len(digests | {PLAIN.digest()}) == len(changes) + 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 0), ("fit", "stretch"), ("crop_fraction", 0.0), ("std", (1.0, 0.0, 1.0))],
)
def test_wrong_preprocessing_is_named(field: str, value: object) -> None:
    with pytest.raises(SettingError, match=field):
        replace(PLAIN, **{field: value})


def test_unknown_preprocessing_is_refused() -> None:
    with pytest.raises(SettingError, match="sharpen"):
        Preprocessing.from_json({**PLAIN.to_json(), "sharpen": 3})


def reason(content: bytes, **options: int) -> Reason:
    with pytest.raises(PhotoError) as caught:
        decode(content, PLAIN, **options)
    return caught.value.reason


@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY])
def test_half_a_file_is_truncated(kind: str) -> None:
    content = (LOSSLESS | LOSSY)[kind]
    # A palette or directory may be what is cut off, so the whole file is not always half a picture.
    assert reason(content[: len(content) // 2]) in (Reason.TRUNCATED, Reason.DAMAGED)


@pytest.mark.parametrize("kind", ["jpeg", "jpeg progressive", "webp", "gif", "png palette"])
def test_common_formats_say_truncated(kind: str) -> None:
    content = LOSSY[kind]
    assert reason(content[: len(content) * 2 // 3]) == Reason.TRUNCATED


def test_other_files_are_named_for_what_they_are() -> None:
    assert reason(b"") == Reason.EMPTY
    for content, word in {
        b"%PDF-1.7": "PDF", b"<!DOCTYPE html><html>": "web page", b"hello": "text",
        b"\0\0\0\x18ftypheic\0\0": "HEIC", bytes(100): "zeros", b"PK\x03\x04": "ZIP",
    }.items():  # fmt: skip
        with pytest.raises(PhotoError, match=word) as caught:
            decode(content, PLAIN)
        assert caught.value.reason == Reason.NOT_AN_IMAGE


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(PhotoError, match=r"empty\.jpg is empty"):
        decode(tmp_path / "empty.jpg", PLAIN)
    with pytest.raises(PhotoError, match="does not exist"):
        decode(tmp_path / "none.jpg", PLAIN)
    with pytest.raises(PhotoError, match="not a file"):
        decode(tmp_path, PLAIN)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pixels_are_counted_before_decoding(kind: str) -> None:
    content = encoded(Image.new("RGB", (300, 200)), kind)
    assert decode(content, PLAIN, max_pixels=60_000).shape == (32, 32, 3)
    assert reason(content, max_pixels=59_999) == Reason.TOO_LARGE


def test_a_claimed_gigapixel_costs_nothing() -> None:
    content = bytearray(encoded(Image.new("RGB", (300, 200)), "BMP"))
    struct.pack_into("<ii", content, 18, 60_000, 60_000)
    assert reason(bytes(content)) == Reason.TOO_LARGE


def test_scans_are_limited() -> None:
    content = encoded(picture(2000, 1500), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    scan = content[last:-2]
    assert decode(content[:-2] + 5 * scan + b"\xff\xd9", PLAIN).shape == (32, 32, 3)
    assert reason(content[:-2] + 1000 * scan + b"\xff\xd9") == Reason.TOO_LARGE


def test_a_tiff_cannot_multiply_its_size_in_memory() -> None:
    count, filler = 5000, 1_000_000
    entries = b"".join(
        struct.pack("<HHLL", 1000 + index, 7, filler, 8 + 2 + 12 * count + 4)
        for index in range(count)
    )
    content = b"II*\0" + struct.pack("<LH", 8, count) + entries + bytes(4 + filler)
    assert reason(content) == Reason.DAMAGED
