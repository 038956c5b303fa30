"""The head search, cross-validation and the nested search, on features made up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from houndsight.errors import DataError
from houndsight.tuning import CategoricalParameter, ContinuousParameter, TuningSettings
from houndsight.tuning.cross_validation import out_of_fold_probabilities, tune_by_cross_validation
from houndsight.tuning.folds import fold_numbers
from houndsight.tuning.head_space import first_guess, head_parameters, head_space, sgd_space
from houndsight.tuning.heads import search_heads
from houndsight.tuning.nested import NestedResult, nested_search

Array = np.ndarray[Any, Any]


def made_up(
    counts: list[int], *, width: int = 24, distance: float = 1.2, seed: int = 0
) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    random.shuffle(labels)
    centres = np.random.default_rng(99).normal(size=(len(counts), width))
    features = distance * centres[labels] + random.normal(size=(len(labels), width)) + 3
    return features.astype(np.float32), labels


def test_the_best_head_comes_calibrated_with_its_trials(tmp_path: Path) -> None:
    features, labels = made_up([40, 40, 40])
    valid = made_up([20, 20, 20], seed=1)
    log = tmp_path / "trials.jsonl"
    settings = TuningSettings(trials=8)
    found = search_heads(features, labels, 3, valid=valid, settings=settings, log=log)
    values = [record.value for record in found.result.trials]
    assert found.best.value == min(value for value in values if value is not None)
    assert found.fitted.metrics["nll"] == found.best.value
    assert found.fitted.metrics["top1"] > 0.8
    assert found.fitted.temperature > 0
    assert found.parameters == found.fitted.parameters
    assert len(log.read_text().splitlines()) == 8


def test_a_resumed_search_ends_with_the_same_head(tmp_path: Path) -> None:
    features, labels = made_up([30, 30])
    valid = made_up([15, 15], seed=1)
    log = tmp_path / "trials.jsonl"
    settings = TuningSettings(trials=6)
    whole = search_heads(features, labels, 2, valid=valid, settings=settings, log=log)
    for kept in (6, 3):
        lines = log.read_text().splitlines()[:kept]
        log.write_text("".join(f"{line}\n" for line in lines))
        again = search_heads(features, labels, 2, valid=valid, settings=settings, log=log)
        assert again.best.number == whole.best.number
        assert again.fitted.weight.equal(whole.fitted.weight)


def test_the_original_space_is_searched_with_sgd() -> None:
    features, labels = made_up([40, 40, 40])
    settings = TuningSettings(trials=3, solver="sgd")
    valid = made_up([20, 20, 20], seed=1)
    found = search_heads(features, labels, 3, valid=valid, settings=settings)
    parameters = found.result.trials[1].parameters
    assert set(parameters) == {"learning_rate", "batch_size", "weight_decay", "label_smoothing"}
    assert found.fitted.metrics["top1"] > 0.7


def test_imbalance_is_treated_only_where_there_is_some() -> None:
    even, uneven = np.repeat([0, 1], 20), np.repeat([0, 1], [40, 10])
    for space in (head_space, sgd_space):
        assert "balance" not in space(even)
        balance = space(uneven)["balance"]
        assert isinstance(balance, CategoricalParameter)
        assert set(balance.values) == {"none", "weights", "logit_adjustment", "sampling"}


def test_the_objective_chooses() -> None:
    features, labels = made_up([150, 15], distance=0.35)
    valid = made_up([150, 15], distance=0.35, seed=1)
    found = {}
    for objective in ("nll", "balanced_accuracy"):
        settings = TuningSettings(trials=14, objective=objective)
        search = search_heads(features, labels, 2, valid=valid, settings=settings)
        found[objective] = search.fitted
    assert found["nll"].metrics["nll"] <= found["balanced_accuracy"].metrics["nll"]
    gain = (found["balanced_accuracy"].metrics, found["nll"].metrics)
    assert gain[0]["balanced_accuracy"] > gain[1]["balanced_accuracy"]
    assert found["balanced_accuracy"].parameters.balance != "none"


def test_weight_decay_means_the_same_for_longer_features() -> None:
    features, _ = made_up([20, 20])
    given = {"weight_decay": 0.01}
    plain = head_parameters(given | {"normalise": "l2"}, features)
    standardised = head_parameters(given | {"normalise": "standardise"}, features)
    assert standardised.weight_decay == pytest.approx(plain.weight_decay * features.shape[1])


def test_the_first_guess_fits_any_part_of_the_space() -> None:
    space = {"weight_decay": ContinuousParameter(0.5, 0.9)}
    assert first_guess(space, 100) == [{"weight_decay": 0.5}]
    assert first_guess({"other": ContinuousParameter(0.5, 0.9)}, 100) == []


# -- folds ------------------------------------------------------------------------------------


def test_folds_keep_groups_together_and_classes_spread() -> None:
    labels = np.repeat([0, 1, 2], 40)
    groups = np.arange(120) // 4
    numbers = fold_numbers(labels, 5, groups=groups, seed=3)
    for group in range(30):
        assert len(set(numbers[groups == group])) == 1
    table = np.array([np.bincount(labels[numbers == f], minlength=3) for f in range(5)])
    assert table.min() >= 4
    assert not np.array_equal(numbers, fold_numbers(labels, 5, groups=groups, seed=4))


def test_folds_are_fewer_with_few_groups_and_impossible_with_one() -> None:
    labels = np.array([0, 1] * 6)
    assert fold_numbers(labels, 5, groups=np.arange(12) % 2).max() == 1
    assert fold_numbers(np.array([0, 0, 1]), 5).max() == 1
    with pytest.raises(DataError, match="1 groups"):
        fold_numbers(labels, 5, groups=np.zeros(12, int))
    with pytest.raises(DataError, match="largest class has 1"):
        fold_numbers(np.arange(5), 5)


def test_out_of_fold_probabilities_have_not_seen_the_photo() -> None:
    features, labels = made_up([60, 60], distance=0.0)  # nothing to learn but by heart
    tuned = tune_by_cross_validation(
        features, labels, 2, settings=TuningSettings(trials=3), folds=3
    )
    assert tuned.metrics["top1"] < 0.65
    probabilities = out_of_fold_probabilities(features, labels, 2, tuned.head)
    assert (probabilities.argmax(1) == labels).mean() < 0.65
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)


# -- nested -----------------------------------------------------------------------------------

SMALL = TuningSettings(trials=3)


def nested(features: Array, labels: Array, **options: Any) -> NestedResult:
    given: dict[str, Any] = {"settings": SMALL, "folds": 3, "inner_folds": 2, "repeats": 2}
    return nested_search(features, labels, int(labels.max()) + 1, **(given | options))


def test_nested_figures_come_with_their_spread() -> None:
    features, labels = made_up([30, 30, 30], distance=0.6)
    found = nested(features, labels)
    assert found.probabilities.shape == (90, 3)
    assert found.by_repeat.shape == (2, 90, 3)
    top1 = found.metrics["top1"]
    assert 0 <= top1.low < top1.mean < top1.high <= 1
    means = [(p.argmax(1) == labels).mean() for p in found.by_repeat]
    assert top1.mean == pytest.approx(np.mean(means))
    assert found.to_json()["top1_interval"] == [top1.low, top1.high]
    assert json.dumps(found.to_json())
    assert found.fitted.temperature == found.chosen.temperature
    assert "2 times 3 folds" in found.protocol


def test_nested_figures_do_not_flatter_when_there_is_nothing_to_learn() -> None:
    features, labels = made_up([60, 60], distance=0.0, width=200)
    found = nested(features, labels, settings=TuningSettings(trials=6))
    assert 0.35 < found.metrics["top1"].mean < 0.65


def test_groups_are_respected_at_both_levels() -> None:
    # each group of four is one scene with a label of its own; a leak would give it away
    random = np.random.default_rng(0)
    scenes = random.normal(size=(30, 80))
    labels = np.repeat(random.integers(0, 2, 30), 4)
    groups = np.repeat(np.arange(30), 4)
    features = (scenes[groups] + 0.05 * random.normal(size=(120, 80))).astype(np.float32)
    leaking = nested(features, labels)
    honest = nested(features, labels, groups=groups)
    assert honest.metrics["top1"].mean + 0.15 < leaking.metrics["top1"].mean
    assert honest.chosen.metrics["top1"] + 0.1 < leaking.chosen.metrics["top1"]


def test_a_nested_search_cut_off_goes_on_from_its_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = made_up([20, 20])
    keep, log = tmp_path / "folds", tmp_path / "trials.jsonl"
    whole = nested(features, labels, keep=keep, log=log)
    files = sorted(keep.iterdir())
    assert len(files) == 6
    files[0].unlink()
    files[1].write_bytes(b"torn")
    calls = []
    original = nested.__globals__["nested_search"].__globals__["_Job"]._predict
    module = "houndsight.tuning.nested._Job._predict"
    monkeypatch.setattr(module, lambda *a: (calls.append(1), original(*a))[1])
    again = nested(features, labels, keep=keep, log=log)
    assert len(calls) == 2
    assert np.array_equal(again.by_repeat, whole.by_repeat)
    assert again.fitted.weight.equal(whole.fitted.weight)
    nested(features, labels, keep=keep, settings=TuningSettings(trials=2))
    assert len(calls) == 8  # other settings, other folds


def test_the_time_limit_drops_repeats() -> None:
    features, labels = made_up([20, 20])
    assert nested(features, labels, repeats=5, seconds=0.0).repeats == 1


def test_a_class_with_one_photo_breaks_nothing() -> None:
    features, labels = made_up([20, 20, 1])
    found = nested(features, labels)
    assert np.isfinite(found.metrics["nll"].mean)
