"""Invariants of drawing: a partition, groups whole, stratified, the same for the same seed."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.data.apportion import apportion
from houndsight.data.split import folds, photo_keys, units_of
from houndsight.errors import DataError

Integers = npt.NDArray[np.int64]
SHARES = [0.7, 0.15, 0.15]


def keys(count: int, seed: int = 0) -> npt.NDArray[np.uint64]:
    return photo_keys([f"{n}.jpg" for n in range(count)], seed)


labels_strategy = st.lists(st.integers(0, 6), min_size=1, max_size=200).map(
    lambda values: np.unique(values, return_inverse=True)[1].astype(np.int64)
)


@st.composite
def labels_and_groups(draw: st.DrawFn) -> tuple[Integers, Integers]:
    labels = draw(labels_strategy)
    size = len(labels)
    groups = draw(st.lists(st.integers(-1, size // 3), min_size=size, max_size=size))
    return labels, np.array(groups, np.int64)


def assert_whole(groups: Integers, part: Integers) -> None:
    for group in np.unique(groups[groups >= 0]):
        assert len(np.unique(part[groups == group])) == 1


@given(labels_strategy, st.integers(0, 2**32 - 1))
def test_photos_that_stand_alone_are_stratified_within_one_photo(
    labels: Integers, seed: int
) -> None:
    part = apportion(labels, np.arange(len(labels)), SHARES, keys(len(labels), seed))
    for label in np.unique(labels):
        counts = np.bincount(part[labels == label], minlength=3)
        assert (np.abs(counts - np.array(SHARES) * counts.sum()) < 1 + 1e-6).all()
        assert counts[0] >= 1


@given(labels_and_groups(), st.integers(0, 99))
def test_groups_stay_whole_and_every_class_is_trained(
    data: tuple[Integers, Integers], seed: int
) -> None:
    labels, groups = data
    units = units_of(len(labels), groups)
    part = apportion(labels, units, SHARES, keys(len(labels), seed))
    assert set(part.tolist()) <= {0, 1, 2}
    assert_whole(groups, part)
    assert set(labels[part == 0].tolist()) == set(labels.tolist())
    again = apportion(labels, units, SHARES, keys(len(labels), seed))
    assert np.array_equal(part, again)


def test_total_shares_are_met_with_many_small_classes() -> None:
    labels = np.repeat(np.arange(300), 3)
    part = apportion(labels, np.arange(900), SHARES, keys(900))
    assert np.abs(np.bincount(part) / 900 - SHARES).max() < 0.01


def test_total_shares_are_met_with_groups_of_all_sizes() -> None:
    random = np.random.default_rng(0)
    sizes = random.integers(1, 40, 200)
    groups = np.repeat(np.arange(200), sizes)
    labels = np.repeat(random.integers(0, 5, 200), sizes)
    part = apportion(labels, units_of(len(labels), groups), SHARES, keys(len(labels)))
    for label in range(5):
        counts = np.bincount(part[labels == label], minlength=3)
        assert np.abs(counts / counts.sum() - SHARES).max() < 0.05
    large = sizes >= 30
    in_test = np.array([part[groups == g][0] != 0 for g in range(200)])
    assert 0.15 < in_test[large].mean() < 0.45, "large groups are tested on too"


def test_another_seed_draws_others() -> None:
    labels, units = np.zeros(100, np.int64), np.arange(100)
    drawn = [apportion(labels, units, SHARES, keys(100, seed)) for seed in range(2)]
    assert not np.array_equal(*drawn)


def test_one_more_photo_moves_few_others() -> None:
    paths = [f"{n}.jpg" for n in range(1000)]
    labels = np.zeros(1001, np.int64)
    before = apportion(labels[:1000], np.arange(1000), SHARES, photo_keys(paths, 0))
    after = apportion(labels, np.arange(1001), SHARES, photo_keys([*paths, "new.jpg"], 0))
    assert (before != after[:1000]).sum() <= 3


def test_a_seed_draws_the_same_on_every_machine_and_version() -> None:
    assert photo_keys(["a/1.jpg", "b/ä.jpg"], 7).tolist() == [
        1745692511951651394,
        6385413479038267485,
    ]


def test_units_join_what_either_partition_joins() -> None:
    groups = np.array([0, 0, -1, -1, 1, 1, -1])
    duplicates = np.array([-1, 5, 5, -1, -1, -1, -1])
    units = units_of(7, groups, duplicates)
    assert units[0] == units[1] == units[2]
    assert units[4] == units[5]
    assert len(np.unique(units)) == 4
    assert np.array_equal(units_of(3, None), np.arange(3))


@settings(max_examples=50)
@given(labels_and_groups(), st.integers(2, 5), st.integers(0, 99))
def test_folds_hold_every_photo_out_once_and_keep_groups(
    data: tuple[Integers, Integers], k: int, seed: int
) -> None:
    labels, groups = data
    distinct = len(np.unique(units_of(len(labels), groups)))
    if distinct < k:
        with pytest.raises(DataError, match="cannot be divided"):
            folds(labels, groups, k, 2, seed)
        return
    drawn = folds(labels, groups, k, 2, seed)
    assert drawn.shape == (2, len(labels))
    assert drawn.min() >= 0
    assert drawn.max() < k
    for repeat in drawn:
        assert_whole(groups, repeat)
    assert np.array_equal(drawn, folds(labels, groups, k, 2, seed))


@given(labels_strategy, st.integers(2, 5))
def test_folds_without_groups_are_stratified_and_even(labels: Integers, k: int) -> None:
    if len(labels) < k:
        return
    (drawn,) = folds(labels, None, k, 1, 0)
    for label in np.unique(labels):
        counts = np.bincount(drawn[labels == label], minlength=k)
        assert counts.max() - counts.min() <= 2
    counts = np.bincount(drawn, minlength=k)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= len(np.unique(labels))


def test_repeats_differ_and_named_groups_are_read() -> None:
    labels = np.arange(40) % 2
    groups = [f"patient {n // 4}" for n in range(38)] + [None, None]
    drawn = folds(labels, groups, 5, 3, 0)
    assert not np.array_equal(drawn[0], drawn[1])
    for repeat in drawn:
        assert_whole(np.append(np.arange(38) // 4, [-1, -1]), repeat)
