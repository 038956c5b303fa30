"""The checksums of S3: CRC-32, CRC-32C, CRC-64/NVME, SHA-1 and SHA-256.

The standard library has no CRC-32C and no CRC-64; NumPy computes them here. A CRC without its
initial value is linear over GF(2), so a buffer is cut into lanes of `LANE_BYTES`, all lanes go
through the table method at once, eight bytes a step, and the lanes' values are folded pairwise:
the left one is multiplied by x^(8 n), n the bytes of the right one, and added. The same
multiplication joins the CRCs of an upload's parts (zlib's `crc32_combine`).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ALGORITHMS", "Checksum", "combine", "composite", "make_checksum"]

ALGORITHMS = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
"""By name, as in `x-amz-checksum-NAME`: the digest's length in bytes."""
POLYNOMIALS = {"crc32": 0xEDB88320, "crc32c": 0x82F63B78, "crc64nvme": 0x9A6C9329AC4BC9B5}
"""Bit-reversed, as is usual: RFC 3720 for CRC-32C, NVM Express 5.2.1.3.4 for CRC-64."""
LANE_BYTES = 256


class Checksum(Protocol):
    """What `hashlib`'s objects do."""

    def update(self, data: bytes, /) -> None:
        """Go on with `data`."""

    def digest(self) -> bytes:
        """Of all so far."""


def make_checksum(algorithm: str) -> Checksum:
    """A new checksum of one of `ALGORITHMS`."""
    if algorithm == "crc32":
        return _Crc32()
    if algorithm in POLYNOMIALS:
        return _Crc(algorithm)
    return hashlib.new(algorithm, usedforsecurity=False)


def composite(algorithm: str, parts: Sequence[str]) -> str:
    """The checksum of an upload's parts' checksums; all base64, with `-N` as S3 writes it."""
    checksum = make_checksum(algorithm)
    for part in parts:
        checksum.update(base64.b64decode(part))
    return f"{base64.b64encode(checksum.digest()).decode()}-{len(parts)}"


def combine(algorithm: str, parts: Sequence[tuple[str, int]]) -> str:
    """The CRC of the whole from (base64 CRC, bytes) of its parts."""
    poly, width = POLYNOMIALS[algorithm], ALGORITHMS[algorithm] * 8
    whole = 0
    for text, size in parts:
        crc = int.from_bytes(base64.b64decode(text), "big")
        whole = _multiply(whole, _power(poly, width, size), poly, width) ^ crc
    return base64.b64encode(whole.to_bytes(width // 8, "big")).decode()


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _Crc:
    """CRC-32C or CRC-64/NVME: reflected, all ones before and after."""

    def __init__(self, algorithm: str) -> None:
        self._poly, self._width = POLYNOMIALS[algorithm], ALGORITHMS[algorithm] * 8
        self._ones = (1 << self._width) - 1
        self._state = self._ones

    def update(self, data: bytes, /) -> None:
        whole = len(data) // LANE_BYTES * LANE_BYTES
        if whole:
            ahead = _power(self._poly, self._width, whole)
            moved = _multiply(self._state, ahead, self._poly, self._width)
            self._state = moved ^ _lanes(memoryview(data)[:whole], self._poly, self._width)
        table, state = _byte_table(self._poly), self._state
        for byte in memoryview(data)[whole:]:
            state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
        self._state = state

    def digest(self) -> bytes:
        return (self._state ^ self._ones).to_bytes(self._width // 8, "big")


def _lanes(data: memoryview, poly: int, width: int) -> int:
    """The CRC register after `data`, whole lanes, beginning with zero."""
    import numpy as np

    words = np.frombuffer(data, np.uint64).reshape(-1, LANE_BYTES // 8)
    columns = np.ascontiguousarray(words.T)
    tables = _word_tables(poly)
    state = np.zeros(words.shape[0], np.uint64)
    mask = np.uint64(0xFFFF)
    for column in columns:
        mixed = state ^ column
        state = tables[0].take((mixed & mask).view(np.int64), mode="clip")
        for table in tables[1:]:
            mixed >>= np.uint64(16)
            state ^= table.take((mixed & mask).view(np.int64), mode="clip")
    return _fold(state, poly, width)


def _fold(state: npt.NDArray[np.uint64], poly: int, width: int) -> int:
    """Join the lanes' registers; lanes of zeros in front change nothing."""
    import numpy as np

    size = LANE_BYTES
    while len(state) > 1:
        if len(state) % 2:
            state = np.concatenate([np.zeros(1, np.uint64), state])
        tables = _shift_tables(poly, width, size)
        left = np.ascontiguousarray(state[0::2]).view(np.uint8).reshape(-1, 8)
        moved = state[1::2].copy()
        for position in range(width // 8):
            moved ^= tables[position][left[:, position]]
        state, size = moved, size * 2
    return int(state[0])


@functools.cache
def _byte_table(poly: int) -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ poly if value & 1 else value >> 1
        table.append(value)
    return table


@functools.cache
def _word_tables(poly: int) -> list[Any]:
    """Of the register after eight bytes, by each two of them; four arrays (65536,) uint64."""
    import numpy as np

    single = np.array(_byte_table(poly), np.uint64)
    values = np.arange(65536, dtype=np.uint64)
    for _ in range(2):
        values = single[values & np.uint64(0xFF)] ^ (values >> np.uint64(8))
    tables = [values]
    for _ in range(3):
        for _ in range(2):
            values = single[values & np.uint64(0xFF)] ^ (values >> np.uint64(8))
        tables.append(values)
    return tables[::-1]


@functools.cache
def _shift_tables(poly: int, width: int, size: int) -> list[Any]:
    """Of a register times x^(8 size), by each of its bytes; arrays (256,) uint64."""
    import numpy as np

    power = _power(poly, width, size)
    tables = []
    for position in range(width // 8):
        table = np.zeros(256, np.uint64)
        for bit in range(8):
            image = _multiply(1 << (8 * position + bit), power, poly, width)
            table[1 << bit : 2 << bit] = table[: 1 << bit] ^ np.uint64(image)
        tables.append(table)
    return tables


@functools.lru_cache(maxsize=1024)
def _power(poly: int, width: int, size: int) -> int:
    """x^(8 size) modulo the polynomial, reflected: the highest bit is x^0."""
    result, base = 1 << (width - 1), 1 << (width - 9)
    while size:
        if size & 1:
            result = _multiply(result, base, poly, width)
        base = _multiply(base, base, poly, width)
        size >>= 1
    return result


def _multiply(a: int, b: int, poly: int, width: int) -> int:
    """a times b modulo the polynomial, reflected (zlib's `multmodp`)."""
    product, mask = 0, 1 << (width - 1)
    while a:
        if a & mask:
            product ^= b
            a ^= mask
        mask >>= 1
        b = (b >> 1) ^ poly if b & 1 else b >> 1
    return product
