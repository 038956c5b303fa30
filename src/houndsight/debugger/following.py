"""Findings as they appear: what `findings.jsonl` says that it did not say before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from houndsight.findings import Finding, Severity, State, read_findings

__all__ = ["FindingsFollower", "News"]


class News:
    """Tells the findings that a person has not heard of from those that were only counted on.

    A finding is news when it is opened, when it becomes graver, and when it is resolved or
    holds again; another last step or count is none.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Severity, State]] = {}

    def among(self, findings: Iterable[Finding]) -> list[Finding]:
        """Those that are news; from now on they are known."""
        return [finding for finding in findings if self._is_news(finding)]

    def _is_news(self, finding: Finding) -> bool:
        before = self._known.get(finding.key)
        if before is None and finding.state == State.RESOLVED:
            return False
        self._known[finding.key] = (finding.severity, finding.state)
        if before is None:
            return True
        return finding.state != before[1] or finding.severity.rank < before[0].rank


class FindingsFollower:
    """Reads a `findings.jsonl` again and again, and gives what is news in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._news = News()
        self._seen = -1

    def news(self) -> list[Finding]:
        """The findings that are news since the last call, the gravest first."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return []
        # The file only grows.
        if size == self._seen:
            return []
        self._seen = size
        return self._news.among(read_findings(self.path))
