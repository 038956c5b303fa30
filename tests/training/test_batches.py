import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_classifier import PREPROCESSING, toy_classifier, toy_recipe

from houndsight.data.decode import decode, normalise
from houndsight.errors import DataError
from houndsight.training.augment import (
    RANDAUGMENT_OPERATIONS,
    Augmentation,
    crop_box,
    randaugment,
    random_crop,
)
from houndsight.training.batches import ActivationBatches
from houndsight.training.evaluate import evaluate
from houndsight.training.images import ImageBatches
from houndsight.training.order import Shard, batch_rows, epoch_order, sampling_weights
from houndsight.training.prefetch import prefetch
from houndsight.training.trainer import Trainer

# -- order ----------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 64))
def test_every_photo_is_in_one_batch_and_no_batch_is_too_large(count: int, size: int) -> None:
    batches = batch_rows(epoch_order(count, 0, 0), size)
    assert sorted(np.concatenate(batches)) == list(range(count))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size and max(lengths) - min(lengths) <= 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    orders = {(e, s): epoch_order(50, e, s).tolist() for e in (0, 1) for s in (0, 1)}
    assert len({tuple(order) for order in orders.values()}) == 4
    assert orders[1, 1] == epoch_order(50, 1, 1).tolist()


def test_balanced_sampling_draws_rare_classes_as_often() -> None:
    labels = np.array([0] * 900 + [1] * 100)
    drawn = labels[epoch_order(1000, 0, 0, sampling_weights(labels, 1.0))]
    assert abs(Counter(drawn.tolist())[1] - 500) < 60
    assert sampling_weights(labels, 0.0).std() == pytest.approx(0)


# -- activations ----------------------------------------------------------------------------


def _activations(count: int = 20) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)


def test_without_a_recipe_the_split_comes_in_its_order() -> None:
    labels, ids = np.arange(20) % 4, np.arange(20) * 10
    batches = ActivationBatches(_activations(), labels, ids, batch_size=8)
    found = list(batches.iterate(0, 0))
    assert len(batches) == len(found) == 3
    assert torch.cat([b.ids for b in found]).tolist() == ids.tolist()
    assert torch.cat([b.inputs for b in found])[:, 0].tolist() == list(range(20))


def test_an_epoch_can_be_gone_on_with_and_shared() -> None:
    def make() -> ActivationBatches:
        return ActivationBatches(
            _activations(),
            np.arange(20) % 4,
            recipe=toy_recipe(batch_size=6),
            mirrored=-_activations(),
        )

    whole = list(make().iterate(2, 7))
    rest = list(make().iterate(2, 7, start=2))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(whole[2:], rest, strict=True))
    parts = [list(make().iterate(2, 7, shard=Shard(i, 2))) for i in (0, 1)]
    for both, left, right in zip(whole, *parts, strict=True):
        assert torch.equal(both.inputs[0::2], left.inputs)
        assert torch.equal(both.inputs[1::2], right.inputs)


def test_mirrored_views_are_mixed_in_only_when_the_recipe_flips() -> None:
    plain, mirrored, labels = _activations(200) + 1, -_activations(200) - 1, np.zeros(200, int)
    for flip, low, high in ((True, 60, 140), (False, 0, 0)):
        recipe = toy_recipe(flip=flip)
        batches = ActivationBatches(plain, labels, recipe=recipe, mirrored=mirrored)
        turned = sum(int((b.inputs[:, 0] < 0).sum()) for b in batches.iterate(0, 0))
        assert low <= turned <= high


def test_rows_that_are_not_valid_are_left_out() -> None:
    valid = np.ones(20, bool)
    valid[[3, 7]] = False
    batches = ActivationBatches(_activations(), np.arange(20) % 4, valid=valid)
    inputs = torch.cat([b.inputs for b in batches.iterate(0, 0)])[:, 0]
    assert inputs.tolist() == [i for i in range(20) if i not in (3, 7)]
    with pytest.raises(DataError, match="no photos"):
        ActivationBatches(_activations(), np.arange(20), valid=np.zeros(20, bool))


# -- photos ---------------------------------------------------------------------------------


def _split(root: Path, *, spoilt: str | None = None) -> SimpleNamespace:
    if spoilt:
        (root / spoilt).write_bytes(b"no photo")
    paths = sorted(root.rglob("*.jpg"))
    classes = sorted({path.parent.name for path in paths})
    labels = np.array([classes.index(path.parent.name) for path in paths])
    return SimpleNamespace(labels=labels, ids=np.arange(len(paths)) + 100, paths=lambda: paths)


def test_evaluation_gives_exactly_what_decode_gives(
    photo_folder: Callable[..., Path],
) -> None:
    split = _split(photo_folder({"a": 3, "b": 4}))
    found = list(ImageBatches(split, PREPROCESSING, batch_size=3, workers=0).iterate(0, 0))
    pixels = np.stack([decode(path, PREPROCESSING) for path in split.paths()])
    assert np.array_equal(
        torch.cat([b.inputs for b in found]).numpy(), normalise(pixels, PREPROCESSING)
    )
    assert torch.cat([b.targets for b in found]).tolist() == split.labels.tolist()


