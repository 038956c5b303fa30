"""Rates with bootstrap intervals over networks and data, and the tables that are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from _common import Table
from scipy import stats

from fault_suite.judging import Case, Said
from fault_suite.plan import Run

__all__ = ["by_kind", "false_alarms", "goals", "overall", "rate"]

RESAMPLES = 4000
Pair = tuple[str, str]


def rate(values: Sequence[bool], pairs: Sequence[Pair]) -> tuple[float, float, float]:
    """Share that is true, with a 95 % bootstrap interval over (network, data) combinations."""
    if not values:
        return float("nan"), float("nan"), float("nan")
    groups = sorted(set(pairs))
    places = np.array([groups.index(pair) for pair in pairs])
    true = np.bincount(places, np.array(values, float), len(groups))
    count = np.bincount(places, minlength=len(groups))
    drawn = np.random.default_rng(0).integers(0, len(groups), (RESAMPLES, len(groups)))
    rates = true[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.quantile(rates, (0.025, 0.975))
    return float(np.mean(values)), float(low), float(high)


def alarm_bound(values: Sequence[bool], pairs: Sequence[Pair]) -> float:
    """Upper 95 % bound: the bootstrap's, or Clopper and Pearson's where that is higher.

    Where no run has an alarm, resampling knows no other answer than 0.
    """
    found, count = sum(values), len(values)
    exact = float(stats.beta.ppf(0.975, found + 1, count - found)) if found < count else 1.0
    return max(exact, rate(values, pairs)[2])


def said(values: Sequence[bool], pairs: Sequence[Pair]) -> str:
    """`95.1 % (92.0-97.5)`."""
    middle, low, high = rate(values, pairs)
    return f"{middle:.1%} ({low:.1%}-{high:.1%})"


def _pairs(runs: Sequence[Run]) -> list[Pair]:
    return [(run.spec.network, run.spec.data) for run in runs]


def goals(cases: Sequence[Case], runs: Sequence[tuple[Run, Said]]) -> list[str]:
    """Whether what was aimed at is reached."""
    pairs = _pairs([run for run, _ in runs])
    bound = alarm_bound([bool(s.loud) for _, s in runs], pairs)
    found = float(np.mean([case.detected for case in cases])) if cases else float("nan")
    works = float(np.mean([case.works for case in cases])) if cases else float("nan")
    return [
        f"At least 95 % detected: {_verdict(found >= 0.95)}, {found:.1%}.",
        f"Upper bound of healthy runs with an alarm at most 2 %: {_verdict(bound <= 0.02)}, "
        f"{bound:.1%}.",
        f"The first fix works in at least 80 %: {_verdict(works >= 0.8)}, {works:.1%}.",
        f"At least 300 healthy runs in 30 combinations: "
        f"{_verdict(len(runs) >= 300 and len(set(pairs)) >= 30)}, {len(runs)} in "
        f"{len(set(pairs))}.",
    ]


def _verdict(holds: bool) -> str:
    return "holds" if holds else "FAILS"


def overall(cases: Sequence[Case]) -> Table:
    """What holds of all harmful cases together."""
    pairs = _pairs([case.run for case in cases])
    rows: list[tuple[str, Callable[[Case], bool]]] = [
        ("detected", lambda case: case.detected),
        ("detected by the documented rules", lambda case: case.documented),
        ("first cause accepted", lambda case: case.right(1)),
        ("accepted cause among the first three", lambda case: case.right(3)),
        ("first cause accepted, of those detected", lambda case: case.right(1)),
        ("first fix brings back 80 %", lambda case: case.works),
        ("first cause accepted and its fix brings back 80 %", lambda c: c.right(1) and c.works),
        ("no fix that a machine can make", lambda case: case.abstains),
        ("baseline: the default recipe brings back 80 %", lambda c: c.recovers(c.default)),
    ]
    printed = []
    for text, holds in rows:
        kept = [c.detected or "of those" not in text for c in cases]
        chosen = [holds(c) for c, k in zip(cases, kept, strict=True) if k]
        where = [p for p, k in zip(pairs, kept, strict=True) if k]
        printed.append([text, said(chosen, where), str(len(chosen))])
    return Table(["of harmful faults", "share (95 %)", "cases"], printed)


def false_alarms(runs: Sequence[tuple[Run, Said]]) -> Table:
    """Healthy runs with any finding of warning or above."""
    pairs = _pairs([run for run, _ in runs])
    ours = [bool(s.loud) for _, s in runs]
    theirs = [bool(s.documented) for _, s in runs]
    quiet = {"LossNotDecreasing", "Overfit", "ClassImbalance", "VanishingGradient"}
    quiet |= {"PoorWeightInitialization", "Overtraining"}
    some = [bool(s.documented - quiet) for _, s in runs]
    count = str(len(runs))
    rows = [
        ["houndsight", said(ours, pairs), f"{np.mean([len(s.loud) for _, s in runs]):.3f}", count],
        [
            "documented rules",
            said(theirs, pairs),
            f"{np.mean([len(s.documented) for _, s in runs]):.3f}",
            count,
        ],
        ["documented, the quieter eight", said(some, pairs), "", count],
    ]
    return Table(["healthy runs", "with an alarm (95 %)", "rules a run", "runs"], rows)


def by_kind(cases: Sequence[Case]) -> Table:
    """A row a kind of fault."""
    rows = []
    for kind in dict.fromkeys(case.run.kind for case in cases):
        of_kind = [case for case in cases if case.run.kind == kind]
        harmful = [case for case in of_kind if case.harmful]
        rows.append(
            [
                kind,
                f"{len(harmful)}/{len(of_kind)}",
                *(
                    _share(harmful, holds)
                    for holds in (
                        lambda c: c.detected,
                        lambda c: c.right(1),
                        lambda c: c.right(3),
                        lambda c: c.works,
                        lambda c: c.documented,
                    )
                ),
                _share([c for c in of_kind if not c.harmful], lambda c: c.detected),
            ]
        )
    head = [
        "fault",
        "harmful",
        "detected",
        "first",
        "first 3",
        "fix works",
        "documented",
        "harmless, spoken of",
    ]
    return Table(head, rows)


def _share(cases: Sequence[Case], holds: Callable[[Case], bool]) -> str:
    return f"{sum(map(holds, cases))}/{len(cases)}" if cases else ""
