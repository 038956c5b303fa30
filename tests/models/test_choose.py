"""The probe and the choice of a backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from houndsight.data.folder import Split
from houndsight.errors import WeightsError
from houndsight.models import choose
from houndsight.models.backbone import Backbone, build_backbone
from houndsight.models.choose import choose_backbone
from houndsight.models.features import FeatureCache
from houndsight.models.probe import STRENGTHS, leave_one_out, stratified


def test_the_closed_form_is_what_leaving_out_gives() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 8)
    features = random.normal(size=(24, 6)) + 0.8 * np.eye(6)[labels]
    centred = features - features.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    targets = np.eye(3)[labels] - np.eye(3)[labels].mean(axis=0)
    best = []
    for strength in STRENGTHS:
        right = []
        for left in range(24):
            kept = np.arange(24) != left
            gram = centred[kept].T @ centred[kept] + strength * np.eye(6)
            weights = np.linalg.solve(gram, centred[kept].T @ targets[kept])
            right.append((centred[left] @ weights).argmax() == labels[left])
        best.append(right)
    expected = best[int(np.argmax(np.sum(best, axis=1)))]
    assert leave_one_out(features, labels).tolist() == expected


def test_a_probe_tells_signal_from_noise() -> None:
    random = np.random.default_rng(1)
    labels = np.arange(300) % 5
    noise = random.normal(size=(300, 40))
    assert leave_one_out(noise, labels).mean() < 0.4
    assert leave_one_out(noise + 3 * np.eye(40)[labels], labels).mean() > 0.9


def test_features_that_say_nothing_score_by_chance() -> None:
    labels = np.arange(300) % 5
    for constant in (0.0, 0.3):
        assert leave_one_out(np.full((300, 40), constant), labels).mean() <= 0.2


def test_a_subsample_holds_every_class_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    chosen = stratified(labels, 32)
    assert np.bincount(labels[chosen]).tolist() == [20, 10, 2]
    assert set(chosen) <= set(stratified(labels, 64))


@pytest.fixture
def loader(resnet18_state: dict[str, torch.Tensor], small_backbone: Backbone) -> Callable:
    """`good` sees photos; `blind` has features that are the same for all."""

    def load(name: str) -> Backbone:
        if name == "missing":
            raise WeightsError("There are no weights of missing.")
        state = dict(resnet18_state)
        if name == "blind":
            state = {k: torch.zeros_like(v) if "weight" in k else v for k, v in state.items()}
        backbone = build_backbone("resnet18", state, preprocessing=small_backbone.preprocessing)
        backbone.name = "resnet18"
        return backbone

    return load


@pytest.fixture(autouse=True)
def _torch_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling through OpenVINO takes longer than these tests should."""
    import houndsight.models.features as features
    import houndsight.models.runtime as runtime

    compile_trunk = runtime.compile_trunk

    def through_torch(backbone, cut="features", name="auto", **options):  # type: ignore[no-untyped-def]
        return compile_trunk(backbone, cut, "torch", **options)

    monkeypatch.setattr(runtime, "compile_trunk", through_torch)
    monkeypatch.setattr(features, "compile_trunk", through_torch)


def test_the_better_backbone_wins_and_nothing_is_computed_twice(
    hashed_photos: Callable[..., Split], loader: Callable, tmp_path: Path
) -> None:
    split = hashed_photos({"red": 20, "blue": 20, "green": 20})
    cache = FeatureCache(tmp_path / "cache")
    choice = choose_backbone(
        ["blind", "missing", "good"], split, seconds=3_600, load=loader, cache=cache
    )
    assert choice.name == "good"
    assert [c.name for c in choice.ranking] == ["good", "blind", "missing"]
    assert "points" in choice.text and "missing was left out" in choice.text
    assert choice.to_json()[0]["top1"] > choice.to_json()[1]["top1"]
    assert cache.features(loader("good"), split).computed == 0


def test_a_slow_backbone_is_left_out_with_a_reason(
    hashed_photos: Callable[..., Split],
    loader: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = iter([2.0, 100.0])
    monkeypatch.setattr(choose, "measure_throughput", lambda *args, **options: next(rates))
    choice = choose_backbone(
        ["slow", "fast"],
        hashed_photos({"red": 5, "blue": 5}),
        seconds=60,
        photos=10_000,
        load=loader,
        cache=FeatureCache(tmp_path / "cache"),
    )
    assert choice.name == "fast"
    assert "all 10,000 photos would take 83.3 minutes" in choice.text
    assert choice.ranking[0].top1 is None


def test_a_probe_that_goes_slower_than_measured_stays_within_its_time(
    hashed_photos: Callable[..., Split],
    loader: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Measured at 1,000 photos/s each, they go at 25: of 600 photos some 200 fit into 20 s."""
    now = [0.0]

    class Slow:
        def __init__(self) -> None:
            self.known: dict[int, set[int]] = {}

        def features(self, backbone: Backbone, split: Split, **_: object) -> Table:
            known = self.known.setdefault(id(backbone), set())
            now[0] += len(set(split.ids.tolist()) - known) / 25
            known |= set(split.ids.tolist())
            return Table(split)

    class Table:
        def __init__(self, split: Split) -> None:
            self.valid = np.ones(len(split), bool)

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            return np.random.default_rng(0).normal(size=(int(rows.sum()), 8))

    monkeypatch.setattr(choose, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(choose, "measure_throughput", lambda *_a, **_o: 1_000.0)
    split = hashed_photos({"red": 300, "blue": 300})
    choice = choose_backbone(
        ["good", "blind"], split, seconds=20, photos=600, load=loader, cache=Slow()
    )
    assert now[0] <= 20
    assert 150 <= choice.ranking[0].photos < 600


def test_where_there_is_time_for_one_it_is_the_quickest(
    hashed_photos: Callable[..., Split],
    loader: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]

    def load(name: str) -> Backbone:
        now[0] += 50
        return loader(name)

    monkeypatch.setattr(choose, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(choose, "measure_throughput", lambda *_a, **_o: 1.0)
    choice = choose_backbone(
        ["resnet50", "resnet18", "efficientnet_lite0"],
        hashed_photos({"red": 5, "blue": 5}),
        seconds=60,
        load=load,
        cache=FeatureCache(tmp_path / "cache"),
    )
    assert choice.name == "efficientnet_lite0"
    assert "resnet50 was left out: There was no time left to try it." in choice.text


def test_one_candidate_needs_no_probe(hashed_photos: Callable[..., Split]) -> None:
    def never(name: str) -> Backbone:
        raise AssertionError

    choice = choose_backbone(["only"], hashed_photos({"a": 2, "b": 2}), seconds=1, load=never)
    assert choice.name == "only" and "only backbone" in choice.text


def test_no_candidate_is_an_error_with_a_way_out(hashed_photos: Callable[..., Split]) -> None:
    split = hashed_photos({"a": 2, "b": 2})
    with pytest.raises(WeightsError, match="HOUNDSIGHT_WEIGHTS"):
        choose_backbone([], split, seconds=1)
