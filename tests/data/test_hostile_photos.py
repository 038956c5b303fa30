"""Hostile photos: whatever the bytes, decoding ends soon, with pixels or with a `PhotoError`."""

from __future__ import annotations

import functools
import io
import struct
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from houndsight.data import headers
from houndsight.data.decode import PhotoError, Preprocessing, Reason, decode, open_image
from houndsight.data.photo_facts import measure
from houndsight.data.quiet import pillow_quiet

PLAIN = Preprocessing(size=16, mean=(0, 0, 0), std=(1, 1, 1))
QUICK = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MAX_PIXELS = 1_000_000

VARIANTS: dict[str, tuple[str, str, dict[str, object]]] = {
    "jpeg": ("JPEG", "RGB", {"quality": 90}),
    "jpeg progressive": ("JPEG", "RGB", {"progressive": True}),
    "jpeg cmyk": ("JPEG", "CMYK", {}),
    "jpeg grey": ("JPEG", "L", {}),
    "png": ("PNG", "RGB", {}),
    "png palette": ("PNG", "P", {"transparency": 3}),
    "png 16 bit": ("PNG", "I;16", {}),
    "png alpha": ("PNG", "RGBA", {}),
    "webp": ("WEBP", "RGBA", {}),
    "webp lossless": ("WEBP", "RGB", {"lossless": True}),
    "gif": ("GIF", "P", {}),
    "bmp": ("BMP", "RGB", {}),
    "bmp palette": ("BMP", "P", {}),
    "tiff": ("TIFF", "RGB", {}),
    "tiff lzw": ("TIFF", "RGBA", {"compression": "tiff_lzw"}),
    "tiff jpeg": ("TIFF", "RGB", {"compression": "jpeg"}),
    "tiff deflate": ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
    "tiff float": ("TIFF", "F", {}),
}


@functools.cache
def valid(variant: str) -> bytes:
    """A small photo with EXIF in one variant of a format."""
    kind, mode, options = VARIANTS[variant]
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    image = Image.fromarray(noise)
    if mode in ("I;16", "F"):
        image = Image.fromarray(
            np.asarray(image.convert("L")).astype({"I;16": "<u2", "F": "f4"}[mode])
        )
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    file = io.BytesIO()
    extra = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    image.save(file, kind, **options, **extra)
    return file.getvalue()


def survives(content: bytes) -> Reason | None:
    """Decode in every way there is; the reason it could not be, and nothing but a `PhotoError`."""
    started = time.process_time()
    reason = None
    try:
        pixels = decode(content, PLAIN, max_pixels=MAX_PIXELS)
        assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
    except PhotoError as error:
        reason = error.reason
        assert str(error).endswith(".")
        assert Reason(error.text.partition(":")[0]) == reason
    try:
        open_image(content, max_pixels=MAX_PIXELS)
        assert reason is None
    except PhotoError as error:
        # Drafting skips no part of the file, so both see the same damage.
        assert error.reason == reason
    assert time.process_time() - started < 5
    return reason


@given(content=st.binary(max_size=2000))
@QUICK
def test_arbitrary_bytes(content: bytes) -> None:
    survives(content)


@given(start=st.sampled_from([v[:16] for v in map(valid, VARIANTS)]), rest=st.binary(max_size=500))
@QUICK
def test_a_signature_and_arbitrary_bytes(start: bytes, rest: bytes) -> None:
    survives(start[: 4 + len(rest) % 13] + rest)


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.data())
@QUICK
def test_flipped_bits(variant: str, data: st.DataObject) -> None:
    content = bytearray(valid(variant))
    # Headers are a small part of the bytes and most of the trouble.
    place = st.integers(0, 8 * min(len(content), 200) - 1) | st.integers(0, 8 * len(content) - 1)
    for bit in data.draw(st.lists(place, min_size=1, max_size=8)):
        content[bit // 8] ^= 1 << bit % 8
    survives(bytes(content))


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.data())
@QUICK
def test_overwritten_stretches(variant: str, data: st.DataObject) -> None:
    content = bytearray(valid(variant))
    start = data.draw(st.integers(0, min(len(content), 300)))
    new = data.draw(st.binary(min_size=1, max_size=12) | st.sampled_from([b"\xff" * 4, bytes(8)]))
    content[start : start + len(new)] = new
    survives(bytes(content))


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.data())
@QUICK
def test_truncated_files(variant: str, data: st.DataObject) -> None:
    whole = valid(variant)
    length = data.draw(st.integers(0, len(whole) - 1))
    reason = survives(whole[:length])
    if length < len(whole) // 2:
        assert reason in (Reason.TRUNCATED, Reason.EMPTY, Reason.DAMAGED, Reason.NOT_AN_IMAGE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_valid_files_are_decoded(variant: str) -> None:
    assert survives(valid(variant)) is None


@given(content=st.binary(max_size=400), variant=st.sampled_from(sorted(VARIANTS)))
@QUICK
def test_facts_agree_with_decoding(tmp_path: Path, content: bytes, variant: str) -> None:
    whole = valid(variant)
    path = tmp_path / "photo"
    for bytes_ in (content, whole[: len(whole) - len(content)], whole + content):
        path.write_bytes(bytes_)
        facts = measure(path, max_pixels=MAX_PIXELS)
        reason = survives(bytes_)
        assert (facts.error is None) == (reason is None)
        if facts.error is not None:
            assert facts.error.partition(":")[0] == reason


@given(exif=st.binary(max_size=300))
@QUICK
def test_any_exif_has_an_orientation(exif: bytes) -> None:
    assert 1 <= headers.orientation(exif) <= 8
    assert 1 <= headers.orientation(b"Exif\0\0II*\0\x08\0\0\0" + exif) <= 8


@given(rest=st.binary(max_size=300))
@QUICK
def test_any_tiff_directory_can_be_summed_up(rest: bytes) -> None:
    for start in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"):
        assert headers.check_tiff(start + rest) in (True, False)


CLAIMS = {
    "PNG": (">II", (200, 100), (60_000, 60_000)),
    "GIF": ("<HH", (200, 100), (16_000, 16_000)),
    "WEBP": ("<HH", (200, 100), (16_000, 16_000)),
    "BMP": ("<ii", (200, 100), (60_000, 60_000)),
    "TIFF": ("<HHLHH", (256, 4, 1, 200, 0), (256, 4, 1, 60_000, 60_000)),
    "JPEG": (">HH", (100, 200), (60_000, 60_000)),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_claimed_sizes_are_not_allocated(kind: str) -> None:
    """Whatever size a small file claims, it is refused before its pixels are allocated."""
    file = io.BytesIO()
    Image.new("RGB", (200, 100)).save(file, kind)
    layout, true, claimed = CLAIMS[kind]
    content = file.getvalue()
    assert struct.pack(layout, *true) in content
    content = content.replace(struct.pack(layout, *true), struct.pack(layout, *claimed))
    with pytest.raises(PhotoError) as caught:
        decode(content, PLAIN)
    # The header of a PNG has a checksum.
    assert caught.value.reason == (Reason.DAMAGED if kind == "PNG" else Reason.TOO_LARGE)


def test_warnings_of_the_library_are_silent_in_every_thread() -> None:
    """Also when threads come and go in any order, and afterwards warnings are heard again."""
    before = list(warnings.filters)

    def warn() -> None:
        for _ in range(50):
            with pillow_quiet():
                warnings.warn_explicit("odd", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
                time.sleep(0)

    threads = [threading.Thread(target=warn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning):
        warnings.warn_explicit("odd", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
