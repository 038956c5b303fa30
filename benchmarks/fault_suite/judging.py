"""What the rules, the diagnosis and the documented rules say of recorded trainings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import houndsight.debugger
from fault_suite.documented import documented
from fault_suite.plan import Run, twin
from fault_suite.recordings import Recorded, Recordings
from fault_suite.registry import FAULTS
from fault_suite.repair import default_recipe, repaired
from fault_suite.spec import Spec
from houndsight.debugger.diagnosis import diagnose
from houndsight.debugger.judge import judge
from houndsight.debugger.rules import make_rules
from houndsight.findings import Finding, Severity

__all__ = ["Case", "Said", "Suite"]

LEAST_POINTS, LEAST_SPREADS = 0.03, 2.0
"""Harm: so much below the healthy twin, in accuracy and in pooled standard deviations."""
OWN_SPREAD = 3
"""From so many seeds on, a fault's spread and its twin's are their own and not the data set's."""
RECOVERED = 0.8
"""Share of the lost accuracy that a fix has to bring back."""


@dataclass(frozen=True)
class Said:
    """What is said of one training."""

    loud: frozenset[str]
    """Rules with a finding of warning or above."""
    titles: tuple[str, ...]
    causes: tuple[str, ...]
    """Names of the diagnosed causes, the likeliest first."""
    changes: tuple[Mapping[str, Any], ...]
    """What each proposes to change."""
    documented: frozenset[str]
    """Documented rules that fire."""


@dataclass
class Case:
    """A faulty training beside its healthy twin."""

    run: Run
    accuracy: float
    healthy: float
    """Accuracy of the twin."""
    harmful: bool
    said: Said
    twin_said: Said
    fixed: float | None = None
    """Accuracy with the first fix made; None: it proposes none that can be made."""
    default: float | None = None
    """Accuracy with the default recipe."""

    @property
    def detected(self) -> bool:
        """Whether a rule speaks that is silent about the twin."""
        return bool(self.said.loud - self.twin_said.loud)

    @property
    def documented(self) -> bool:
        """The same of the documented rules."""
        return bool(self.said.documented - self.twin_said.documented)

    def right(self, first: int) -> bool:
        """Whether an accepted cause is among the first so many, and the fault was detected."""
        accepted = set(FAULTS[self.run.kind].causes)
        return self.detected and bool(accepted & set(self.said.causes[:first]))

    def recovers(self, accuracy: float | None) -> bool:
        """Whether an accuracy has back most of what the fault cost."""
        if accuracy is None:
            return False
        return accuracy - self.accuracy >= RECOVERED * (self.healthy - self.accuracy)

    @property
    def works(self) -> bool:
        """Whether the first fix does."""
        return self.detected and self.recovers(self.fixed)

    @property
    def abstains(self) -> bool:
        """Whether nothing is proposed that a machine can change."""
        return not self.detected or self.fixed is None


