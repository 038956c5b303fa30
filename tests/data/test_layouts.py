import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from houndsight.data.folder import ImageFolder
from houndsight.data.layouts import find_root, scan_folder
from houndsight.data.listing import is_image_name
from houndsight.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def listed(folder: ImageFolder) -> dict[str, tuple[str, str]]:
    table = folder.table
    return {
        path: (folder.classes[label].original, split)
        for path, label, split in zip(
            *(table[name].to_pylist() for name in ("path", "class_index", "split")), strict=True
        )
    }


def rules(folder: ImageFolder) -> dict[str, int]:
    return {finding.rule: finding.count for finding in folder.findings}


def test_class_folders_count_what_lies_deeper(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/2019/deep/2.JPEG", "dog/3.PNG", "dog/4.TiFf")
    folder = ImageFolder.open(tmp_path)
    assert listed(folder) == {
        "cat/1.jpg": ("cat", ""),
        "cat/2019/deep/2.JPEG": ("cat", ""),
        "dog/3.PNG": ("dog", ""),
        "dog/4.TiFf": ("dog", ""),
    }
    assert not folder.splits_given
    assert folder.table["id"].to_pylist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("Training", "VALIDATION", "testing")]
)
def test_split_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        touch(tmp_path, f"{name}/cat/1.jpg", f"{name}/dog/2.jpg")
    folder = ImageFolder.open(tmp_path)
    assert folder.splits_given
    assert folder.split_sizes == {"train": 2, "valid": 2, "test": 2}


def test_only_train_is_no_given_split(tmp_path: Path) -> None:
    folder = ImageFolder.open(touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg"))
    assert not folder.splits_given
    assert folder.split_sizes == {"": 2}
    assert [c.original for c in folder.classes] == ["cat", "dog"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder = ImageFolder.open(touch(tmp_path, "bus/1.jpg", "car/2.jpg", "train/3.jpg"))
    assert [c.original for c in folder.classes] == ["bus", "car", "train"]


def test_a_test_folder_without_classes_is_left_out_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "test/8.jpg", "test/9.jpg")
    folder = ImageFolder.open(tmp_path)
    assert folder.split_sizes == {"": 2}
    assert rules(folder) == {"PhotosWithoutClass": 2}


def test_rubbish_and_hidden_files_are_ignored_and_others_counted(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg", "__MACOSX/cat/._1.jpg", ".git/x.jpg", "cat/Thumbs.db")
    touch(tmp_path, "cat/.hidden.jpg", "cat/notes.txt", "dog/raw.heic", "dog/more.txt", "dog/bare")
    folder = ImageFolder.open(tmp_path)
    assert len(folder) == 2
    (finding,) = folder.findings
    assert finding.rule == "OtherFiles"
    assert finding.title.endswith("4 (.txt 2, no ending 1, .heic 1).")


def test_wrapping_folders_are_looked_through(tmp_path: Path) -> None:
    touch(tmp_path, "data/v1/train/cat/1.jpg", "data/v1/train/dog/2.jpg", "data/v1/valid/cat/3.jpg")
    assert find_root(tmp_path) == tmp_path / "data" / "v1"
    assert ImageFolder.open(tmp_path).split_sizes == {"train": 2, "valid": 1}


def test_train_below_a_wrapper(tmp_path: Path) -> None:
    touch(tmp_path, "photos/train/cat/1.jpg", "photos/train/dog/2.jpg")
    assert len(ImageFolder.open(tmp_path).classes) == 2


def test_accents_are_one_class_however_composed(tmp_path: Path) -> None:
    touch(tmp_path, "train/caf\u00e9/1.jpg", "train/tea/2.jpg", "valid/cafe\u0301/3.jpg")
    assert [c.original for c in ImageFolder.open(tmp_path).classes] == ["caf\u00e9", "tea"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "it is empty"),
        (["1.jpg", "2.jpg"], "2 photos without a class folder"),
        (["notes.txt", "a.csv"], r"other files: .*\.csv \(1\)"),
        (["cat/notes.txt"], r"the folders cat and other files: \.txt \(1\)"),
        (["valid/cat/1.jpg", "test/cat/1.jpg"], "has test, valid but no train folder"),
        (["train/1.jpg", "valid/cat/1.jpg"], "train folder holds no photos in class folders"),
        (
            ["cat/1.jpg", "cat/2.jpg"],
            "two classes are needed, and there is one class, 'cat'",
        ),
    ],
)
def test_what_cannot_be_used_is_said_with_what_was_looked_for(
    tmp_path: Path, names: list[str], sentence: str
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=sentence) as raised:
        ImageFolder.open(tmp_path)
    assert "Expected class folders" in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_links_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "root/cat/1.jpg", "root/dog/2.jpg", "elsewhere/3.jpg")
    (tmp_path / "root/cat/loop").symlink_to(tmp_path / "root")
    (tmp_path / "root/cat/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/dog/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    folder = ImageFolder.open(tmp_path / "root")
    assert "cat/more/3.jpg" in listed(folder)
    assert len(folder) < 10
    assert rules(folder)["UnreachableFiles"] >= 1


def test_pipes_that_end_like_photos_are_not_opened_later(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    folder = ImageFolder.open(tmp_path)
    assert len(folder) == 2
    assert rules(folder) == {"UnreachableFiles": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems forbid such names")
def test_names_that_are_not_utf8_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "cat" / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    (tmp_path / os.fsdecode(b"\xfe")).mkdir()
    touch(tmp_path / os.fsdecode(b"\xfe"), "3.jpg")
    folder = ImageFolder.open(tmp_path)
    assert len(folder) == 2
    (finding,) = folder.findings
    assert (finding.rule, finding.count) == ("UnreadableNames", 2)
    finding.examples[0].encode()


def test_folders_deeper_than_python_recurses(tmp_path: Path) -> None:
    touch(tmp_path, "dog/2.jpg", "cat/3.jpg")
    folders = [Path(f"{tmp_path}/cat" + "/d" * depth) for depth in range(1, 1100)]
    for folder in folders:
        folder.mkdir()
    touch(folders[-1], "1.jpg")
    try:
        assert len(ImageFolder.open(tmp_path)) == 3
    finally:
        (folders[-1] / "1.jpg").unlink()  # what clears temporary folders does recurse
        for folder in reversed(folders):
            folder.rmdir()


def test_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    names = [f"{c}/{n}.jpg" for c in ("b", "a") for n in (10, 9, 1)]
    first = scan_folder(touch(tmp_path / "one", *names))
    second = scan_folder(touch(tmp_path / "two", *reversed(names)))
    assert first.paths.to_pylist() == second.paths.to_pylist() == sorted(names)
    assert first.labels.tolist() == [0, 0, 0, 1, 1, 1]


name_strategy = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_names_are_listed_or_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("any")
    endings = st.sampled_from([".jpg", ".PNG", ".txt", ""])
    tree = data.draw(
        st.lists(st.tuples(st.lists(name_strategy, max_size=3), name_strategy, endings), max_size=8)
    )
    for folders, name, ending in tree:
        try:
            touch(root, "/".join([*folders, name + ending]))
        except OSError:
            continue
    try:
        folder = ImageFolder.open(root)
    except DataError as error:
        assert str(error)
        return
    assert len(folder.classes) >= 2
    for path in folder.all().paths():
        assert path.is_file()
        assert is_image_name(path.name)
    assert len(set(folder.table["path"].to_pylist())) == len(folder)