def test_training_photos_are_changed_by_chance_but_repeatably(
    photo_folder: Callable[..., Path],
) -> None:
    split = _split(photo_folder({"a": 4, "b": 4}))
    recipe = toy_recipe(batch_size=3, randaugment=9)

    def read(**where: object) -> list[torch.Tensor]:
        batches = ImageBatches(split, PREPROCESSING, recipe=recipe, workers=0)
        return [b.inputs for b in batches.iterate(**({"epoch": 0, "seed": 0} | where))]

    first, again, later = read(), read(), read(epoch=1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(torch.cat(first), torch.cat(later))
    assert torch.equal(read(start=1)[0], first[1])
    assert torch.equal(read(shard=Shard(1, 2))[0], first[0][1::2])
    assert first[0].shape[1:] == (3, 16, 16)


def test_a_photo_that_does_not_decode_is_left_out_and_named(
    photo_folder: Callable[..., Path],
) -> None:
    split = _split(photo_folder({"a": 3, "b": 3}), spoilt="a/001.jpg")
    batches = ImageBatches(split, PREPROCESSING, batch_size=4, workers=0)
    found = evaluate(toy_classifier(classes=2), batches)
    assert (
        found.ids.tolist() == [100, 102, 103, 104, 105]
        and found.labels.tolist() == [0] * 2 + [1] * 3
    )
    assert list(batches.errors) == [101]


def test_trains_everything_on_photos(photo_folder: Callable[..., Path], tmp_path: Path) -> None:
    split = _split(photo_folder({"red": 8, "blue": 8}))
    recipe = toy_recipe(trainable="all", epochs=4, batch_size=4, crop_scale=0.8)
    classifier = toy_classifier(classes=2)
    before = classifier.backbone.trunk[0].weight.detach().clone()
    result = Trainer(classifier, recipe, folder=tmp_path / "run").fit(
        ImageBatches(split, PREPROCESSING, recipe=recipe, workers=0),
        ImageBatches(split, PREPROCESSING, workers=0),
    )
    assert result.metrics["top1"] >= 0.9
    assert not torch.equal(before, classifier.backbone.trunk[0].weight)


def test_worker_processes_decode_the_same(photo_folder: Callable[..., Path]) -> None:
    split = _split(photo_folder({"a": 3, "b": 3}))
    alone, together = (
        torch.cat([b.inputs for b in ImageBatches(split, PREPROCESSING, workers=n).iterate(0, 0)])
        for n in (0, 1)
    )
    assert torch.equal(alone, together)


def test_no_decodable_photo_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"")
    batches = ImageBatches(_split(tmp_path), PREPROCESSING, workers=0)
    with pytest.raises(DataError, match="No photo"):
        evaluate(toy_classifier(), batches)


# -- augmentation ---------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.01, 1.0), st.integers(0, 1000))
def test_crops_stay_inside(height: int, width: int, scale: float, seed: int) -> None:
    top, left, tall, wide = crop_box(height, width, scale, np.random.default_rng(seed))
    assert tall > 0 and wide > 0 and top >= 0 and left >= 0
    assert top + tall <= height and left + wide <= width


def test_a_scale_of_one_takes_the_whole_photo() -> None:
    image = torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8)
    assert random_crop(image, 32, 1.0, np.random.default_rng(0)) is image
    assert random_crop(image, 16, 1.0, np.random.default_rng(0)).shape == (3, 16, 16)


@pytest.mark.parametrize("name", RANDAUGMENT_OPERATIONS)
def test_every_operation_keeps_shape_and_type(name: str) -> None:
    # Neither black nor white, so that stretching the contrast has something to do.
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(40, 200, (3, 24, 20), dtype=torch.uint8, generator=generator)
    for strength in (-1.0, 0.3, 1.0):
        changed = RANDAUGMENT_OPERATIONS[name](image, strength)
        assert changed.shape == image.shape and changed.dtype == torch.uint8
    if name != "identity":
        assert not torch.equal(RANDAUGMENT_OPERATIONS[name](image, 0.9), image)


def test_randaugment_is_a_function_of_its_generator() -> None:
    image = torch.randint(0, 255, (3, 24, 24), dtype=torch.uint8)
    first, second = (randaugment(image, 9, 2, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(first, second)


def test_augmentation_gives_images_of_the_size_asked() -> None:
    image = np.full((40, 40, 3), 99, np.uint8)
    made = Augmentation(16, 0.5, True, 5, 2)(image, np.random.default_rng(0))
    assert made.shape == (16, 16, 3) and made.dtype == np.uint8


# -- reading ahead --------------------------------------------------------------------------


def test_prefetch_keeps_order_and_reads_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(6):
            made.append(number)
            yield number

    stream = prefetch(source(), depth=2)
    assert next(stream) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made == [0, 1, 2, 3]
    assert list(stream) == [1, 2, 3, 4, 5]


def test_prefetch_raises_where_the_item_was_due() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("spoilt")

    stream = prefetch(source())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="spoilt"):
        next(stream)


def test_closing_prefetch_ends_its_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    before = threading.active_count()
    stream = prefetch(source())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert closed.is_set() and threading.active_count() == before
