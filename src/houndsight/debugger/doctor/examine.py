"""All that is tried on the bench: the script's own steps, the checks, the repairs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from houndsight.debugger.doctor.batches import TrainingStep
from houndsight.debugger.doctor.bench import Bench, Curve, Setup
from houndsight.debugger.doctor.checks import Shown
from houndsight.debugger.doctor.other_mode import other_mode
from houndsight.debugger.doctor.range_test import range_test
from houndsight.debugger.doctor.repairs import RATES, repair
from houndsight.debugger.doctor.single_batch import single_batch
from houndsight.files import write_atomic

__all__ = ["FORMAT_VERSION", "examine"]

FORMAT_VERSION = 1
BETTER = 0.9
"""A repair is better when it arrives below this share of where the script arrives."""
FAITHFUL = 0.1
"""Mean relative difference of losses up to which the bench does what the script does."""
COMPARED = 10
"""Steps compared for that."""
TRIED = 3
"""Causes tried, the likeliest first."""


def examine(
    bench: Bench, made: Sequence[TrainingStep], orders: Mapping[str, Any], folder: Path
) -> None:
    """Try everything and write `doctor.json`; a check that fails says so in it."""
    record: dict[str, Any] = {"v": FORMAT_VERSION, "steps": len(made), "notes": [], "checks": []}
    recorded = [_mean(step.losses) for step in made]
    record |= {"recorded": _plain(recorded), "trials": [], "rate": bench.rate}
    begun = time.monotonic()
    if bench.steps:
        try:
            _Examination(bench, orders, record).run(recorded)
        except Exception as error:
            record["notes"].append(
                "The script's own steps could not be done again on a copy: "
                f"{type(error).__name__}: {error}."
            )
    else:
        record["notes"].append(
            "The script's loss cannot be computed again outside of it (it is none of PyTorch's "
            "loss functions, or something unknown happens between the model and the loss), so "
            "nothing could be tried."
        )
    record["seconds"] = round(time.monotonic() - begun, 1)
    write_atomic(folder / "doctor.json", json.dumps(record).encode())


class _Examination:
    def __init__(self, bench: Bench, orders: Mapping[str, Any], record: dict[str, Any]) -> None:
        self.bench, self.record = bench, record
        self.causes: list[Mapping[str, Any]] = list(orders.get("causes", ()))
        self.steps = int(orders.get("steps", record["steps"]))
        self.own = _as_the_script(bench)

    def run(self, recorded: Sequence[float]) -> None:
        self.steps = min(self.steps, len(recorded))
        own = self.bench.train(self.own, steps=self.steps)
        self._compare(own, recorded)
        rate: float | None = None
        for check in self._checks():
            try:
                shown = check(rate)
            except Exception as error:
                self.record["notes"].append(
                    f"A check could not be made: {type(error).__name__}: {error}."
                )
                continue
            rate = shown.rate or rate
            self.record["checks"].append(shown.to_json())
        self.record["own"] = {"losses": _plain(own.losses), "measured": _plain(own.measured)}
        for cause in [*self.causes[:TRIED], *self._seen_by_checks()]:
            self._try(cause, own, rate)

    def _compare(self, own: Curve, recorded: Sequence[float]) -> None:
        pairs = list(zip(own.losses, recorded, strict=False))[:COMPARED]
        finite = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        differs = _mean([abs(a - b) / max(abs(b), 1e-9) for a, b in finite])
        self.record["faithful"] = not finite or differs <= FAITHFUL
        if not self.record["faithful"]:
            self.record["notes"].append(
                f"The script's first steps done again differ from it by {differs:.0%}: something "
                "happens in them that was not seen from outside, so trials are less certain."
            )

    def _seen_by_checks(self) -> list[Mapping[str, Any]]:
        """A learning rate that a check found wrong and no rule did."""
        named = {cause.get("name") for cause in self.causes[:TRIED]}
        seen = {name for shown in self.record["checks"] for name in shown["confirms"]}
        return [{"name": name} for name in sorted(seen & set(RATES) - named)]

    def _checks(self) -> Iterator[Callable[[float | None], Shown]]:
        yield lambda _: range_test(self.bench, self.own)
        yield lambda rate: single_batch(self.bench, self.own, rate)
        yield lambda _: other_mode(self.bench)

    def _try(self, cause: Mapping[str, Any], own: Curve, rate: float | None) -> None:
        name, change = str(cause.get("name", "")), dict(cause.get("change", {}))
        trial: dict[str, Any] = {"cause": name}
        try:
            found = repair(name, change, self.own, self.bench, rate=rate)
            if found is not None:
                setup, trial["change"], trial["text"] = found
                curve = self.bench.train(setup, steps=self.steps)
                trial |= {"measured": _plain(curve.measured), "cut_off": curve.cut_off}
                trial |= {"end": _number(curve.end), "own_end": _number(own.end)}
                trial["better"] = curve.end < BETTER * own.end or (
                    math.isinf(own.end) and math.isfinite(curve.end)
                )
        except Exception as error:
            trial["failed"] = f"{type(error).__name__}: {error}"
        self.record["trials"].append(trial)


def _as_the_script(bench: Bench) -> Setup:
    """What the script was seen to do, beyond its model, optimizer and batches."""
    later = bench.steps[1:]
    stale = bool(later) and all(step.stale for step in later)
    return Setup(zero_grad=not stale, clip_norm=_clipping(bench.steps))


def _clipping(steps: Sequence[TrainingStep]) -> float | None:
    """What gradients are clipped to: the norm that most steps share."""
    norms = [step.gradient_norm for step in steps if step.gradient_norm > 0]
    if len(norms) < 3:
        return None
    highest = max(norms)
    shared = [n for n in norms if abs(n - highest) <= 1e-4 * highest]
    return highest if len(shared) >= max(3, len(norms) // 4) else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(values: Sequence[float]) -> list[float | None]:
    return [_number(value) for value in values]
