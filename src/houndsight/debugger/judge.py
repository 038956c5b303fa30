"""Let rules judge a history, and keep one that fails from harming anything."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.errors import HoundsightError
from houndsight.findings import Cause, Finding, Severity

__all__ = ["Judgement", "Standing", "Verdict", "changed", "judge"]


class Standing(enum.StrEnum):
    """What became of a rule."""

    JUDGED = "judged"
    NOT_APPLICABLE = "not applicable"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """One rule's standing, with the reason where it did not judge."""

    rule: str
    standing: Standing
    reason: str = ""
    findings: int = 0


@dataclass(frozen=True)
class Judgement:
    """What all rules say of a history."""

    findings: list[Finding] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def judge(rules: Iterable[Rule], history: History) -> Judgement:
    """Every rule's findings and standing; a rule that raises becomes a finding of its own."""
    judgement = Judgement()
    for rule in rules:
        try:
            # Arithmetic on NaN and infinities is a rule's daily work, no cause for warnings.
            with np.errstate(all="ignore"):
                reason = rule.not_applicable(history)
                found = [] if reason else list(rule.evaluate(history))
        except HoundsightError as error:
            judgement.verdicts.append(Verdict(rule.name, Standing.FAILED, str(error)))
            judgement.findings.append(_refused(rule, str(error)))
            continue
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            judgement.verdicts.append(Verdict(rule.name, Standing.FAILED, reason))
            judgement.findings.append(_failed(rule, reason))
            continue
        standing = Standing.NOT_APPLICABLE if reason else Standing.JUDGED
        judgement.verdicts.append(Verdict(rule.name, standing, reason, len(found)))
        judgement.findings.extend(found)
    return judgement


def changed(before: Sequence[Finding], now: Sequence[Finding]) -> list[Finding]:
    """What has to be written: findings that are new or other than before, and those gone."""
    known = {finding.key: finding for finding in before}
    current = {finding.key for finding in now}
    news = [finding for finding in now if known.get(finding.key) != finding]
    gone = [f.resolved() for f in before if f.key not in current]
    return news + [f for f in gone if f != known[f.key]]


def _refused(rule: Rule, reason: str) -> Finding:
    return Finding(
        rule="RuleFailed",
        where=rule.name,
        severity=Severity.INFO,
        title=f"The rule {rule.name} judged nothing: {reason}",
        causes=(
            Cause(
                text="It was asked for something that this training cannot give it.",
                fix=f"Change the rule's parameters as the reason says, or leave {rule.name} out.",
                score=1.0,
            ),
        ),
    )


def _failed(rule: Rule, reason: str) -> Finding:
    return Finding(
        rule="RuleFailed",
        where=rule.name,
        severity=Severity.INFO,
        title=f"The rule {rule.name} failed and judged nothing: {reason}.",
        causes=(
            Cause(
                text="The rule has a fault of its own; the training is not harmed by it.",
                fix=f"Report it with the run's tensors/ folder, or leave {rule.name} out.",
                score=1.0,
            ),
        ),
    )
