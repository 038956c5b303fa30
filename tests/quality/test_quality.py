"""Checks that need features or predictions: they speak up where they should, and only there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.errors import DataError
from houndsight.findings import Finding, Severity
from houndsight.quality import (
    Group,
    Result,
    category_groups,
    cluster_groups,
    disputed_labels,
    embedding_duplicates,
    explain,
    failing_groups,
    find_disputes,
    slices,
)
from houndsight.quality.significance import at_least, holm, stratified_excess
from houndsight.quality.similarity import near_duplicates

Array = np.ndarray[Any, Any]
Predict = Callable[..., tuple[Array, Array]]


def predictions(labels: Array, classes: int, *, top1: float = 0.9, seed: int = 0) -> Array:
    """Calibrated probabilities that are right in about `top1` of the photos."""
    random = np.random.default_rng(seed)
    right = random.permutation(len(labels)) < round(top1 * len(labels))
    others = (labels + random.integers(1, classes, len(labels))) % classes
    said = np.where(right, labels, others)
    probabilities = np.full((len(labels), classes), (1 - top1) / (classes - 1))
    probabilities[np.arange(len(labels)), said] = top1
    return probabilities


def check(findings: list[Finding]) -> list[Finding]:
    """Every finding has figures in its title, a cause with a fix, and survives JSON."""
    for finding in findings:
        assert any(character.isdigit() for character in finding.title)
        assert finding.title.endswith(".")
        assert all(cause.text and cause.fix for cause in finding.causes)
        json.dumps(finding.to_json(), allow_nan=False)
    return findings


# -- disputed labels --------------------------------------------------------------------------


def confident(labels: Array, classes: int, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += 7
    powers = np.exp(logits)
    rows: Array = powers / powers.sum(1, keepdims=True)
    return rows


def test_changed_labels_are_disputed_and_others_are_not() -> None:
    truth = np.repeat(np.arange(6), 50)
    given_labels = truth.copy()
    changed = np.random.default_rng(1).choice(300, 15, replace=False)
    given_labels[changed] = (truth[changed] + 1) % 6
    found = find_disputes(confident(truth, 6), given_labels)
    rows = {dispute.row for dispute in found}
    assert len(rows & set(changed)) >= 13
    assert len(rows - set(changed)) <= 1
    assert all(d.suggested == truth[d.row] for d in found if d.row in changed)


def test_one_finding_names_the_photos() -> None:
    truth = np.repeat(np.arange(4), 40)
    labels = truth.copy()
    labels[:6] = 1
    paths = [f"{i}.jpg" for i in range(160)]
    splits = ["test" if i < 2 else "train" for i in range(160)]
    sure = np.full((160, 4), 0.005)
    sure[np.arange(160), truth] = 0.985
    found = check(
        disputed_labels(sure, labels, paths=paths, classes=["a", "b", "c", "d"], splits=splits)
    )
    assert [f.rule for f in found] == ["DisputedLabels"]
    assert "6 of 160 photos (3.8%), 2 of them test photos" in found[0].title
    assert set(found[0].examples) == {f"{i}.jpg" for i in range(6)}
    assert found[0].plot["photos"][0]["suggested"] == "a"
    assert found[0].severity == Severity.WARNING


def test_good_labels_are_not_disputed() -> None:
    labels = np.repeat(np.arange(6), 50)
    for probabilities in (confident(labels, 6), predictions(labels, 6, top1=0.6)):
        assert len(find_disputes(probabilities, labels)) <= 3


def test_disputes_survive_odd_data() -> None:
    assert find_disputes(np.ones((3, 2)) / 2, np.zeros(3, int)) == []
    assert find_disputes(np.zeros((0, 2)), np.zeros(0, int)) == []
    labels = np.repeat([0, 3], 30)  # classes without photos
    assert find_disputes(confident(labels, 5), labels) == []
    with pytest.raises(DataError, match="one label a row"):
        find_disputes(np.ones((3, 2)) / 2, np.zeros(2, int))


# -- look-alikes ------------------------------------------------------------------------------


def scenes(count: int = 300, width: int = 64) -> Array:
    """Features of photos in ten tight classes, so that a cosine alone would not tell."""
    random = np.random.default_rng(0)
    centres = np.abs(random.normal(size=(10, width)))
    rows = centres[np.arange(count) % 10] + 0.4 * np.abs(random.normal(size=(count, width)))
    return rows.astype(np.float32)


def test_the_same_scene_is_found_among_classes_that_look_alike() -> None:
    features = scenes()
    features[250] = features[30] * 1.7 + 0.01
    features[271] = features[44] + 0.01
    pairs = near_duplicates(features)
    assert {(p.first, p.second) for p in pairs} == {(30, 250), (44, 271)}


def test_wanted_rows_give_the_same_pairs() -> None:
    features = scenes(2500)
    for copy, original in ((2400, 2), (2410, 2409), (7, 5)):
        features[copy] = features[original] + 0.01
    every = {(p.first, p.second) for p in near_duplicates(features)}
    assert every == {(2, 2400), (2409, 2410), (5, 7)}
    some = near_duplicates(features, np.arange(2300, 2500))
    assert sorted((p.first, p.second) for p in some) == [(2, 2400), (2409, 2410)]


def test_a_burst_of_many_frames_counts() -> None:
    features = scenes()
    features[100:130] = features[100] + 0.005 * np.random.default_rng(1).random((30, 64))
    assert len(near_duplicates(features)) >= 30 * 29 / 2


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_photos_break_nothing(count: int) -> None:
    assert near_duplicates(np.eye(5, dtype=np.float32)[:count]) == []


def test_leakage_and_labels_that_disagree_come_first() -> None:
    features = scenes()
    features[250] = features[30] + 0.01
    features[271] = features[44] + 0.01
    features[61] = features[51] + 0.01
    labels = np.arange(300) % 10
    labels[271] = 5
    splits = ["valid" if i == 250 else "train" for i in range(300)]
    found = check(
        embedding_duplicates(
            features,
            labels=labels,
            splits=splits,
            paths=[f"{i}.jpg" for i in range(300)],
            classes=[f"class {i}" for i in range(10)],
        )
    )
    rules = ["SimilarAcrossSplits", "SimilarWithDifferentLabels", "SimilarPhotos"]
    assert [f.rule for f in found] == rules
    assert [f.count for f in found] == [1, 1, 1]
    assert "30.jpg (class 0, train) and 250.jpg (class 0, valid)" in found[0].causes[0].evidence


def test_different_photos_are_no_finding() -> None:
    names = {"paths": [""] * 300, "classes": ["a"] * 10, "splits": ["train"] * 300}
    assert embedding_duplicates(scenes(), labels=np.arange(300) % 10, **names) == []


# -- failing groups ---------------------------------------------------------------------------


def test_a_failing_camera_is_found_and_the_others_are_not() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 600)
    cameras = random.integers(0, 6, 600)
    wrong = random.random(600) < np.where(cameras == 3, 0.45, 0.08)
    predicted = np.where(wrong, (labels + 1) % 5, labels)
    groups = category_groups("camera", [f"camera {c}" for c in cameras])
    paths = [f"{i}.jpg" for i in range(600)]
    found = check(failing_groups(predicted, labels, groups, paths=paths))
    assert [f.where for f in found] == ["camera: camera 3"]
    assert set(found[0].examples) <= {paths[i] for i in np.flatnonzero(wrong & (cameras == 3))}


def test_a_group_of_hard_classes_is_no_failing_group() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 6, 900)
    wrong = random.random(900) < np.where(labels < 2, 0.5, 0.03)
    predicted = np.where(wrong, (labels + 1) % 6, labels)
    rooms = np.where(labels < 2, random.random(900) < 0.9, random.random(900) < 0.1)
    groups = category_groups("room", [str(r) for r in rooms])
    assert failing_groups(predicted, labels, groups, paths=[""] * 900) == []


def test_false_alarms_are_rare() -> None:
    alarms = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 4, 300)
        predicted = np.where(random.random(300) < 0.3, (labels + 1) % 4, labels)
        groups = category_groups("day", [str(d) for d in random.integers(0, 15, 300)])
        groups += slices("brightness", random.random(300))
        alarms += bool(failing_groups(predicted, labels, groups, paths=[""] * 300))
    assert alarms <= 2


def test_dark_photos_are_a_slice() -> None:
    random = np.random.default_rng(2)
    brightness = random.uniform(0, 255, 500)
    labels = random.integers(0, 3, 500)
    wrong = random.random(500) < np.where(brightness < 50, 0.5, 0.05)
    predicted = np.where(wrong, (labels + 1) % 3, labels)
    groups = slices("brightness", brightness)
    found = check(failing_groups(predicted, labels, groups, paths=[""] * 500))
    assert len(found) == 1 and "brightness at most" in found[0].title
    assert "light" in found[0].causes[0].fix
    assert slices("size", np.ones(500)) == []
    assert slices("size", np.full(500, np.nan)) == []


def test_clusters_are_groups_of_look_alikes() -> None:
    groups = cluster_groups(scenes(600), clusters=10)
    assert sum(len(group.rows) for group in groups) == 600
    assert cluster_groups(scenes(30)) == []


def test_no_groups_no_findings() -> None:
    nothing = np.zeros(0, int)
    assert failing_groups(nothing, nothing, [], paths=[]) == []
    whole = [Group("all", "all", np.arange(20))]
    assert failing_groups(np.ones(20, int), np.zeros(20, int), whole, paths=[""] * 20) == []


# -- tests ------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert at_least(0, 10, 0.3) == 1


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=2))
def test_a_chance_is_a_chance(rows: list[tuple[bool, bool, int]]) -> None:
    wrong, inside, strata = (np.array(column) for column in zip(*rows, strict=True))
    expected, p_value = stratified_excess(wrong, inside, strata)
    assert 0 <= p_value <= 1
    assert 0 <= expected <= inside.sum() + 1e-9


def test_one_stratum_is_fishers_exact_test() -> None:
    from scipy.stats import fisher_exact

    wrong = np.array([1] * 7 + [0] * 5 + [1] * 4 + [0] * 20, bool)
    inside = np.array([1] * 12 + [0] * 24, bool)
    _, p_value = stratified_excess(wrong, inside, np.zeros(36, int))
    assert p_value == pytest.approx(fisher_exact([[7, 5], [4, 20]], "greater").pvalue)


# -- explanations -----------------------------------------------------------------------------

CLASSES = [f"class {i}" for i in range(8)]
LABELS = np.repeat(np.arange(8), 40)


def result(probabilities: Array, labels: Array = LABELS, **options: Any) -> Result:
    paths = [f"{i}.jpg" for i in range(len(labels))]
    given_options = {"classes": CLASSES, "paths": paths} | options
    return Result(probabilities=probabilities, labels=labels, **given_options)


def rules(found: list[Finding]) -> list[str]:
    return [finding.rule for finding in check(found)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("top1", [0.75, 0.9, 0.98])
def test_healthy_results_are_quiet(seed: int, top1: float) -> None:
    probabilities = predictions(LABELS, 8, top1=top1, seed=seed)
    healthy = result(probabilities, train_metrics={"top1": 0.98}, train_counts=[100] * 8)
    assert rules(explain(healthy)) == []


def test_guessing_is_an_error() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(8, 20.0), 320)
    found = explain(result(probabilities, train_metrics={"top1": 0.99}))
    assert found[0].rule == "NoBetterThanGuessing"
    assert found[0].severity == Severity.ERROR
    assert "12.5%" in found[0].title


def test_underfitting_and_overfitting_need_the_training_figures() -> None:
    poor = predictions(LABELS, 8, top1=0.5)
    assert rules(explain(result(poor, train_metrics={"top1": 0.52}))) == ["UnderfittedModel"]
    found = explain(result(poor, train_metrics={"top1": 0.99}, train_counts=[6] * 8))
    assert rules(found) == ["OverfittedModel"]
    assert "6 training photos" in found[0].causes[0].evidence
    assert rules(explain(result(poor))) == []


def test_wrong_confidence_is_found() -> None:
    sure = predictions(LABELS, 8, top1=0.99)
    shuffled = LABELS.copy()
    shuffled[::4] = (shuffled[::4] + np.arange(80) % 7 + 1) % 8
    found = explain(result(sure, shuffled))
    assert rules(found) == ["PoorCalibration"]
    assert "more confident than it is right" in found[0].causes[0].text


def test_few_photos_do_not_make_poor_calibration() -> None:
    alarms = 0
    for seed in range(20):
        labels = np.arange(40) % 8
        alarms += bool(explain(result(predictions(labels, 8, top1=0.7, seed=seed), labels)))
    assert alarms <= 1


def test_a_weak_class_with_few_training_photos() -> None:
    probabilities = predictions(LABELS, 8, top1=0.95)
    rows = np.flatnonzero(LABELS == 3)[:24]
    probabilities[rows] = 0.05 / 7
    probabilities[rows, rows % 3 + 4] = 0.95
    counts = [100] * 8
    counts[3] = 9
    found = check(explain(result(probabilities, train_counts=counts)))
    weak = [f for f in found if f.rule == "WeakClass"]
    assert [f.where for f in weak] == ["class 3"]
    assert "too few training photos" in weak[0].causes[0].text
    assert "It has 9" in weak[0].causes[0].evidence
    assert weak[0].causes[-1].evidence == "Its 25 mistakes went to 4 other classes."


def test_a_weak_class_of_two_is_not_called_varied() -> None:
    labels = np.arange(200) % 2
    rows = np.flatnonzero(labels == 1)[:34]
    probabilities = np.where(labels[:, None] == np.arange(2), 0.95, 0.05)
    probabilities[rows] = [0.95, 0.05]
    found = explain(result(probabilities, labels))
    (weak,) = (f for f in found if f.rule == "WeakClass")
    assert [c.text for c in weak.causes] == ["class 1 looks like class 0 to the model."]
    assert "34 of 34 mistakes" in weak.causes[0].evidence


def test_two_confused_classes() -> None:
    probabilities = predictions(LABELS, 8, top1=0.95)
    for given_class, said in ((1, 2), (2, 1)):
        rows = np.flatnonzero(given_class == LABELS)[:14]
        probabilities[rows] = 0.4 / 7
        probabilities[rows, said] = 0.6
    found = explain(result(probabilities))
    pairs = [f for f in check(found) if f.rule == "ConfusedClasses"]
    assert [f.where for f in pairs] == ["class 1 / class 2"]
    assert "14 of class 1 were called class 2" in pairs[0].causes[0].evidence
    assert "look alike" in pairs[0].causes[0].text


def test_nothing_to_judge_is_no_finding() -> None:
    assert explain(result(np.zeros((0, 8)), np.zeros(0, int))) == []
    two = np.array([0, 1] * 3)
    assert explain(result(predictions(two, 2), two, classes=["a", "b"])) == []
