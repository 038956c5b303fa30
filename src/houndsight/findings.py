"""The one record for anything worth telling a person.

Data checks, rules, the tuner and the server's watch all make `Finding`s; the report, the
command line and the web pages all read them. A finding is keyed by (`rule`, `where`);
`findings.jsonl` holds what was opened, updated and resolved, and readers fold it by key.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from houndsight.files import append_json_line, read_json_lines

__all__ = ["Cause", "Finding", "FindingLog", "Severity", "State", "read_findings"]

FORMAT_VERSION = 1


class Severity(enum.StrEnum):
    """How much a finding matters, from a remark to a result that cannot be trusted."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for the gravest, so that sorting by it puts the gravest first."""
        return {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}[self]


class State(enum.StrEnum):
    """Whether the finding still holds."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One candidate for why, with the evidence for it and the change to make."""

    text: str
    """The cause, as a sentence."""
    fix: str
    """What to change, as an instruction a person can follow."""
    score: float = 0.5
    """How likely among the candidates, 0 to 1."""
    evidence: str = ""
    """What was measured that speaks for it."""
    name: str = ""
    """What makes causes of several findings the same one: `learning-rate-too-high`."""
    change: Mapping[str, Any] = field(default_factory=dict)
    """The fix for machines: settings and their new values, such as `{"learning_rate": 0.002}`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something worth telling, with its cause and its fix."""

    rule: str
    """The rule's name, in CamelCase: `DuplicatesAcrossSplits`, `VanishingGradient`."""
    where: str
    """What it is about: a tensor, a layer, a file or a class; empty for the whole."""
    severity: Severity
    title: str
    """One sentence with the figures in it."""
    causes: tuple[Cause, ...]
    """Ranked, the likeliest first; at least one."""
    count: int = 1
    """How many things or steps it holds for."""
    first_step: int | None = None
    last_step: int | None = None
    state: State = State.OPEN
    measured: float | None = None
    threshold: float | None = None
    examples: tuple[str, ...] = ()
    """Some of the things it holds for, such as photo paths; thinned, `count` says how many."""
    plot: Mapping[str, Any] = field(default_factory=dict)
    """What a plot needs, as plain JSON values."""

    def __post_init__(self) -> None:
        assert self.causes, f"finding {self.rule} names no cause"

    @property
    def key(self) -> tuple[str, str]:
        """What makes two records the same finding."""
        return (self.rule, self.where)

    def resolved(self, step: int | None = None) -> Finding:
        """This finding, no longer true since `step`."""
        last_step = self.last_step if step is None else step
        return replace(self, state=State.RESOLVED, last_step=last_step)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in `findings.jsonl`."""
        return {"v": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Finding:
        """The finding in a line of `findings.jsonl`; unknown keys are left out."""
        known = {key: record[key] for key in cls.__dataclass_fields__ if key in record}
        known["severity"] = Severity(known["severity"])
        known["state"] = State(known.get("state", State.OPEN))
        known["causes"] = tuple(
            Cause(**{key: c[key] for key in Cause.__dataclass_fields__ if key in c})
            for c in known["causes"]
        )
        known["examples"] = tuple(known.get("examples", ()))
        return cls(**known)


class FindingLog:
    """Appends findings to a `findings.jsonl`, one line each, flushed at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, findings: Iterable[Finding]) -> None:
        """Append records; a later record with the same key replaces an earlier one for readers."""
        for finding in findings:
            append_json_line(self.path, finding.to_json())


def read_findings(path: Path) -> list[Finding]:
    """The findings in `path`, folded by key, gravest first; a torn last line is left out."""
    folded: dict[tuple[str, str], Finding] = {}
    for record in read_json_lines(path):
        try:
            finding = Finding.from_json(record)
        except (ValueError, KeyError, TypeError):
            continue
        folded[finding.key] = finding
    return sorted(folded.values(), key=lambda f: (f.state == State.RESOLVED, f.severity.rank))
