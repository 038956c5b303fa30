from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from houndsight.findings import Cause, Finding, Severity
from houndsight.reporting.insights import judge
from houndsight.reporting.measurements import Measurements, Predictions, read_measurements
from houndsight.reporting.sections.findings import findings as findings_section
from houndsight.reporting.standing import standing, wilson_interval
from houndsight.runs import Run, RunStatus


def test_wilson_interval_of_a_known_case() -> None:
    low, high = wilson_interval(81, 263)  # Newcombe, Statistics in Medicine 17, 1998, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def told(
    run: Run,
    *,
    labels: list[int],
    predicted: list[int],
    classes: int,
    train: float | None = None,
    valid: float | None = None,
    findings: list[Finding] | None = None,
    counts: dict[str, Any] | None = None,
    balanced: float | None = None,
    status: RunStatus = RunStatus.COMPLETED,
) -> Measurements:
    """Measurements with these answers on the test split."""
    n, given, said = len(labels), np.array(labels), np.array(predicted)
    top1 = float((given == said).mean())
    low, high = wilson_interval(top1 * n, n)
    recalls = [float((said[given == c] == c).mean()) for c in set(labels)]
    figures = {"top1": top1, "count": n, "top1_interval": [low, high]}
    figures["balanced_accuracy"] = balanced if balanced is not None else float(np.mean(recalls))
    metrics: dict[str, Any] = {"test": figures}
    metrics |= {} if train is None else {"train": {"top1": train}}
    metrics |= {} if valid is None else {"valid": {"top1": valid}}
    return Measurements(
        run=run,
        status=status,
        reason="",
        classes=tuple(f"class {i}" for i in range(classes)),
        results={"metrics": metrics},
        plan={},
        config={},
        environment={},
        stages={},
        findings=findings or [],
        trials=[],
        curves=[],
        counts=counts or {},
        predictions=Predictions(
            ids=np.arange(n),
            paths=[f"{i}.jpg" for i in range(n)],
            splits=np.array(["test"] * n),
            labels=given,
            predicted=said,
            confidence=np.full(n, 0.9, np.float32),
            probabilities=None,
        ),
    )


@pytest.fixture
def run(tmp_path: Any) -> Run:
    return Run.create(tmp_path / "run", kind="run", config={})


def test_good(run: Run) -> None:
    labels = [0, 1] * 100
    verdict = judge(told(run, labels=labels, predicted=[*labels[:-6], 1, 0, 1, 0, 1, 0], classes=2))
    assert verdict.level == "good"
    assert not verdict.remedies
    assert "97.0" in verdict.text and "interval" in verdict.text


def test_naming_only_the_frequent_class_is_poor_and_says_so(run: Run) -> None:
    verdict = judge(told(run, labels=[0] * 60 + [1] * 40, predicted=[0] * 100, classes=2))
    assert verdict.level == "poor"
    assert "no better than always answering “class 0” (60.0" in verdict.text
    causes = " ".join(r.cause for r in verdict.remedies)
    assert "nearly everything" in causes
    assert all(r.fix for r in verdict.remedies)


def test_high_top1_over_rare_classes_is_not_good(run: Run) -> None:
    verdict = judge(told(run, labels=[0] * 190 + [1] * 10, predicted=[0] * 200, classes=2))
    assert verdict.level == "poor"
    assert any("Rare classes" in r.cause for r in verdict.remedies)


def test_few_test_photos_are_not_enough_for_good(run: Run) -> None:
    labels = [0, 1] * 6
    verdict = judge(told(run, labels=labels, predicted=labels, classes=2))
    assert verdict.level == "soso"
    assert "So few photos" in verdict.text
    assert any("Too few photos" in r.cause for r in verdict.remedies)


def half_right(seed: int = 0) -> tuple[list[int], list[int]]:
    random = np.random.default_rng(seed)
    labels = np.tile(np.arange(5), 40)
    wrong = random.random(200) > 0.5
    return labels.tolist(), np.where(wrong, random.integers(0, 5, 200), labels).tolist()


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"train": 0.99}, "memorises"),
        ({"train": 0.6}, "does not fit even"),
        ({"valid": 0.9}, "Validation promised more"),
        ({"counts": {"train": np.full(5, 6)}}, "few photos to learn from"),
        ({}, "features do not tell these classes apart"),
    ],
)
def test_each_cause_is_found(run: Run, more: dict[str, Any], cause: str) -> None:
    labels, predicted = half_right()
    verdict = judge(told(run, labels=labels, predicted=predicted, classes=5, **more))
    assert verdict.level in ("soso", "poor")
    assert any(cause in r.cause for r in verdict.remedies), verdict.remedies


def test_one_confused_pair_is_named(run: Run) -> None:
    labels = [0] * 50 + [1] * 50 + [2] * 50
    predicted = [0] * 50 + [2] * 40 + [1] * 10 + [2] * 50
    verdict = judge(told(run, labels=labels, predicted=predicted, classes=3))
    assert "“class 1” taken for “class 2”" in verdict.remedies[0].cause


