"""The fault suite's parts share nothing, and what a fault's own fix says undoes it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

pytest.importorskip("torch")

from fault_suite import split
from fault_suite.networks import NETWORKS, build
from fault_suite.photos import DATA, by_class, photos
from fault_suite.plan import PARTS, plan, twin
from fault_suite.registry import FAULTS
from fault_suite.repair import CHANGES, repaired
from fault_suite.spec import Spec

WRITTEN = (*split.THIRD_KINDS, *split.UNSEEN_KINDS)
"""The kinds whose own fix was written down with them."""
NOT_QUITE = {
    "adadelta_with_rate_of_adam": {"algorithm": "usual"},
    "bottleneck_of_one_unit": {"bottleneck": None},
    "class_weights_inverted": {"imbalance": 1.0, "balance": "none"},
    "focal_gamma_of_50": {"gamma": 2.0},
    "mixup_labels_reversed": {"mixup": False},
    "one_cycle_peak_high": {"schedule": "constant", "warmup": 0},
    "softmax_between_layers": {"activation": "default"},
    "adam_with_rate_of_sgd": {"algorithm": "usual"},
    "average_not_restored": {"average": None},
    "clipped_before_unscaling": {"grad_scale": 1.0, "unscaled": "before clipping"},
    "cutmix_without_labels": {"cutmix": "none"},
    "accumulation_not_divided": {"accumulation": 1, "batch_size": 32},
    "batch_of_512_for_same_epochs": {"steps": 150},
    "batchnorm_without_running_statistics": {"evaluation_batch": 100},
    "initialisation_normal": {"initialisation": "default"},
    "optimizer_before_head_replaced": {"backbone_factor": 1.0},
    "sgd_with_rate_of_adam": {"algorithm": "usual"},
    "subset_of_sorted_folders": {"subset": "all"},
}
"""What stays as the fault has it, and harms no more."""
RATES = {
    "adadelta_with_rate_of_adam": 1.0,
    "adam_with_rate_of_sgd": 2e-3,
    "sgd_with_rate_of_adam": 0.05,
}
"""Learning rates of an optimizer that is not the healthy training's."""


def first_fitting(kind: str) -> Spec:
    part = "unseen" if kind in split.UNSEEN_KINDS else "tuning"
    group = next(group for group in PARTS[part] if kind in group.kinds)
    runs = (run.spec for run in plan(part) if not run.faulty and run.spec.data in group.data)
    return next(twin(spec) for spec in runs if FAULTS[kind].fits(twin(spec)))


def test_no_kind_network_or_data_set_is_in_two_groups() -> None:
    groups = [group for part in PARTS.values() for group in part]
    for name, known in (("kinds", FAULTS), ("networks", NETWORKS), ("data", DATA)):
        had = [one for group in groups for one in getattr(group, name)]
        assert sorted(had) == sorted(known)


def test_the_first_round_has_every_kind_and_every_combination() -> None:
    runs = list(plan("unseen"))
    first = {run.kind: place for place, run in reversed(list(enumerate(runs))) if run.faulty}
    assert set(first) == set(split.UNSEEN_KINDS)
    assert max(first.values()) < len(runs) / 4
    assert sum(not run.faulty for run in runs) >= 300
    pairs = {run.spec.cell[:2] for run in runs if not run.faulty}
    assert len(pairs) == len(split.UNSEEN_NETWORKS) * len(split.UNSEEN_DATA)


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_fault_s_own_fix_undoes_it(kind: str) -> None:
    healthy = first_fitting(kind)
    faulty = FAULTS[kind].inject(healthy)
    assert faulty != healthy
    assert set(FAULTS[kind].fix) <= set(CHANGES)
    mended = repaired(faulty, FAULTS[kind].fix)
    assert mended is not None
    left = replace(mended, **NOT_QUITE.get(kind, {}))
    if kind in RATES:
        assert left.learning_rate == RATES[kind]
        left = replace(left, learning_rate=healthy.learning_rate)
    assert left.learning_rate == pytest.approx(healthy.learning_rate)
    assert replace(left, learning_rate=healthy.learning_rate) == healthy


@pytest.mark.parametrize("kind", WRITTEN)
def test_normalising_or_another_rate_undoes_no_fault_of_another_name(kind: str) -> None:
    healthy = first_fitting(kind)
    faulty = FAULTS[kind].inject(healthy)
    for change in ({"inputs.normalise": True}, {"evaluation.preprocessing": "as in training"}):
        if not set(change) & set(FAULTS[kind].fix):
            assert repaired(faulty, change) != healthy


@pytest.mark.parametrize("network", split.UNSEEN_NETWORKS)
@pytest.mark.parametrize("name", split.UNSEEN_DATA)
def test_a_network_takes_the_photos_of_a_data_set(network: str, name: str) -> None:
    loaded = photos(name, "transfer", 0)
    spec = replace(first_fitting("inputs_random"), network=network, data=name)
    logits = build(spec, loaded.size, loaded.classes)(loaded.images[:4])
    assert logits.shape == (4, loaded.classes)


def test_a_sorted_list_s_last_photos_are_of_the_last_classes() -> None:
    cut = by_class(photos("roads", "scratch", 0))
    assert set(cut.valid_labels.tolist()) == {6, 7}
    assert set(cut.labels.tolist()) == set(range(7))
