"""What the first bytes of a file say, read without trusting them.

Everything here costs time and memory in proportion to the bytes given, whatever they claim.
"""

from __future__ import annotations

import struct
from typing import Literal

__all__ = [
    "check_tiff",
    "ends_early",
    "kind_of_file",
    "orientation",
    "sniff",
    "too_many_scans",
    "webp_size",
]

_IMAGES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"8bps", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"version https://git-lfs", "a Git LFS pointer (the photo itself was not downloaded)"),
)
_CONTAINERS = {
    b"heic": "a HEIC photo; save it as JPEG",
    b"heix": "a HEIC photo; save it as JPEG",
    b"mif1": "a HEIF photo; save it as JPEG",
    b"avif": "an AVIF photo; save it as JPEG",
}
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_BYTES |= {16: 8, 17: 8, 18: 8}
_SUBDIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability: Pillow reads these too
_ORIENTATION = 0x0112


def sniff(head: bytes) -> str | None:
    """The image format, by signature; None when it is none of those that are read."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in _IMAGES if head.startswith(signature)), None)


def kind_of_file(head: bytes) -> str:
    """What a file that is not one of the image formats begins like, in words."""
    if not head.strip(b"\x00"):
        return "it holds nothing but zeros"
    if head[4:8] == b"ftyp":
        return f"it begins like {_CONTAINERS.get(head[8:12], 'a video')}"
    start = head.lower().lstrip()
    for signature, name in _OTHERS:
        if head.startswith(signature) or start.startswith(signature):
            return f"it begins like {name}"
    if head.isascii() and all(byte >= 9 for byte in head):
        return "it begins like text"
    return "it has the signature of no image format that is read"


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Canvas width and height in px of a WebP, from its first 30 bytes (RFC 9649, section 2)."""
    chunk, data = head[12:16], head[20:30]
    if len(data) < 10:
        return None
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if chunk == b"VP8 ":
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    return None


def too_many_scans(content: bytes, pixels: int) -> bool:
    """Whether a progressive JPEG repeats scans to cost far more time than its size suggests.

    Each scan visits every coefficient again. Encoders write about ten; a small file can claim
    thousands (libjpeg-turbo's `djpeg -maxscans` guards against the same).
    """
    scans = content.count(b"\xff\xda")
    return scans > 20 and scans * pixels > 2_000_000_000


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none or it cannot be read."""
    if exif[:6] == b"Exif\x00\x00":
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return 1
        (offset,) = struct.unpack_from(order + "L", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHLH", exif, offset + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def check_tiff(content: bytes) -> bool:
    """Whether the directories of a TIFF ask for no more bytes than a file of its size can hold.

    Pillow reads the value of every tag; thousands of tags that point at the same large stretch
    would multiply the file's size in memory.
    """
    order = "<" if content[:2] == b"II" else ">"
    try:
        big = struct.unpack_from(order + "H", content, 2)[0] == 43
        (first,) = struct.unpack_from(order + ("Q" if big else "L"), content, 8 if big else 4)
        return _tag_bytes(content, order, big, first) <= 4 * len(content) + 65536
    except struct.error:
        return True


def _tag_bytes(content: bytes, order: str, big: bool, offset: int, deep: bool = True) -> int:
    """Bytes that all tags of a directory and of those below it say they hold."""
    head, entry, width = ("Q", "HHQQ", 20) if big else ("H", "HHLL", 12)
    (count,) = struct.unpack_from(order + head, content, offset)
    offset += struct.calcsize(order + head)
    total = 0
    for index in range(min(count, len(content) // width)):
        try:
            tag, kind, length, value = struct.unpack_from(
                order + entry, content, offset + width * index
            )
        except struct.error:
            break
        total += length * _TIFF_BYTES.get(kind, 0)
        if deep and tag in _SUBDIRECTORIES and value < len(content):
            total += _tag_bytes(content, order, big, value, deep=False)
    return total


def ends_early(content: bytes) -> bool:
    """Whether a file that could not be decoded lacks its format's end."""
    kind, tail = sniff(content[:16]), content[-64:]
    if kind == "JPEG":
        return b"\xff\xd9" not in tail
    if kind == "PNG":
        return b"IEND" not in tail
    if kind == "GIF":
        return b"\x3b" not in tail[-2:]
    if kind == "WEBP":
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    if kind == "BMP":
        return int.from_bytes(content[2:6], "little") > len(content)
    if kind == "TIFF":
        order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
        return int.from_bytes(content[4:8], order) >= len(content)
    return False
