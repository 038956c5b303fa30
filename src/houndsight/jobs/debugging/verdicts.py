"""The status of every rule that a job asked for, from what the judge wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from houndsight.findings import Finding, Severity, State, read_findings
from houndsight.jobs.debugging.asked import Asked, plain
from houndsight.jobs.debugging.places import Places, model_folders
from houndsight.jobs.status import RuleStatus

__all__ = ["Outcome", "Verdicts"]

LONGEST = 1_024
"""SageMaker's limit for StatusDetails."""
MET = "RuleEvaluationConditionMet: Evaluation of the rule {} at step {} resulted in the condition "
MET += "being met"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job's script ended, for the rules."""

    stopped: bool = False
    watched: bool = True
    """Whether a model was watched at all."""
    why_not: str = ""


class Verdicts:
    """Reads verdicts again where their files changed.

    Args:
        places: of the job.
        rules: what it asked for.
        profiler_rules: the same of the profiler.
    """

    def __init__(
        self, places: Places, rules: Sequence[Asked], profiler_rules: Sequence[Asked]
    ) -> None:
        self.places, self.rules, self.profiler_rules = places, rules, profiler_rules
        self._seen: dict[Path, tuple[float, Any]] = {}
        self._before: dict[str, RuleStatus] = {}

    def debugger(self, outcome: Outcome | None = None) -> dict[str, RuleStatus]:
        """By rule configuration; `outcome` once the script has ended."""
        refused = self._json(self.places.refused)
        findings = self._findings()
        standings = self._standings()
        found = {}
        for asked in self.rules:
            refusal = asked.refusal or str(refused.get(asked.configuration, ""))
            spoken = [f for f in findings if plain(f.rule) == plain(asked.rule) and _told(f, asked)]
            if refusal:
                status = RuleStatus("Error", refusal)
            elif spoken:
                status = RuleStatus("IssuesFound", _details(asked, spoken))
            elif outcome is None:
                status = RuleStatus("InProgress")
            else:
                status = _final(asked, standings, outcome)
            found[asked.configuration] = self._dated(asked.configuration, status)
        return found

    def profiler(self, outcome: Outcome | None = None) -> dict[str, RuleStatus]:
        """The same of the profiler's rules."""
        verdicts = self._json(self.places.profiler_verdicts)
        found = {}
        for asked in self.profiler_rules:
            verdict = verdicts.get(asked.configuration)
            text = str(verdict.get("text", "")) if isinstance(verdict, dict) else ""
            if asked.refusal:
                status = RuleStatus("Error", asked.refusal)
            elif isinstance(verdict, dict) and verdict.get("fired"):
                status = RuleStatus("IssuesFound", text)
            elif outcome is None:
                status = RuleStatus("InProgress")
            elif isinstance(verdict, dict) and not verdict.get("error"):
                status = RuleStatus("Stopped" if outcome.stopped else "NoIssuesFound", text)
            else:
                status = RuleStatus("Error", text or "The profiler's rules did not get to judge.")
            found[asked.configuration] = self._dated(f"profiler {asked.configuration}", status)
        return found

    def findings_of(self, asked: Asked) -> list[Finding]:
        """What its rule found."""
        return [f for f in self._findings() if plain(f.rule) == plain(asked.rule)]

    def _dated(self, key: str, status: RuleStatus) -> RuleStatus:
        """With the time of its last change."""
        status = replace(status, details=status.details[:LONGEST])
        before = self._before.get(key)
        if before is None or (before.status, before.details) != (status.status, status.details):
            self._before[key] = replace(status, modified=time.time())
        return self._before[key]

    def _findings(self) -> list[Finding]:
        found: list[Finding] = []
        for folder in model_folders(self.places.run):
            found += self._read(folder / "findings.jsonl", read_findings) or []
        return found

    def _standings(self) -> dict[str, Mapping[str, Any]]:
        """What became of each rule in the first model, by plain name."""
        for folder in model_folders(self.places.run):
            rows = self._json(folder / "rules.json").get("rules")
            if isinstance(rows, list):
                return {plain(str(r.get("rule"))): r for r in rows if isinstance(r, dict)}
        return {}

    def _json(self, path: Path) -> dict[str, Any]:
        def load(path: Path) -> dict[str, Any]:
            try:
                found = json.loads(path.read_bytes())
            except (OSError, ValueError):
                return {}
            return found if isinstance(found, dict) else {}

        return self._read(path, load) or {}

    def _read(self, path: Path, load: Any) -> Any:
        try:
            about = path.stat()
        except OSError:
            return None
        mark = about.st_mtime_ns + about.st_size / 2**40
        if path not in self._seen or self._seen[path][0] != mark:
            self._seen[path] = (mark, load(path))
        return self._seen[path][1]


def _told(finding: Finding, asked: Asked) -> bool:
    """Whether a finding is an issue: a remark is one only by a condition the person set."""
    return finding.severity is not Severity.INFO or bool(asked.parameters)


def _details(asked: Asked, found: Iterable[Finding]) -> str:
    ordered = sorted(found, key=lambda f: (f.state == State.RESOLVED, f.severity.rank))
    first, others = ordered[0], len(ordered) - 1
    step = first.first_step if first.first_step is not None else 0
    cause = first.causes[0]
    more = f" The same in {others} more places." if others > 0 else ""
    gone = " It no longer holds." if first.state == State.RESOLVED else ""
    told = [MET.format(asked.rule, step), f"{first.title}{more}{gone}", cause.text, cause.fix]
    return "\n".join(part for part in told if part)


def _final(
    asked: Asked, standings: Mapping[str, Mapping[str, Any]], outcome: Outcome
) -> RuleStatus:
    standing = standings.get(plain(asked.rule), {})
    reason = str(standing.get("reason") or "")
    if not outcome.watched:
        why = outcome.why_not or "no model was trained that could be watched."
        return RuleStatus(
            "Error", f"ClientError: No debugging data was saved by the training job: {why}"
        )
    if standing.get("standing") == "failed":
        return RuleStatus("Error", reason)
    if outcome.stopped:
        return RuleStatus("Stopped", "The training job was stopped; nothing was found until then.")
    if standing.get("standing") == "not applicable":
        return RuleStatus("NoIssuesFound", f"It could not judge: {reason}")
    return RuleStatus("NoIssuesFound")
