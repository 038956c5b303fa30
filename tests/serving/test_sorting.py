import errno
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.errors import DataError, SettingError
from houndsight.serving.sorting import class_folder, sort_into_classes

Photos = Callable[..., Path]


def predictions(tmp_path: Path, rows: dict[str, str | None]) -> Path:
    path = tmp_path / "predictions.parquet"
    table = pa.table({"path": list(rows), "class": pa.array(rows.values(), pa.string())})
    pq.write_table(table, path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("[!.]*.jpg"))


@pytest.fixture
def root(photo_folder: Photos) -> Path:
    return photo_folder({"a": 3, "b": 3})


ROWS = {"a/000.jpg": "cat", "a/001.jpg": "dog", "b/000.jpg": "cat", "b/002.jpg": None}


@pytest.mark.parametrize("link", ["auto", "symlink", "hardlink", "copy"])
def test_photos_stand_in_their_class(root: Path, tmp_path: Path, link: str) -> None:
    path, target = predictions(tmp_path, ROWS), tmp_path / "sorted"
    assert sort_into_classes(path, root, target, link=link) == {"cat": 2, "dog": 1}
    first = names(target)
    assert len(first) == 3 and "cat/000.jpg" in first and "dog/001.jpg" in first
    assert (target / "cat" / "000.jpg").read_bytes() == (root / "a" / "000.jpg").read_bytes()
    twin = next(n for n in first if n.startswith("cat/000-"))
    assert (target / twin).read_bytes() == (root / "b" / "000.jpg").read_bytes()
    assert (target / "dog" / "001.jpg").is_symlink() == (link in ("auto", "symlink"))
    assert sort_into_classes(path, root, target, link=link) == {"cat": 2, "dog": 1}
    assert names(target) == first


def test_takes_the_next_way_where_a_file_system_cannot_link(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "symlink", unable)
    monkeypatch.setattr(os, "link", unable)
    target = tmp_path / "sorted"
    sort_into_classes(predictions(tmp_path, ROWS), root, target)
    copied = target / "dog" / "001.jpg"
    assert copied.stat().st_nlink == 1 and not copied.is_symlink()


def test_a_folder_with_other_files_is_refused(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "sorted"
    target.mkdir()
    (target / "mine").write_text("")
    with pytest.raises(DataError, match="name an empty folder"):
        sort_into_classes(predictions(tmp_path, ROWS), root, target)


@pytest.mark.parametrize("inside", [".", "a", ".."])
def test_a_folder_among_the_photos_is_refused(root: Path, tmp_path: Path, inside: str) -> None:
    with pytest.raises(DataError, match="lie in one another"):
        sort_into_classes(predictions(tmp_path, ROWS), root, root / inside)


def test_an_unknown_way_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="'teleport'"):
        sort_into_classes(predictions(tmp_path, ROWS), root, tmp_path / "s", link="teleport")


def test_a_photo_that_is_gone_is_named(root: Path, tmp_path: Path) -> None:
    path = predictions(tmp_path, {"gone.jpg": "cat"})
    with pytest.raises(DataError, match=r"gone\.jpg cannot be linked"):
        sort_into_classes(path, root, tmp_path / "sorted", link="copy")


def test_classes_never_share_a_folder_nor_leave_the_target(root: Path, tmp_path: Path) -> None:
    rows: dict[str, str | None] = {
        "a/000.jpg": "a/b",
        "a/001.jpg": "A_B",
        "a/002.jpg": "../..",
        "b/000.jpg": "",
    }
    target = tmp_path / "sorted"
    sort_into_classes(predictions(tmp_path, rows), root, target)
    assert names(target) == ["A_B (2)/001.jpg", "_ (2)/000.jpg", "_/002.jpg", "a_b/000.jpg"]


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_every_class_gives_the_name_of_a_folder(name: str) -> None:
    folder = class_folder(name)
    assert folder and "/" not in folder and folder not in (".", "..") and "\0" not in folder
    assert len(folder.encode()) <= 200
