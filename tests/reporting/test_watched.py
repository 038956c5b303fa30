"""What the report tells of the debugger's rules."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pypdf
import pytest

from houndsight.findings import Cause, Finding, Severity
from houndsight.reporting import build_document, render_html, render_pdf
from houndsight.reporting.document import Document, FoldedTable, LikelyCauses, Section
from houndsight.runs import Run

RULES = [
    ("AllZero", "judged", "", 0),
    ("LossNotDecreasing", "judged", "", 2),
    ("DeadRelu", "failed", "KeyError: <b>x</b>", 0),
    ("BatchNormDrift", "not applicable", "The network has no BatchNorm.", 0),
    ("BatchNormSmallBatch", "not applicable", "The network has no BatchNorm.", 0),
]


def watch(run: Run, part: str, rules: list[tuple[str, str, str, int]], *, step: int) -> Run:
    inner = Run.create(run.watched_folder(part), kind="job", config={})
    keys = ("rule", "standing", "reason", "findings")
    record = {"v": 1, "step": step, "rules": [dict(zip(keys, r, strict=True)) for r in rules]}
    (inner.folder / "rules.json").write_text(json.dumps(record))
    return inner


def finding(rule: str, severity: Severity, *causes: Cause) -> Finding:
    return Finding(rule=rule, where="", severity=severity, title=f"{rule} spoke.", causes=causes)


TOO_HIGH = Cause(
    text="The learning rate is too high.",
    fix="Lower it.",
    score=0.9,
    evidence="The loss rose.",
    name="learning-rate-too-high",
)


def section(document: Document, name: str) -> Section:
    return next(s for s in document.sections if s.id == name)


@pytest.fixture
def watched(fake_run: Callable[..., Run]) -> Run:
    run = fake_run()
    watch(run, "fine-tuning", RULES, step=100)
    watch(run, "backbone", RULES[:1] + RULES[3:], step=0)
    return run


def test_every_rule_stands_in_its_part(watched: Run) -> None:
    parts = section(build_document(watched), "watched").blocks
    assert all(isinstance(part, FoldedTable) for part in parts)
    assert [part.summary for part in parts] == [  # type: ignore[union-attr]
        "Backbone: 1 of 3 rules judged; none spoke",
        "Fine-tuning: 2 of 5 rules judged 101 steps; 1 spoke; 1 failed",
    ]
    tuned: Any = parts[1]
    assert [[cell.text for cell in row] for row in tuned.table.rows] == [
        ["Loss not decreasing", "judged", "2 findings"],
        ["Dead relu", "failed", "KeyError: <b>x</b>"],
        ["All zero", "judged", "nothing to tell"],
        ["Batch norm drift", "could not judge", "The network has no BatchNorm."],
        ["Batch norm small batch", "could not judge", "The network has no BatchNorm."],
    ]
    assert tuned.brief == (
        ("Loss not decreasing", "2 findings"),
        ("Dead relu", "KeyError: <b>x</b>"),
        ("Batch norm drift and Batch norm small batch", "The network has no BatchNorm."),
    )


def test_a_page_folds_the_rules_and_paper_leaves_the_silent_out(watched: Run) -> None:
    document = build_document(watched)
    page = render_html(document)
    folded = page.split('<details class="block folded">')
    assert len(folded) == 3 and "All zero" in folded[2] and "<b>x</b>" not in folded[2]
    reader = pypdf.PdfReader(io.BytesIO(render_pdf(document)))
    text = " ".join(" ".join(p.extract_text() for p in reader.pages).split())
    part = text[text.index("Fine-tuning: 2 of 5") :]
    assert "The network has no BatchNorm." in part and "All zero" not in part


def test_rules_that_cannot_be_read_are_told(watched: Run) -> None:
    (watched.watched_folder("fine-tuning") / "rules.json").write_text('{"rules": [1]}')
    (watched.watched_folder("backbone") / "rules.json").unlink()
    document = build_document(watched)
    assert not any(s.id == "watched" for s in document.sections)
    assert any("“backbone” was watched, but no rule" in line for line in document.missing)
    assert any("rules in “fine-tuning” cannot be read" in line for line in document.missing)


def test_the_likeliest_cause_stands_above_the_findings(fake_run: Callable[..., Run]) -> None:
    run = fake_run(
        findings=[finding("DarkPhotos", Severity.WARNING, Cause(text="Night.", fix="-"))]
    )
    inner = watch(run, "fine-tuning", RULES, step=9)
    assert not isinstance(section(build_document(run), "findings").blocks[0], LikelyCauses)
    inner.add_findings([finding("InitialLoss", Severity.INFO, TOO_HIGH)])
    assert not isinstance(section(build_document(run), "findings").blocks[0], LikelyCauses)
    other = Cause(text="The data is shuffled.", fix="Look.", score=0.1)
    inner.add_findings(
        [
            finding("LossNotDecreasing", Severity.WARNING, TOO_HIGH, other),
            finding("ExplodingTensor", Severity.ERROR, TOO_HIGH),
        ]
    )
    document = build_document(run)
    first = section(document, "findings").blocks[0]
    assert isinstance(first, LikelyCauses)
    assert first.title == "Likeliest cause"
    (cause,) = first.causes
    assert (cause.cause, cause.fix) == ("The learning rate is too high.", "Lower it.")
    assert "Loss not decreasing" in cause.explains and "Dark" not in cause.explains
    assert 0.9 < cause.score <= 1
    assert "The learning rate is too high." in render_html(document)
    assert render_pdf(document).startswith(b"%PDF")
