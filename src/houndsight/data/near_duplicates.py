"""Photos that show the same picture: resized, compressed again, mirrored or shot twice.

Candidates come from an index of 64-bit hashes, in nearly linear time; each is then confirmed on
the whole signature. Hash and confirmation are relative to what all photos of the set share (the
median signature), which is what tells two solar cells of one make from one cell shot twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from houndsight.data.signature import LENGTH, MIRROR

__all__ = ["NearDuplicates", "close_hashes", "find_near_duplicates"]

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

MINIMUM_COSINE = 0.9
"""Correlation of two signatures, less the median and clipped at three deviations, from which
they count as one picture. Measured: among 6,000 dog photos no pair above 0.6, recompressed and
resized copies 0.99 and more, a copy cropped by 2 % 0.93; among 2,624 solar cells pairs at 0.9
are the same or neighbouring wafers."""
MINIMUM_CONTRAST = 4.0
"""Deviation of the luma, of 255, below which a photo has nothing to be recognised by."""
_ENOUGH_TO_CENTRE = 30
_SAMPLE = 20_000
_WINDOW = 32
_AT_ONCE = 65_536
_NO_PAIRS = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of positions of photos, the lower one first, and how alike they are."""

    first: Integers
    second: Integers
    cosine: npt.NDArray[np.float32]
    mirrored: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.first)


def find_near_duplicates(
    signatures: npt.NDArray[np.int8], contrasts: npt.NDArray[np.float32], *, bits: int
) -> NearDuplicates:
    """The pairs of near-duplicates among photos.

    Args:
        signatures: (n, 256) as `make_signature` gives them.
        contrasts: (n,) deviation of each photo's luma; flat photos are left out.
        bits: of the 64 bits of two hashes at most these many may differ. Up to 6 every such
            pair is found; beyond, most. Negative: nothing is looked for.

    Of more than 32 photos that are all alike not every pair is returned, but enough to connect
    them.
    """
    usable = np.flatnonzero(contrasts >= MINIMUM_CONTRAST)
    if bits < 0 or len(usable) < 2:
        return _none()
    common = _Common.of(signatures, usable)
    hashes = np.concatenate(
        [common.hashes(signatures, usable), common.hashes(signatures, usable, MIRROR)]
    )
    count = len(usable)
    pairs = np.concatenate([_NO_PAIRS, *_plain(close_hashes(hashes, bits), count)])
    first, second, mirrored = pairs[:, 0], pairs[:, 1] % count, pairs[:, 1] >= count
    cosine = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        left = common.white(signatures[usable[first[part]]])
        mirror = np.where(mirrored[part, None], MIRROR, np.int8(1))
        right = common.white(signatures[usable[second[part]]] * mirror)
        cosine[part] = np.einsum("ij,ij->i", left, right)
    good = cosine >= MINIMUM_COSINE
    return _ordered(usable[first[good]], usable[second[good]], cosine[good], mirrored[good])


def close_hashes(hashes: Hashes, bits: int) -> Iterator[Integers]:
    """Pairs `(m, 2)` of positions, lower first, of hashes that differ in at most `bits` bits.

    Multi-index hashing (Norouzi et al., "Fast Exact Search in Hamming Space with Multi-Index
    Hashing", 2014) with the 28 pairs of 8 bytes as keys: if at most 6 of the bytes differ, two
    are the same, so every pair up to 6 bits apart meets in a bucket, and is given by the first
    bucket it meets in. In a bucket, sorted by the whole hash, each is compared with the next 32,
    which keeps a set in which everything is alike linear.
    """
    order = np.argsort(hashes, kind="stable")
    octets = hashes[order].view(np.uint8).reshape(-1, 8)
    for left, right in combinations(range(8), 2):
        key = np.asarray(octets[:, left].astype(np.uint16) << 8 | octets[:, right], np.uint16)
        in_bucket = np.argsort(key, kind="stable")
        bucket = hashes[order[in_bucket]]
        for a, b in _neighbours(key[in_bucket], bucket, bits):
            differ = (bucket[a] ^ bucket[b]).view(np.uint8).reshape(-1, 8) != 0
            differ[:, left] = True
            first = differ[:, :right].all(axis=1)
            pair = order[in_bucket[np.stack([a[first], b[first]], axis=1)]]
            yield np.sort(pair, axis=1)


def _neighbours(
    key: npt.NDArray[np.uint16], hashes: Hashes, bits: int
) -> Iterator[tuple[Integers, Integers]]:
    """Pairs of positions in one bucket, at most `_WINDOW` apart, that are close."""
    position = np.arange(len(key) - 1)
    for apart in range(1, _WINDOW + 1):
        position = position[position + apart < len(key)]
        position = position[key[position + apart] == key[position]]
        if not len(position):
            return
        differing = np.bitwise_count(hashes[position] ^ hashes[position + apart])
        near = position[differing <= bits]
        if len(near):
            yield near, near + apart


@dataclass(frozen=True)
class _Common:
    """What the signatures of a set share: middle and spread of each coefficient, `(256,)`."""

    centre: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    @classmethod
    def of(cls, signatures: npt.NDArray[np.int8], rows: Integers) -> _Common:
        stride = -(-len(rows) // _SAMPLE)
        sample = signatures[rows[::stride]].astype(np.float32)
        centre = np.median(sample, axis=0)
        if len(rows) < _ENOUGH_TO_CENTRE:
            centre = np.zeros(LENGTH, np.float32)
        spread = np.abs(sample - centre).mean(axis=0) + 1
        return cls(centre.astype(np.float32), spread.astype(np.float32))

    def hashes(
        self,
        signatures: npt.NDArray[np.int8],
        rows: Integers,
        mirror: npt.NDArray[np.int8] | None = None,
    ) -> Hashes:
        """(len(rows),) 64 bits: which of the 64 lowest frequencies lie above the middle."""
        out = np.empty(len(rows), np.uint64)
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            low = signatures[rows[part], :64] * (1 if mirror is None else mirror[:64])
            out[part] = np.packbits(low > self.centre[:64], axis=1).view(np.uint64).ravel()
        return out

    def white(self, signatures: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """(n, 256) of length 1: the signatures less what is common, in equal units."""
        values = ((signatures - self.centre) / self.spread).clip(-3, 3)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-6))


def _plain(pairs: Iterator[Integers], count: int) -> Iterator[Integers]:
    """Pairs among photos and their mirrored selves, each said once: `(photo, photo)` or
    `(photo, count + mirrored photo)`."""
    for pair in pairs:
        first, second = pair[:, 0], pair[:, 1]
        pair = pair[(first < count) & (second % count != first)]
        first, second = pair[:, 0], pair[:, 1]
        swap = (second >= count) & (second % count < first)
        yield np.stack(
            [np.where(swap, second % count, first), np.where(swap, first + count, second)], axis=1
        )


def _ordered(
    first: Integers,
    second: Integers,
    cosine: npt.NDArray[np.float32],
    mirrored: npt.NDArray[np.bool_],
) -> NearDuplicates:
    """The pairs, each once: plain rather than mirrored where it is both."""
    ranked = np.lexsort((mirrored, second, first))
    first, second = first[ranked], second[ranked]
    once = np.ones(len(first), bool)
    once[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    ranked = ranked[once]
    return NearDuplicates(first[once], second[once], cosine[ranked], mirrored[ranked])


def _none() -> NearDuplicates:
    nothing = np.empty(0, np.int64)
    return NearDuplicates(nothing, nothing, np.empty(0, np.float32), np.empty(0, bool))
