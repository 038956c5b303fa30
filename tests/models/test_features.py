"""The feature cache: computed once by content, continued after a kill, read lazily."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from houndsight.data.decode import decode, normalise
from houndsight.data.folder import ImageFolder, Split
from houndsight.errors import SettingError
from houndsight.events import Event, StageProgress
from houndsight.models import cached as cached_module
from houndsight.models.backbone import Backbone
from houndsight.models.features import DECODED_BATCH, FeatureCache

Photos = Callable[..., Split]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features")


def _direct(backbone: Backbone, split: Split) -> np.ndarray:
    pixels = np.stack([decode(path, backbone.preprocessing) for path in split.paths()])
    with torch.inference_mode():
        images = torch.from_numpy(normalise(pixels, backbone.preprocessing))
        return np.asarray(backbone(images).numpy())


def test_features_are_the_backbones_in_the_splits_order(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 5, "blue": 6}).take([3, 0, 10, 7, 1])
    found = cache.features(small_backbone, split, runtime="torch")
    assert found.shape == (5, 512) and found.dtype == np.float32 and found.valid.all()
    np.testing.assert_allclose(found.array, _direct(small_backbone, split), atol=1e-4, rtol=1e-4)


def test_nothing_is_computed_twice(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    everything = hashed_photos({"red": 8, "blue": 8})
    assert cache.missing(small_backbone, everything) == 16
    first = cache.features(small_backbone, everything.take(range(10)), runtime="torch")
    assert cache.missing(small_backbone, everything) == 6
    assert (first.computed, first.decoded) == (10, 10)
    rest = cache.features(small_backbone, everything, runtime="torch")
    assert (rest.computed, rest.decoded) == (6, 6)
    again = FeatureCache(cache.folder).features(small_backbone, everything.take([15, 3]))
    assert (again.computed, again.decoded) == (0, 0)
    np.testing.assert_array_equal(again.array, rest.array[[15, 3]])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_changed_gives_no_row_to_what_it_was(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos, workers: int
) -> None:
    split = hashed_photos({"red": 4, "blue": 4})
    paths = split.paths()
    shutil.copyfile(paths[6], paths[1])
    found = cache.features(small_backbone, split, runtime="torch", workers=workers)
    assert np.flatnonzero(~found.valid).tolist() == [1]
    assert found.errors == {int(split.ids[1]): "changed"}


def test_a_cached_pass_never_compiles(
    cache: FeatureCache,
    small_backbone: Backbone,
    hashed_photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = hashed_photos({"red": 2, "blue": 2})
    cache.features(small_backbone, split, runtime="torch")
    monkeypatch.setattr("houndsight.models.features.compile_trunk", None)
    assert cache.features(small_backbone, split).computed == 0


def test_copies_of_a_photo_are_computed_once(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 3, "blue": 3})
    paths = split.paths()
    shutil.copy(paths[0], paths[4])
    again = ImageFolder.open(split.root).all()  # without hashes: read here
    found = cache.features(small_backbone, again, runtime="torch")
    assert found.computed == found.decoded == 5
    np.testing.assert_array_equal(found[0], found[4])


def test_another_preprocessing_or_weights_is_another_pack(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 2, "blue": 2})
    plain = cache.features(small_backbone, split, runtime="torch")
    squashed = replace(small_backbone.preprocessing, fit="squash")
    other = cache.features(small_backbone, split, preprocessing=squashed, runtime="torch")
    assert other.computed == 4
    with torch.no_grad():
        next(small_backbone.stage.parameters()).mul_(1.5)
    tuned = cache.features(small_backbone, split, runtime="torch")
    assert tuned.computed == 4
    assert not np.allclose(plain.array, tuned.array)


def test_a_bad_photo_is_an_error_for_itself_only(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 4, "blue": 4})
    paths = split.paths()
    paths[2].write_bytes(b"no photo")
    paths[5].unlink()
    split = (
        ImageFolder(
            root=split.root,
            table=split.table,
            classes=(),
            splits_given=False,
        )
        .with_hashes([None] * 8)
        .all()
    )
    heard: list[StageProgress] = []
    found = cache.features(small_backbone, split, runtime="torch", listener=heard.append)
    assert sorted(found.errors) == [2, 5] and all(found.errors.values())
    assert heard[-1].done == 8
    assert np.flatnonzero(~found.valid).tolist() == [2, 5]
    assert found.computed == 6
    assert not found.array[2].any() and found.array[3].any()


def test_activations_at_the_boundary_are_float16_in_both_views(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 3, "blue": 3})
    mirrored = cache.features(small_backbone, split, cut="boundary", mirrored=True, runtime="torch")
    plain = cache.features(small_backbone, split, cut="boundary")
    assert (mirrored.decoded, plain.computed) == (6, 0)
    assert plain.dtype == np.float16 and plain.shape == (6, 256, 4, 4)
    pixels = np.stack([decode(path, small_backbone.preprocessing) for path in split.paths()])
    images = torch.from_numpy(normalise(pixels, small_backbone.preprocessing))
    with torch.inference_mode():
        expected = small_backbone.trunk(images).numpy()
        turned = small_backbone.trunk(images.flip(3)).numpy()
    np.testing.assert_allclose(plain.array, expected, atol=5e-3, rtol=2e-3)
    np.testing.assert_allclose(mirrored.array, turned, atol=5e-3, rtol=2e-3)
    assert not np.allclose(expected, turned, atol=0.1)


def test_a_view_that_is_there_is_not_computed_again(
    cache: FeatureCache,
    small_backbone: Backbone,
    hashed_photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = hashed_photos({"red": 5, "blue": 5})
    plain = cache.features(small_backbone, split.take(range(6)), runtime="torch")
    expected = plain.array.copy()
    mirrored = cache.features(small_backbone, split, mirrored=True, runtime="torch")
    assert mirrored.computed == 10 and mirrored.valid.all()
    everything = cache.features(small_backbone, split)
    assert everything.computed == 0 and everything.valid.all() and len(everything.pack) == 10
    np.testing.assert_array_equal(everything[range(6)], expected)


def test_rows_are_gathered_by_any_index(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 4, "blue": 4})
    found = cache.features(small_backbone, split, runtime="torch")
    everything = np.asarray(found)
    assert found[3].shape == (512,)
    for index in ([5, 1], slice(2, 6), np.array([0, 0, 7]), np.arange(8) % 2 == 0):
        np.testing.assert_array_equal(found[index], everything[index])
    assert isinstance(found.array, np.memmap)  # in the pack's own order: no copy
    torch.from_numpy(found.array)  # writable, so without a warning


def test_a_large_gather_is_a_memory_map(
    cache: FeatureCache,
    small_backbone: Backbone,
    hashed_photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = hashed_photos({"red": 4, "blue": 4})
    expected = np.asarray(cache.features(small_backbone, split, runtime="torch"))
    monkeypatch.setattr(cached_module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(cached_module, "_CHUNK_BYTES", 3 * 512 * 4)
    turned = cache.features(small_backbone, split.take(range(7, -1, -1)))
    assert isinstance(turned.array, np.memmap)
    np.testing.assert_array_equal(turned.array, expected[::-1])


def test_progress_counts_what_is_reused(
    cache: FeatureCache, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 4, "blue": 4})
    cache.features(small_backbone, split.take([0, 1, 2]), runtime="torch")
    heard: list[Event] = []
    cache.features(small_backbone, split, runtime="torch", listener=heard.append)
    counts = [event.done for event in heard if isinstance(event, StageProgress)]
    assert counts[0] == 3 and counts[-1] == 8 and counts == sorted(counts)


def test_what_cannot_fit_is_refused_before_any_work(
    tmp_path: Path, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 4, "blue": 4})
    small = FeatureCache(tmp_path / "small", limit_bytes=10_000)
    with pytest.raises(SettingError, match=r"cache_gigabytes"):
        small.features(small_backbone, split, runtime="torch")
    assert small.fits(small_backbone, 4, cut="features")
    assert not small.fits(small_backbone, 8, cut="features")
    assert not small.fits(small_backbone, 2, cut="boundary")


def test_older_packs_make_room(
    tmp_path: Path, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 4, "blue": 4})
    cache = FeatureCache(tmp_path / "cache", limit_bytes=25_000)
    first = cache.features(small_backbone, split, runtime="torch")
    squashed = replace(small_backbone.preprocessing, fit="squash")
    cache.features(small_backbone, split, preprocessing=squashed, runtime="torch")
    assert not first.pack.folder.exists()
    assert first.array.shape == (8, 512) and first.array[7].any()  # still mapped


def test_a_photos_features_do_not_depend_on_its_neighbours(
    tmp_path: Path, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    """What a resumed run rests on: the same bits, whatever stood in the batch beside it."""
    split = hashed_photos({"red": 6, "blue": 7})
    whole = FeatureCache(tmp_path / "a").features(small_backbone, split, runtime="torch")
    parts = FeatureCache(tmp_path / "b")
    for rows in ([12, 3], [0], list(range(13))):
        pieces = parts.features(small_backbone, split.take(rows), runtime="torch")
    np.testing.assert_array_equal(pieces.array, whole.array)


_KILLED = """
import os, signal, sys
from pathlib import Path
from houndsight.data.decode import Preprocessing
from houndsight.data.folder import ImageFolder
from houndsight.models.backbone import load_backbone
from houndsight.models.features import FeatureCache

def kill_after(event):
    if event.done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

backbone = load_backbone(sys.argv[1])
backbone.preprocessing = Preprocessing(
    size=64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
photos = ImageFolder.open(sys.argv[2]).all()
FeatureCache(Path(sys.argv[3])).features(
    backbone, photos, runtime="torch", workers=0, listener=kill_after
)
"""


def test_a_killed_pass_goes_on_where_it_stopped(
    cache: FeatureCache, resnet18_file: Path, small_backbone: Backbone, hashed_photos: Photos
) -> None:
    split = hashed_photos({"red": 40, "blue": 40})
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(_KILLED),
            resnet18_file,
            split.root,
            cache.folder,
            "40",
        ],
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    resumed = cache.features(small_backbone, split, runtime="torch", workers=0)
    assert resumed.valid.all()
    assert 80 - 40 - DECODED_BATCH <= resumed.computed <= 80 - 40