def _digest() -> str:
    """Of everything that decides what rules say of a recording."""
    package = Path(houndsight.debugger.__file__).parent
    own = [Path(__file__).with_name("documented.py")]
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted([*package.glob("*.py"), *package.glob("rules/*.py"), *own]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Suite:
    """The recorded runs of a part, judged.

    Args:
        recordings: the trainings.
        runs: those of the plan that are to be judged; what is not recorded is left out.
    """

    def __init__(self, recordings: Recordings, runs: Iterable[Run]) -> None:
        self.recordings = recordings
        runs = list(runs)
        self.planned = len(runs)
        self.runs = [run for run in runs if recordings.get(run.spec, log=True)]
        self._said: dict[str, Said] = {}
        self.rules = _digest()
        self.spread = self._spreads()

    def said(self, spec: Spec) -> Said:
        """What is said of a training, judged once."""
        if spec.key not in self._said:
            recorded = self.recordings.get(spec, log=True)
            assert recorded is not None, "only recorded trainings are judged"
            findings, fired = self._judged(recorded)
            loud = [f for f in findings if f.severity != Severity.INFO]
            causes = diagnose(findings) if loud else []
            self._said[spec.key] = Said(
                frozenset(f.rule for f in loud),
                tuple(f"{f.rule}: {f.title}" for f in loud),
                tuple(d.cause.name for d in causes),
                tuple(dict(d.cause.change) for d in causes),
                frozenset(fired),
            )
        return self._said[spec.key]

    def _judged(self, recorded: Recorded) -> tuple[list[Finding], list[str]]:
        """Findings and documented rules that fire; kept for as long as no rule changes."""
        name = f"{recorded.spec.key}-{self.rules}"
        known = self.recordings.remembered(name)
        if known is None:
            history = recorded.history()
            findings = judge(make_rules("default"), history).findings
            known = {
                "findings": [finding.to_json() | {"plot": {}} for finding in findings],
                "documented": sorted(documented(history)),
            }
            self.recordings.remember(name, known)
        return [Finding.from_json(record) for record in known["findings"]], known["documented"]

    def healthy(self) -> list[tuple[Run, Said]]:
        """The healthy runs."""
        return [(run, self.said(run.spec)) for run in self.runs if not run.faulty]

    def cases(self) -> list[Case]:
        """The faulty runs whose twin is recorded too."""
        pairs: dict[tuple[str, ...], list[tuple[Run, float, float]]] = {}
        for run in self.runs:
            healthy = self.recordings.get(twin(run.spec), log=True)
            if run.faulty and healthy is not None:
                recorded = self.recordings.get(run.spec, log=True)
                assert recorded is not None, "it was found before"
                pair = (run, recorded.accuracy, healthy.accuracy)
                pairs.setdefault((run.kind, *run.spec.cell), []).append(pair)
        return [case for seeds in pairs.values() for case in self._cases(seeds)]

    def _cases(self, seeds: list[tuple[Run, float, float]]) -> list[Case]:
        """The cases of one fault in one cell, harmful or not together."""
        faulty = np.array([accuracy for _, accuracy, _ in seeds])
        healthy = np.array([accuracy for _, _, accuracy in seeds])
        spread = self.spread.get(seeds[0][0].spec.data, 0.0)
        if len(seeds) >= OWN_SPREAD:
            spread = float(np.sqrt((faulty.var(ddof=1) + healthy.var(ddof=1)) / 2))
        least = max(LEAST_POINTS, LEAST_SPREADS * spread)
        harmful = bool(float((healthy - faulty).mean()) >= least)
        return [
            Case(run, one, other, harmful, self.said(run.spec), self.said(twin(run.spec)))
            for run, one, other in seeds
        ]

    def repair(self, case: Case, *, train: bool) -> None:
        """Fill in what the first fix and the default recipe reach, training where allowed."""
        spec = case.run.spec
        if case.said.changes:
            case.fixed = self._accuracy(repaired(spec, case.said.changes[0]), train)
        case.default = self._accuracy(default_recipe(spec), train)

    def _accuracy(self, spec: Spec | None, train: bool) -> float | None:
        if spec is None:
            return None
        if train:
            return self.recordings.accuracy(spec)
        known = self.recordings.get(spec, log=False)
        return None if known is None else known.accuracy

    def _spreads(self) -> dict[str, float]:
        """Standard deviation of a healthy training's accuracy over seeds, pooled by data set."""
        by_cell: dict[tuple[str, ...], list[float]] = {}
        for run in self.runs:
            if run.kind == "healthy":
                found = self.recordings.get(run.spec, log=True)
                assert found is not None, "it was found before"
                by_cell.setdefault(run.spec.cell, []).append(found.accuracy)
        squares: dict[str, list[tuple[float, int]]] = {}
        for cell, accuracies in by_cell.items():
            if len(accuracies) > 1:
                pair = (float(np.var(accuracies, ddof=1)), len(accuracies) - 1)
                squares.setdefault(cell[1], []).append(pair)
        return {
            data: float(np.sqrt(sum(v * n for v, n in pairs) / sum(n for _, n in pairs)))
            for data, pairs in squares.items()
        }
