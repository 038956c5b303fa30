"""One cause behind many symptoms, and the one that was seen before those that were guessed."""

from __future__ import annotations

from houndsight.debugger.diagnosis import diagnose
from houndsight.findings import Cause, Finding, Severity


def finding(
    rule: str, *causes: tuple[str, float], severity: Severity = Severity.WARNING, where: str = ""
) -> Finding:
    return Finding(
        rule=rule,
        where=where,
        severity=severity,
        title=f"{rule} speaks.",
        causes=tuple(
            Cause(
                text=name, fix=f"mend {name}", score=score, name=name, evidence=f"{rule} of {name}"
            )
            for name, score in causes
        ),
    )


def names(*findings: Finding) -> list[str]:
    return [diagnosis.cause.name for diagnosis in diagnose(findings)]


def test_nothing_found_is_nothing_diagnosed() -> None:
    assert diagnose([]) == []


def test_a_cause_that_several_findings_name_stands_before_the_first_guess_of_one() -> None:
    order = names(
        finding("DeadRelu", ("poor-initialisation", 0.5), ("learning-rate-too-high", 0.4)),
        finding("LossSpike", ("learning-rate-too-high", 0.5)),
        finding("ExplodingTensor", ("learning-rate-too-high", 0.5), ("inputs-not-normalised", 0.4)),
    )
    assert order[0] == "learning-rate-too-high"


def test_many_layers_of_one_rule_count_once() -> None:
    layers = [
        finding("VanishingGradient", ("vanishing-gradient-depth", 0.4), where=f"layer{i}")
        for i in range(50)
    ]
    once, many = diagnose(layers[:1])[0], diagnose(layers)[0]
    assert once.cause.score == many.cause.score
    assert len(many.explains) == 50


def test_what_was_seen_itself_takes_away_what_it_explains() -> None:
    findings = [
        finding("ZeroGradMissing", ("zero-grad-missing", 0.95)),
        finding("LossSpike", ("learning-rate-too-high", 0.8)),
        finding("LearningRateTooHigh", ("learning-rate-too-high", 0.9)),
    ]
    first, second = diagnose(findings)[:2]
    assert first.cause.name == "zero-grad-missing"
    assert second.cause.score < 0.5
    assert ("LossSpike", "") in first.explains


def test_evidence_of_every_finding_stands_under_the_cause() -> None:
    first = diagnose(
        [
            finding("LossSpike", ("learning-rate-too-high", 0.5)),
            finding("DeadRelu", ("learning-rate-too-high", 0.4)),
        ]
    )[0]
    assert "LossSpike of" in first.cause.evidence and "DeadRelu of" in first.cause.evidence


def test_remarks_alone_make_no_strong_diagnosis() -> None:
    remark = finding("GradientNoise", ("learning-rate-too-low", 0.9), severity=Severity.INFO)
    assert all(d.cause.score < 0.3 for d in diagnose([remark]))
