"""What became of every rule of the debugger in the parts of a run that were watched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from houndsight.reporting.text import clean
from houndsight.runs import Run

__all__ = ["RuleStanding", "WatchedPart", "read_watched"]

ORDER = ("backbone", "head", "fine-tuning")
"""The parts in the order in which a run comes to them."""


@dataclass(frozen=True, kw_only=True)
class RuleStanding:
    """One rule: `judged`, `not applicable` or `failed`, and why it did not judge."""

    rule: str
    standing: str
    reason: str
    findings: int


@dataclass(frozen=True, kw_only=True)
class WatchedPart:
    """A part of a run and what the rules say they did there."""

    name: str
    steps: int
    rules: tuple[RuleStanding, ...]

    def of(self, standing: str) -> list[RuleStanding]:
        """The rules that stand so."""
        return [rule for rule in self.rules if rule.standing == standing]

    @property
    def spoke(self) -> list[RuleStanding]:
        """The rules that found something."""
        return [rule for rule in self.rules if rule.findings]


def read_watched(run: Run, missing: list[str]) -> list[WatchedPart]:
    """Every watched part with its `rules.json`; what cannot be read is told in `missing`."""
    names = sorted(run.watched, key=lambda n: (n not in ORDER, n in ORDER and ORDER.index(n), n))
    folders = {name: run.watched_folder(name) for name in names}
    if (run.folder / "rules.json").is_file():
        folders = {"training": run.folder, **folders}
    parts = []
    for name, folder in folders.items():
        try:
            parts.append(_part(name, folder / "rules.json"))
        except FileNotFoundError:
            missing.append(f"“{clean(name, limit=60)}” was watched, but no rule has judged it.")
        except (OSError, ValueError, KeyError, TypeError) as error:
            said = clean(error, limit=120)
            missing.append(f"What became of the rules in “{clean(name)}” cannot be read ({said}).")
    return parts


def _part(name: str, path: Path) -> WatchedPart:
    record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return WatchedPart(
        name=clean(name, limit=60),
        steps=int(record.get("step", 0)) + 1,
        rules=tuple(
            RuleStanding(
                rule=clean(rule["rule"], limit=80),
                standing=str(rule["standing"]),
                reason=clean(rule.get("reason") or "", limit=300),
                findings=int(rule.get("findings") or 0),
            )
            for rule in record["rules"]
        ),
    )
