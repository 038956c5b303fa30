"""The checks: what they find, what they set aside, and that healthy photos raise no alarm."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from houndsight.data.check import CheckResult, check
from houndsight.data.checks.base import CheckedPhotos
from houndsight.data.checks.outliers import outlier_finding
from houndsight.data.folder import ImageFolder
from houndsight.data.settings import DataSettings
from houndsight.errors import DataError
from houndsight.findings import Cause, Finding, Severity

SERIAL = DataSettings(workers=0)


def textured(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A random picture with structure at all scales, as photos have."""
    random = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24, 48):
        layer = random.normal(0, 120 / cells**0.5, (cells, cells, 3))
        planes = [Image.fromarray(layer[..., c].astype(np.float32)) for c in range(3)]
        total += np.stack([p.resize(size, Image.Resampling.BICUBIC) for p in planes], -1)
    return Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))


def make(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    """`root/CLASS/NN.jpg`, every photo another."""
    seed = first
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            textured(seed).save(root / name / f"{number:02d}.jpg", quality=90)
            seed += 1
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of 15 healthy photos."""
    return make(tmp_path / "photos", {"cat": 15, "dog": 15})


@pytest.fixture
def split_root(tmp_path: Path) -> Path:
    """The same with train, valid and test given."""
    for index, (name, count) in enumerate({"train": 12, "valid": 6, "test": 6}.items()):
        make(tmp_path / "photos" / name, {"cat": count, "dog": count}, first=1000 * index)
    return tmp_path / "photos"


def checked(root: Path, settings: DataSettings = SERIAL) -> CheckResult:
    return check(ImageFolder.open(root, settings), settings)


def found(result: CheckResult) -> dict[str, Finding]:
    return {finding.rule: finding for finding in result.findings}


def paths(result: CheckResult) -> set[str]:
    return set(result.folder.table["path"].to_pylist())


def test_healthy_photos_raise_no_alarm(root: Path) -> None:
    result = checked(root)
    assert result.findings == []
    assert result.set_aside == {}
    assert len(result.folder) == 30
    assert result.folder.table["hash"].null_count == 0
    assert set(result.folder.split_sizes) == {"train", "valid", "test"}
    assert result.facts["width"].to_pylist() == [96] * 30


def test_bad_files_are_set_aside_and_named(root: Path) -> None:
    whole = (root / "cat" / "00.jpg").read_bytes()
    bad = {
        "EmptyFiles": b"",
        "TruncatedFiles": whole[: len(whole) // 2],
        "NonImageFiles": b"<html>404</html>",
    }
    for rule, content in bad.items():
        (root / "dog" / f"{rule}.jpg").write_bytes(content)
    Image.new("RGB", (1200, 1200)).save(root / "dog" / "DecompressionBombs.png")
    result = checked(root, DataSettings(workers=0, max_megapixels=1.0))
    findings = found(result)
    assert set(findings) == {*bad, "DecompressionBombs"}
    for rule, finding in findings.items():
        assert [Path(name).stem for name in finding.examples] == [rule]
        assert finding.causes[0].fix
    assert len(result.set_aside) == 4
    assert len(result.folder) == 30


def test_copies_are_kept_once(root: Path) -> None:
    for number in range(3):
        shutil.copy(root / "cat" / "03.jpg", root / "cat" / f"copy {number}.jpg")
    result = checked(root)
    assert found(result)["ExactDuplicates"].count == 3
    assert "cat/03.jpg" in paths(result)
    assert len(result.folder) == 30


def test_a_photo_under_two_labels_is_an_error(root: Path) -> None:
    shutil.copy(root / "cat" / "03.jpg", root / "dog" / "also.jpg")
    result = checked(root)
    finding = found(result)["SamePhotoUnderTwoLabels"]
    assert finding.severity == Severity.ERROR
    assert finding.examples == ("cat/03.jpg = dog/also.jpg",)
    assert not {"cat/03.jpg", "dog/also.jpg"} & paths(result)


def test_one_photo_under_two_labels_among_many_is_a_warning(
    photo_folder: Callable[..., Path],
) -> None:
    root = photo_folder({"cat": 110, "dog": 110}, size=40)
    shutil.copy(root / "cat" / "003.jpg", root / "dog" / "also.jpg")
    finding = found(checked(root))["SamePhotoUnderTwoLabels"]
    assert finding.severity == Severity.WARNING
    assert "both copies are set aside" in finding.title
    assert finding.measured == pytest.approx(2 / 221)


def test_leaked_copies_are_taken_out_of_training(split_root: Path) -> None:
    shutil.copy(split_root / "test" / "cat" / "01.jpg", split_root / "train" / "cat" / "leak.jpg")
    shutil.copy(split_root / "test" / "cat" / "02.jpg", split_root / "valid" / "cat" / "leak.jpg")
    result = checked(split_root)
    finding = found(result)["DuplicatesAcrossSplits"]
    assert finding.count == 2
    assert finding.severity == Severity.ERROR
    assert "train/cat/leak.jpg = test/cat/01.jpg" in finding.examples
    assert {"test/cat/01.jpg", "test/cat/02.jpg"} <= paths(result)
    assert not {"train/cat/leak.jpg", "valid/cat/leak.jpg"} & paths(result)


def test_near_duplicates_across_splits_are_taken_out_of_training(split_root: Path) -> None:
    with Image.open(split_root / "valid" / "dog" / "01.jpg") as image:
        image.resize((60, 45)).save(split_root / "train" / "dog" / "leak.jpg", quality=60)
    result = checked(split_root)
    finding = found(result)["NearDuplicatesAcrossSplits"]
    assert finding.examples == ("train/dog/leak.jpg = valid/dog/01.jpg",)
    assert "train/dog/leak.jpg" not in paths(result)
    assert "valid/dog/01.jpg" in paths(result)


def test_when_everything_leaks_it_is_told_and_nothing_removed(tmp_path: Path) -> None:
    make(tmp_path / "train", {"cat": 12, "dog": 12})
    shutil.copytree(tmp_path / "train", tmp_path / "valid")
    result = checked(tmp_path)
    finding = found(result)["DuplicatesAcrossSplits"]
    assert finding.severity == Severity.ERROR
    assert "too many" in finding.title
    assert result.set_aside == {}


def test_near_duplicates_are_drawn_into_one_split(root: Path) -> None:
    for number in range(15):
        with Image.open(root / "cat" / f"{number:02d}.jpg") as image:
            image.resize((60, 45)).save(root / "cat" / f"small {number:02d}.jpg")
    result = checked(root)
    assert found(result)["NearDuplicates"].count == 30
    sides = dict(
        zip(*result.folder.table.select(["path", "split"]).to_pydict().values(), strict=True)
    )
    for number in range(15):
        assert sides[f"cat/{number:02d}.jpg"] == sides[f"cat/small {number:02d}.jpg"]


def test_near_duplicates_under_two_labels_are_told(root: Path) -> None:
    with Image.open(root / "cat" / "04.jpg") as image:
        image.resize((60, 45)).save(root / "dog" / "wrong.jpg")
    result = checked(root)
    assert found(result)["NearDuplicatesUnderTwoLabels"].examples == ("cat/04.jpg = dog/wrong.jpg",)
    assert len(result.folder) == 31


def test_small_classes_and_imbalance(root: Path) -> None:
    make(root, {"fox": 1, "owl": 9}, first=500)
    findings = found(checked(root))
    assert set(findings) == {"FewPhotosInClass", "ClassImbalance"}
    assert findings["FewPhotosInClass"].examples == ("fox (1)", "owl (9)")
    assert findings["ClassImbalance"].severity == Severity.WARNING


def test_unusual_photos_are_named(root: Path) -> None:
    image = textured(700)
    variants = {
        "DarkPhotos": image.point(lambda value: value // 16),
        "BlurredPhotos": image.filter(ImageFilter.GaussianBlur(3)),
        "TinyPhotos": image.crop((0, 0, 24, 24)),
        "OddShapedPhotos": textured(701, (500, 60)),
        "BlankPhotos": Image.new("RGB", (96, 72), "white"),
    }
    for rule, variant in variants.items():
        variant.save(root / "dog" / f"{rule}.png")
    result = checked(root, DataSettings(workers=0, near_duplicate_bits=0))
    findings = found(result)
    assert {rule: findings[rule].examples for rule in variants} == {
        rule: (f"dog/{rule}.png",) for rule in variants
    }
    assert result.set_aside == {}
    assert {findings[rule].severity for rule in variants} == {Severity.WARNING}


@pytest.mark.parametrize(
    ("photos", "unusual", "severity"),
    [
        ((1000, 1000), (1, 0), Severity.INFO),
        ((1000, 1000), (12, 7), Severity.INFO),
        ((1000, 1000), (12, 8), Severity.WARNING),
        ((1000, 20), (0, 2), Severity.INFO),
        ((1000, 20), (0, 3), Severity.WARNING),
        ((50, 50), (1, 0), Severity.WARNING),
    ],
)
def test_a_few_unusual_photos_among_many_are_only_a_remark(
    photos: tuple[int, int], unusual: tuple[int, int], severity: Severity, tmp_path: Path
) -> None:
    rows = []
    for label, count in enumerate(photos):
        rows += [f"{label}/{number}.jpg,{label}" for number in range(count)]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(rows))
    for row in rows:
        path = tmp_path / row.split(",")[0]
        path.parent.mkdir(exist_ok=True)
        path.touch()
    folder = ImageFolder.open(tmp_path / "labels.csv", SERIAL)
    chosen = [*range(unusual[0]), *range(photos[0], photos[0] + unusual[1])]
    cause = Cause(text="It was night.", fix="Wait for the day.")
    [finding] = outlier_finding(
        CheckedPhotos(folder, None), "DarkPhotos", np.array(chosen), "Very dark", cause=cause,
        measured=1.0, threshold=2.0,
    )  # fmt: skip
    assert finding.severity == severity


def test_sets_that_are_unusual_as_a_whole_raise_no_alarm(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(12):
            image = textured(hash((name, number)) % 2**31, (300, 60))
            image = image.filter(ImageFilter.GaussianBlur(2)).point(lambda value: value // 16)
            image.save(tmp_path / name / f"{number}.png")
    assert checked(tmp_path).findings == []


def test_more_than_half_bad_stops_with_what_was_found(root: Path) -> None:
    for number in range(31):
        (root / "dog" / f"bad {number}.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"31 of 61 files cannot be used: 31 not-an-image.*text"):
        checked(root)
    (root / "dog" / "bad 0.jpg").unlink()
    assert len(checked(root).folder) == 30


def test_a_class_without_photos_is_no_answer(root: Path) -> None:
    (root / "aardvark").mkdir()
    (root / "aardvark" / "torn.jpg").write_bytes(b"")
    result = check(ImageFolder.open(root))
    names = [entry.name for entry in result.folder.classes]
    assert "aardvark" not in names and len(names) == len(np.unique(result.folder.labels))
    assert [f for f in result.findings if f.rule == "EmptyClass"]
    first = result.folder.table.to_pylist()[0]
    assert first["path"].startswith(result.folder.classes[first["class_index"]].original)


def test_one_class_left_stops(root: Path) -> None:
    shutil.rmtree(root / "dog")
    make(root, {"dog": 2}, first=900)
    for path in (root / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="two classes"):
        checked(root)


def test_the_same_photos_give_the_same_result(root: Path) -> None:
    first, second = checked(root), checked(root)
    assert first.findings == second.findings
    assert first.folder.fingerprint() == second.folder.fingerprint()


def test_shared_dogs_raise_no_alarm(shared_dogs: Path) -> None:
    assert check(ImageFolder.open(shared_dogs / "valid")).findings == []


@pytest.mark.slow
def test_what_is_wrong_with_the_shared_dogs(shared_dogs: Path) -> None:
    result = check(ImageFolder.open(shared_dogs))
    told = {finding.rule: finding.count for finding in result.findings}
    # One photo of train is a valid one scaled; one pair is the same dogs under two breeds.
    assert told == {
        "NearDuplicatesAcrossSplits": 1,
        "NearDuplicatesUnderTwoLabels": 1,
        "NearDuplicates": 4,
    }
    assert len(result.set_aside) == 1