def test_an_error_finding_takes_the_trust_and_comes_first(run: Run) -> None:
    leak = Finding(
        rule="DuplicatesAcrossSplits",
        where="",
        severity=Severity.ERROR,
        title="90 test photos are training photos.",
        causes=(Cause(text="Copies.", fix="Delete them."),),
    )
    labels = [0, 1] * 100
    m = told(run, labels=labels, predicted=labels, classes=2, findings=[leak])
    verdict = judge(m)
    assert verdict.level == "soso"
    assert "cannot be trusted" in verdict.text
    assert verdict.remedies[0].fix == "Delete them."


def test_what_was_set_aside_does_not_spoil_the_verdict(run: Run) -> None:
    finding = Finding(
        rule="SamePhotoUnderTwoLabels",
        where="",
        severity=Severity.ERROR,
        title="1 photo under two labels; both copies are set aside.",
        causes=(Cause(text="A slip.", fix="Keep one."),),
    )
    labels = [0, 1] * 100
    m = told(run, labels=labels, predicted=labels, classes=2, findings=[finding])
    assert judge(m).level == "good"
    assert "trusted" not in judge(m).text
    assert findings_section(m).lead == "One may cost accuracy."
    poor = told(run, labels=labels, predicted=[0] * 200, classes=2, findings=[finding])
    assert not any("label" in r.cause for r in judge(poor).remedies)


@pytest.mark.parametrize(("model", "trusted"), [("linear probe", True), ("fine-tuned", False)])
def test_a_training_that_was_not_kept_does_not_spoil_the_verdict(
    run: Run, model: str, trusted: bool
) -> None:
    finding = Finding(
        rule="LossNotFinite",
        where="fine-tuning: loss",
        severity=Severity.ERROR,
        title="The loss was NaN at step 3.",
        causes=(Cause(text="Too fast.", fix="Slow down."),),
    )
    labels = [0, 1] * 100
    m = told(run, labels=labels, predicted=labels, classes=2, findings=[finding])
    m = replace(m, results={**m.results, "model": model})
    assert ("trusted" not in judge(m).text) == trusted


def test_no_fact_is_listed_twice_as_a_cause(run: Run) -> None:
    labels, predicted = half_right()
    finding = Finding(
        rule="SimilarWithDifferentLabels", where="", severity=Severity.ERROR, title="90 pairs.",
        causes=(Cause(text="One is wrong.", fix="Look."),),
    )  # fmt: skip
    m = told(run, labels=labels, predicted=predicted, classes=5, findings=[finding])
    told_of = [r for r in judge(m).remedies if "90 pairs" in r.cause + r.evidence]
    assert len(told_of) == 1


def test_a_run_writing_its_own_report_counts_as_finished(run: Run) -> None:
    labels = [0, 1] * 100
    m = told(run, labels=labels, predicted=labels, classes=2, status=RunStatus.RUNNING)
    assert m.finished
    assert "not finished" not in judge(m).text


def test_an_unevaluated_run_has_a_verdict_with_a_way_out(fake_run: Callable[..., Run]) -> None:
    verdict = judge(read_measurements(fake_run(status=RunStatus.FAILED)))
    assert verdict.label == "Failed"
    assert "The disk is full" in verdict.text
    assert any("diverged" in r.cause for r in verdict.remedies)
    assert any("run the same command again" in r.fix for r in verdict.remedies)


def test_headline_without_results_comes_from_predictions(fake_run: Callable[..., Run]) -> None:
    run = fake_run()
    run.set_results(metrics={})
    s = standing(read_measurements(run))
    assert s is not None and 0 < s.low < s.top1 < s.high < 1


def test_two_classes_confused_one_way_are_named(run: Run) -> None:
    labels = [0] * 100 + [1] * 100
    predicted = [0] * 97 + [1] * 3 + [0] * 30 + [1] * 70
    first = judge(told(run, labels=labels, predicted=predicted, classes=2)).remedies[0]
    assert "“class 1” taken for “class 0”" in first.cause
    assert "add photos of “class 1”" in first.fix


def test_contradicting_labels_are_a_cause_and_remarks_are_not(run: Run) -> None:
    labels, predicted = half_right()
    causes = (Cause(text="One is wrong.", fix="Look."),)
    for severity, named in ((Severity.WARNING, True), (Severity.INFO, False)):
        finding = Finding(
            rule="SimilarWithDifferentLabels", where="", severity=severity, title="9 pairs (3%).",
            causes=causes,
        )  # fmt: skip
        m = told(run, labels=labels, predicted=predicted, classes=5, findings=[finding])
        found = [r for r in judge(m).remedies if "contradict" in r.cause]
        assert bool(found) == named
        assert not named or found[0].evidence == "9 pairs (3\u00a0%)."


def test_a_fine_tuned_model_is_not_told_to_be_fine_tuned(run: Run) -> None:
    labels, predicted = half_right()
    m = told(run, labels=labels, predicted=predicted, classes=5)
    assert "--minutes" in judge(m).remedies[-1].fix
    m.results["model"] = "fine-tuned"  # type: ignore[index]
    assert "--minutes" not in judge(m).remedies[-1].fix
