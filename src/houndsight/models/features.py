"""The feature cache: what a frozen backbone makes of each photo, computed once and kept.

A photo is known by its content hash; a pack holds the rows of one (weights, cut, view,
preprocessing). Other splits, other settings and other runs over the same photos read the same
rows, and a killed pass goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from houndsight.config import require_cache_home
from houndsight.data.decode import MAX_PIXELS, Preprocessing
from houndsight.data.decoding import DecodedBatch, decode_batches
from houndsight.data.folder import ImageFolder, Split
from houndsight.errors import SettingError
from houndsight.events import Listener, StageProgress
from houndsight.findings import Cause, Finding, Severity
from houndsight.models.architecture import activation_shape
from houndsight.models.backbone import Backbone
from houndsight.models.cached import CachedFeatures
from houndsight.models.content import content_hashes
from houndsight.models.eviction import evict
from houndsight.models.pack import FORMAT_VERSION, Pack, PackWriter
from houndsight.models.runtime import RuntimeName, compile_trunk
from houndsight.models.trunk import Cut, TrunkRuntime

__all__ = ["CachedFeatures", "FeatureCache"]

LIMIT_BYTES = 20_000_000_000
DECODED_BATCH = 32
"""Photos decoded together, and the most that are computed again after a kill."""


class FeatureCache:
    """Features and activations on disk, under `limit_bytes` in all packs together."""

    def __init__(self, folder: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder or require_cache_home() / "features"
        self.limit_bytes = limit_bytes

    def features(
        self,
        backbone: Backbone,
        photos: Split | ImageFolder,
        *,
        cut: Cut = "features",
        mirrored: bool = False,
        preprocessing: Preprocessing | None = None,
        runtime: RuntimeName = "auto",
        listener: Listener | None = None,
        stage: str = "features",
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> CachedFeatures:
        """Features `(n, d)` float32, or activations at the boundary as float16, of the photos.

        With `mirrored` the photos' mirror images are given; the plain view is computed in the
        same pass where it is missing, so ask for the mirrored one first: a photo is then decoded
        once for both.

        Raises:
            SettingError: they would not fit under the cache's limit, or the network cannot take
                photos of this size.
        """
        split = photos.all() if isinstance(photos, ImageFolder) else photos
        views = ("plain", "mirrored") if mirrored else ("plain",)
        preprocessing = preprocessing or backbone.preprocessing
        backbone.check_size(preprocessing.size)
        packs = [self._pack(backbone, cut, view, preprocessing) for view in views]
        hashes, unread = content_hashes(split)
        work = _Pass(split, hashes, unread, packs, preprocessing, listener, stage)
        if len(work.missing()):
            self._make_room(work, backbone, cut)
            about = _about(backbone, cut, preprocessing)
            work.run(about, backbone, cut, runtime, workers, max_pixels)
        for pack in packs:
            pack.touch()
        return work.cached()

    def missing(
        self,
        backbone: Backbone,
        photos: Split | ImageFolder,
        *,
        cut: Cut = "features",
        mirrored: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> int:
        """How many photos `features` would have to decode, for a forecast."""
        split = photos.all() if isinstance(photos, ImageFolder) else photos
        preprocessing = preprocessing or backbone.preprocessing
        views = ("plain", "mirrored") if mirrored else ("plain",)
        packs = [self._pack(backbone, cut, view, preprocessing) for view in views]
        hashes, unread = content_hashes(split)
        return len(_Pass(split, hashes, unread, packs, preprocessing, None, "").missing())

    def fits(
        self,
        backbone: Backbone,
        photos: int,
        *,
        cut: Cut = "boundary",
        views: int = 1,
        preprocessing: Preprocessing | None = None,
    ) -> bool:
        """Whether rows of so many photos, in so many views, stay under the limit."""
        pack = self._pack(backbone, cut, "plain", preprocessing or backbone.preprocessing)
        return photos * views * pack.row_bytes <= self.limit_bytes

    def _pack(self, backbone: Backbone, cut: Cut, view: str, preprocessing: Preprocessing) -> Pack:
        at_boundary = cut == "boundary"
        weights = backbone.trunk_hash if at_boundary else backbone.weights_hash
        key = f"{FORMAT_VERSION} {weights} {cut} {view} {preprocessing.digest()}"
        digest = hashlib.blake2b(key.encode(), digest_size=10).hexdigest()
        if at_boundary:
            shape = activation_shape(backbone.name, preprocessing.size)
        else:
            shape = (backbone.feature_dim,)
        folder = self.folder / f"{backbone.name}-{cut}-{view}-{digest}"
        return Pack(folder, shape, np.dtype(np.float16 if at_boundary else np.float32))

    def _make_room(self, work: _Pass, backbone: Backbone, cut: Cut) -> None:
        """Evict what the coming rows need; refuse when they alone are too many."""
        there = sum(len(pack) * pack.row_bytes for pack in work.packs)
        coming = sum(len(work.missing(pack)) * pack.row_bytes for pack in work.packs)
        if there + coming > self.limit_bytes:
            raise SettingError(
                f"{cut.capitalize()} of {len(work.split):,} photos through {backbone.name} need "
                f"{(there + coming) / 1e9:.1f} GB, and the cache may hold "
                f"{self.limit_bytes / 1e9:.1f} GB. Raise models.cache_gigabytes, or take fewer "
                "photos."
            )
        keep = {pack.folder for pack in work.packs}
        evict(self.folder, limit_bytes=self.limit_bytes - coming, keep=keep)


@dataclass
class _Pass:
    """One call: which photos, which packs, and what came out so far."""

    split: Split
    hashes: NDArray[np.bytes_]
    unread: dict[int, str]
    packs: Sequence[Pack]
    preprocessing: Preprocessing
    listener: Listener | None
    stage: str
    computed: int = 0
    decoded: int = 0
    done: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        self.failed: dict[bytes, str] = {}
        self._first = np.unique(self.hashes, return_index=True)[1]
        self._first = np.sort(self._first[self.hashes[self._first] != b""])

    def missing(self, pack: Pack | None = None) -> NDArray[np.int64]:
        """Positions of photos with no row in the pack (in any of them); each content once."""
        packs = self.packs if pack is None else [pack]
        rows = np.stack([pack.find(self.hashes[self._first]) for pack in packs])
        return self._first[(rows < 0).any(axis=0)]

    def run(
        self,
        about: dict[str, Any],
        backbone: Backbone,
        cut: Cut,
        runtime: RuntimeName,
        workers: int | None,
        max_pixels: int,
    ) -> None:
        """Compute what is missing and append it, batch after batch."""
        trunk = compile_trunk(backbone, cut, runtime, preprocessing=self.preprocessing)
        self.note = trunk.note
        with ExitStack() as stack:
            # Always in the same order, so that two processes never wait for each other.
            writers = [
                stack.enter_context(pack.writer(about, self._waiting))
                for pack in sorted(self.packs, key=lambda pack: pack.folder)
            ]
            by_folder = sorted(range(len(self.packs)), key=lambda i: self.packs[i].folder)
            ordered = [writers[by_folder.index(view)] for view in range(len(self.packs))]
            positions = self.missing()  # again: another writer may have been here
            self._compute(positions, trunk, ordered, workers, max_pixels)

    def _compute(
        self,
        positions: NDArray[np.int64],
        trunk: TrunkRuntime,
        writers: Sequence[PackWriter],
        workers: int | None,
        max_pixels: int,
    ) -> None:
        self.done = len(self.split) - len(positions)
        self._progress()
        decoded = decode_batches(
            self.split.take(positions).paths(),
            self.preprocessing,
            batch_size=DECODED_BATCH,
            workers=workers,
            max_pixels=max_pixels,
            # Files change; a row must be of the content whose hash it will be found by.
            hashes=self.hashes[positions],
        )
        pieces = self._pieces(decoded, positions, trunk.batch_size)
        for (view, rows, finished), outputs in trunk.stream(pieces):
            kept = _finite(outputs, self.packs[view].dtype)
            writers[view].append(self.hashes[rows], kept)
            if view == len(self.packs) - 1:
                self.computed += len(rows)
            self.done += finished
            self._progress()

    def _pieces(
        self, decoded: Iterator[DecodedBatch], positions: NDArray[np.int64], size: int
    ) -> Iterator[tuple[tuple[int, NDArray[np.int64], int], NDArray[np.uint8]]]:
        """Decoded photos in batches of the runtime, in every view that lacks them.

        The key is the view, the photos' positions, and how many are finished with this piece.
        """
        for batch in decoded:
            rows = positions[batch.indices]
            self.decoded += len(rows)
            self.done += len(batch.errors)
            for index, reason in batch.errors.items():
                self.failed[bytes(self.hashes[positions[index]])] = reason
            for start in range(0, len(rows), size):
                part = slice(start, start + size)
                lacking = [pack.find(self.hashes[rows[part]]) < 0 for pack in self.packs]
                last = max(view for view, lacks in enumerate(lacking) if lacks.any())
                for view, lacks in enumerate(lacking):
                    images = batch.images[part][lacks]
                    if len(images):
                        finished = len(lacks) if view == last else 0
                        turned = images if view == 0 else images[:, :, ::-1]
                        yield (view, rows[part][lacks], finished), turned

    def cached(self) -> CachedFeatures:
        """What is there now, of the view that was asked for."""
        pack = self.packs[-1]
        rows = np.where(self.hashes == b"", -1, pack.find(self.hashes))
        ids = self.split.ids
        errors = {int(ids[position]): reason for position, reason in self.unread.items()}
        for position in np.flatnonzero(rows < 0):
            reason = self.failed.get(bytes(self.hashes[position]))
            if reason is not None:
                errors[int(ids[position])] = reason
        findings = (_slow_runtime(self.note),) if self.note else ()
        return CachedFeatures(
            pack, pack.rows(), rows, errors, self.computed, self.decoded, findings
        )

    def _progress(self, text: str = "") -> None:
        if self.listener is not None:
            self.listener(
                StageProgress(stage=self.stage, done=self.done, total=len(self.split), text=text)
            )

    def _waiting(self) -> None:
        self._progress("Another process computes these features; waiting for it.")


def _finite(outputs: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The outputs in the pack's type; float16 ends at 65,504."""
    if dtype == np.float16:
        limit = float(np.finfo(np.float16).max)
        return np.clip(outputs, -limit, limit).astype(np.float16)
    return outputs.astype(dtype, copy=False)


def _about(backbone: Backbone, cut: Cut, preprocessing: Preprocessing) -> dict[str, Any]:
    return {
        "backbone": backbone.name,
        "weights": backbone.trunk_hash if cut == "boundary" else backbone.weights_hash,
        "cut": cut,
        "preprocessing": preprocessing.to_json(),
    }


def _slow_runtime(note: str) -> Finding:
    return Finding(
        rule="SlowRuntime",
        where="",
        severity=Severity.WARNING,
        title=f"Features were computed through PyTorch on the CPU. {note}.",
        causes=(
            Cause(
                text="The faster runtime is missing or cannot run this network.",
                fix="pip install --upgrade openvino, or choose another backbone.",
                evidence=note,
            ),
        ),
    )
