"""Findings: written as lines, folded by key, and safe against a killed writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from houndsight.findings import Cause, Finding, FindingLog, Severity, State, read_findings

CAUSE = Cause(text="The learning rate is too high.", fix="Divide it by ten.", score=0.9)


def make(rule: str = "LossSpike", where: str = "", **values: object) -> Finding:
    settings = {"severity": Severity.WARNING, "title": "The loss rose.", "causes": (CAUSE,)}
    return Finding(rule=rule, where=where, **(settings | values))  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    log = FindingLog(tmp_path / "findings.jsonl")
    finding = make(where="layer4", first_step=3, last_step=9, measured=2.5, examples=("a.jpg",))
    log.write([finding])
    assert read_findings(log.path) == [finding]


def test_later_records_replace_and_the_gravest_come_first(tmp_path: Path) -> None:
    log = FindingLog(tmp_path / "findings.jsonl")
    log.write([make("A", severity=Severity.INFO), make("B"), make("C", severity=Severity.ERROR)])
    log.write([make("B", count=5), make("C").resolved(step=12)])
    read = read_findings(log.path)
    assert [(f.rule, f.count, f.state) for f in read] == [
        ("B", 5, State.OPEN),
        ("A", 1, State.OPEN),
        ("C", 1, State.RESOLVED),
    ]
    assert read[2].last_step == 12


def test_a_torn_line_hurts_only_itself(tmp_path: Path) -> None:
    log = FindingLog(tmp_path / "findings.jsonl")
    log.write([make("A")])
    with log.path.open("ab") as file:
        file.write(b'{"v": 1, "rule": "B", "whe')
    log.write([make("C")])
    assert [f.rule for f in read_findings(log.path)] == ["A", "C"]


def test_a_finding_without_a_cause_cannot_be_made() -> None:
    with pytest.raises(AssertionError, match="names no cause"):
        make(causes=())


def test_no_file_is_no_findings(tmp_path: Path) -> None:
    assert read_findings(tmp_path / "findings.jsonl") == []
