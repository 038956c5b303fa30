"""Facts: what is measured, and that unchanged photos are not opened again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from houndsight.data import facts as facts_module
from houndsight.data.facts import FactsCache, PhotoFacts, gather_facts, measure
from houndsight.data.folder import ImageFolder
from houndsight.data.near_duplicates import close_hashes, find_near_duplicates
from houndsight.data.signature import MIRROR, make_signature
from houndsight.events import Event, StageEnded, StageProgress, StageStarted

PhotoFolder = Callable[..., Path]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The photos that were measured (with no worker processes)."""
    seen: list[Path] = []

    def watched(path: Path, *, max_pixels: int) -> PhotoFacts:
        seen.append(path)
        return measure(path, max_pixels=max_pixels)

    monkeypatch.setattr(facts_module, "measure", watched)
    return seen


def textured(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A random picture with structure at all scales, as photos have."""
    random = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24, 48):
        layer = random.normal(0, 120 / cells**0.5, (cells, cells, 3))
        planes = [Image.fromarray(layer[..., c].astype(np.float32)) for c in range(3)]
        total += np.stack([p.resize(size, Image.Resampling.BICUBIC) for p in planes], -1)
    return Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))


def test_measured_facts(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    textured(0).save(path, quality=90)
    facts = measure(path)
    assert facts.hash == hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert facts.size_bytes == path.stat().st_size
    assert (facts.width, facts.height, facts.format) == (320, 240, "JPEG")
    assert 100 < facts.brightness < 156
    assert facts.error is None
    assert facts.signature is not None and len(facts.signature) == 256


def test_dark_and_blurred_photos_measure_lower(tmp_path: Path) -> None:
    plain = textured(1, (96, 72))
    variants = {
        "plain": plain,
        "dark": plain.point(lambda value: value // 10),
        "blurred": plain.filter(ImageFilter.GaussianBlur(4)),
    }
    measured = {}
    for name, image in variants.items():
        image.save(tmp_path / f"{name}.png")
        measured[name] = measure(tmp_path / f"{name}.png")
    assert measured["dark"].brightness < measured["plain"].brightness / 8
    assert measured["blurred"].sharpness < measured["plain"].sharpness / 8
    assert measured["dark"].sharpness > measured["plain"].sharpness / 2


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", "empty"), (b"hello", "not-an-image"), (b"\xff\xd8\xff\xe0 broken", "truncated")],
)
def test_errors_are_facts(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    facts = measure(path)
    assert facts.error is not None
    assert facts.error.startswith(error)


def test_the_second_time_nothing_is_opened(photo_folder: PhotoFolder, opened: list[Path]) -> None:
    root = photo_folder({"a": 4, "b": 3})
    (root / "a" / "bad.jpg").write_bytes(b"no photo")
    folder = ImageFolder.open(root)
    first = gather_facts(folder, workers=0)
    assert len(opened) == 8
    second = gather_facts(folder, workers=0)
    assert len(opened) == 8
    assert second.equals(first)


def test_a_changed_photo_is_opened_again(photo_folder: PhotoFolder, opened: list[Path]) -> None:
    folder = ImageFolder.open(photo_folder({"a": 4, "b": 3}))
    before = gather_facts(folder, workers=0)
    path = folder.all().paths()[2]
    textured(3).save(path)
    after = gather_facts(folder, workers=0)
    assert opened[7:] == [path]
    changed = [x != y for x, y in zip(before["hash"], after["hash"], strict=True)]
    assert changed == [False, False, True, False, False, False, False]


def test_workers_see_the_same(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    folder = ImageFolder.open(photo_folder({"a": 40, "b": 30}))
    with FactsCache(tmp_path / "one") as one, FactsCache(tmp_path / "two") as two:
        here = gather_facts(folder, workers=0, cache=one)
        there = gather_facts(folder, workers=2, cache=two)
    assert here.equals(there)


def test_what_was_measured_before_an_interruption_is_kept(
    photo_folder: PhotoFolder, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ImageFolder.open(photo_folder({"a": 300, "b": 30}, size=8))

    def interrupted(event: Event) -> None:
        if isinstance(event, StageProgress) and event.done >= 320:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather_facts(folder, workers=0, listener=interrupted)
    before = len(opened)
    gather_facts(folder, workers=0)
    assert len(opened) - before <= 330 - 256


def test_a_damaged_cache_is_made_anew(photo_folder: PhotoFolder, opened: list[Path]) -> None:
    folder = ImageFolder.open(photo_folder({"a": 2, "b": 2}))
    gather_facts(folder, workers=0)
    path = FactsCache().path
    for file in path.parent.iterdir():
        file.unlink()
    path.write_bytes(b"this is no database" * 1000)
    gather_facts(folder, workers=0)
    assert len(opened) == 8
    gather_facts(folder, workers=0)
    assert len(opened) == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_no_cache_can_be_written_facts_are_gathered_all_the_same(
    photo_folder: PhotoFolder, tmp_path: Path
) -> None:
    tmp_path.joinpath("closed").mkdir(mode=0o500)
    folder = ImageFolder.open(photo_folder({"a": 2, "b": 2}))
    with FactsCache(tmp_path / "closed" / "deeper" / "facts.sqlite") as cache:
        assert len(gather_facts(folder, workers=0, cache=cache)) == 4


def test_a_lower_limit_holds_for_remembered_photos(photo_folder: PhotoFolder) -> None:
    folder = ImageFolder.open(photo_folder({"a": 2, "b": 2}, size=64))
    assert gather_facts(folder, workers=0)["error"].null_count == 4
    limited = gather_facts(folder, workers=0, max_pixels=1000)
    assert all(error.startswith("too-large") for error in limited["error"].to_pylist())
    assert gather_facts(folder, workers=0)["error"].null_count == 4


def test_progress_is_told(photo_folder: PhotoFolder) -> None:
    events: list[Event] = []
    gather_facts(
        ImageFolder.open(photo_folder({"a": 70, "b": 3}, size=8)), workers=0, listener=events.append
    )
    assert isinstance(events[0], StageStarted) and events[0].total == 73
    assert isinstance(events[-1], StageEnded)
    done = [event.done for event in events if isinstance(event, StageProgress)]
    assert done == [64, 73]


def test_prune_keeps_the_latest(photo_folder: PhotoFolder, opened: list[Path]) -> None:
    folder = ImageFolder.open(photo_folder({"a": 5, "b": 5}))
    gather_facts(folder, workers=0)
    with FactsCache() as cache:
        assert cache.prune(4) == 6
    gather_facts(folder, workers=0)
    assert len(opened) == 16


def test_prune_drops_what_another_version_remembered(isolated_home: Path) -> None:
    with FactsCache() as cache:
        path = cache.path
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE facts_0 (path BLOB)")
        database.execute("INSERT INTO facts_0 VALUES (zeroblob(1000000))")
        database.commit()
    before = path.stat().st_size
    with FactsCache() as cache:
        assert cache.prune(10) == 0
    assert path.stat().st_size < before / 10


# -- near-duplicates ---------------------------------------------------------------------------


def signature_of(image: Image.Image) -> bytes:
    grey = image.convert("L").resize((32, 32), Image.Resampling.BILINEAR)
    return make_signature(np.asarray(grey))


def signatures(images: list[Image.Image]) -> np.ndarray:
    return np.frombuffer(b"".join(map(signature_of, images)), np.int8).reshape(-1, 256)


def test_mirrored_signature() -> None:
    image = textured(5)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    plain, turned = signatures([image, mirrored])
    assert np.abs(plain * MIRROR - turned).max() <= 1


@pytest.mark.parametrize("others", [3, 60])
def test_edited_copies_are_found_and_others_are_not(others: int) -> None:
    images = [textured(seed) for seed in range(others)]
    images += [
        images[0].resize((100, 75), Image.Resampling.BICUBIC),
        images[1].point(lambda value: min(255, int(value * 1.1))),
        images[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    ]
    found = find_near_duplicates(signatures(images), np.full(len(images), 50.0), bits=6)
    assert found.first.tolist() == [0, 1, 2]
    assert found.second.tolist() == [others, others + 1, others + 2]
    assert found.mirrored.tolist() == [False, False, True]
    assert (found.cosine > 0.9).all()


def test_what_all_photos_share_makes_no_duplicates() -> None:
    """Like solar cells: one frame with bars, and faint details of each."""
    frame = np.asarray(textured(99)).astype(np.float32)
    images = []
    for seed in range(60):
        detail = np.asarray(textured(seed)).astype(np.float32) - 128
        images.append(Image.fromarray(np.clip(frame + 0.15 * detail, 0, 255).astype(np.uint8)))
    images.append(images[7].resize((160, 120), Image.Resampling.BICUBIC))
    found = find_near_duplicates(signatures(images), np.full(61, 50.0), bits=6)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(7, 60)]


def test_flat_photos_are_nobody_s_duplicates() -> None:
    flat = [Image.new("RGB", (64, 64), (value, value, value)) for value in range(10)]
    assert not len(find_near_duplicates(signatures(flat), np.zeros(10), bits=6))


@pytest.mark.parametrize("bits", [0, 3, 6])
def test_the_index_finds_what_comparing_all_pairs_finds(bits: int) -> None:
    random = np.random.default_rng(bits)
    hashes = random.integers(0, 2**63, 300, dtype=np.uint64)
    flips = [random.choice(64, random.integers(0, 9), replace=False) for _ in range(300)]
    masks = [sum(1 << int(bit) for bit in flip) for flip in flips]
    hashes = np.concatenate([hashes, hashes ^ np.array(masks, np.uint64)])
    differing = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = {(a, b) for a, b in np.argwhere(differing <= bits).tolist() if a < b}
    pairs = [tuple(pair) for part in close_hashes(hashes, bits) for pair in part.tolist()]
    assert set(pairs) == expected
    assert len(pairs) == len(expected)


def test_a_set_in_which_everything_is_alike_stays_linear() -> None:
    hashes = np.zeros(20_000, np.uint64)
    assert sum(len(part) for part in close_hashes(hashes, 4)) <= 32 * len(hashes)
