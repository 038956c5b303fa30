import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from houndsight.data.folder import ImageFolder
from houndsight.data.settings import DataSettings
from houndsight.errors import DataError
from houndsight.events import Event, StageEnded, StageStarted


def make(root: Path, names: list[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def many(root: Path, *splits: str, count: int = 40) -> Path:
    return make(
        root,
        [
            f"{split}{'/' if split else ''}{label}/{n}.jpg"
            for split in splits
            for label in ("cat", "dog")
            for n in range(count)
        ],
    )


def splits_by_path(folder: ImageFolder) -> dict[str, str]:
    return dict(
        zip(folder.table["path"].to_pylist(), folder.table["split"].to_pylist(), strict=True)
    )


def test_without_splits_both_are_drawn(tmp_path: Path) -> None:
    folder = ImageFolder.open(many(tmp_path, "")).with_splits()
    assert folder.split_sizes == {"train": 56, "valid": 12, "test": 12}
    assert folder.findings == ()
    for name in ("train", "valid", "test"):
        assert len(set(np.bincount(folder.split(name).labels))) == 1
    assert splits_by_path(folder.with_splits()) == splits_by_path(folder)


def test_a_given_validation_split_becomes_the_test(tmp_path: Path) -> None:
    given = ImageFolder.open(many(tmp_path, "train", "valid"))
    folder = given.with_splits()
    assert folder.split_sizes == {"train": 68, "valid": 12, "test": 80}
    assert all(path.startswith("valid/") for path in folder.split("test").table["path"].to_pylist())
    assert folder.splits_given


def test_a_given_test_split_stays_and_validation_is_drawn(tmp_path: Path) -> None:
    folder = ImageFolder.open(many(tmp_path, "train", "test")).with_splits()
    assert folder.split_sizes == {"train": 68, "valid": 12, "test": 80}
    assert all(path.startswith("test/") for path in folder.split("test").table["path"].to_pylist())


def test_three_given_splits_stay(tmp_path: Path) -> None:
    given = ImageFolder.open(many(tmp_path, "train", "valid", "test"))
    assert splits_by_path(given.with_splits()) == splits_by_path(given)


def test_shares_and_seed_are_settings(tmp_path: Path) -> None:
    given = ImageFolder.open(many(tmp_path, ""))
    settings = DataSettings(valid_share=0.1, test_share=0.25, seed=3)
    folder = given.with_splits(settings)
    assert folder.split_sizes == {"train": 52, "valid": 8, "test": 20}
    assert splits_by_path(folder) == splits_by_path(given.with_splits(settings))
    other = given.with_splits(DataSettings(valid_share=0.1, test_share=0.25, seed=4))
    assert splits_by_path(folder) != splits_by_path(other)


def test_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    given = ImageFolder.open(many(tmp_path, ""))
    together = np.arange(len(given)) // 5
    drawn = np.array(given.with_splits(keep_together=together).table["split"].to_pylist())
    for group in range(16):
        assert len(set(drawn[together == group])) == 1


def test_groups_by_folder_and_by_name(tmp_path: Path) -> None:
    names = [f"{c}/p{p}/{n}.jpg" for c in ("cat", "dog") for p in range(8) for n in range(3)]
    make(tmp_path / "folders", names)
    by_level = ImageFolder.open(tmp_path / "folders", DataSettings(group="level:2")).with_splits()
    names = [f"{c}/patient{p}_{n}.jpg" for c in ("cat", "dog") for p in range(8) for n in range(3)]
    make(tmp_path / "names", names)
    settings = DataSettings(group=r"pattern:(patient\d+)_")
    by_name = ImageFolder.open(tmp_path / "names", settings).with_splits(settings)
    for folder in (by_level, by_name):
        groups, drawn = folder.table["group"].to_pylist(), folder.table["split"].to_pylist()
        assert None not in groups
        assert len(set(zip(groups, drawn, strict=True))) == 8
        assert set(drawn) == {"train", "valid", "test"}


def test_a_group_that_no_photo_has_is_refused(tmp_path: Path) -> None:
    many(tmp_path, "")
    with pytest.raises(DataError, match=r"no photo has such a group; .* 'cat/0\.jpg'"):
        ImageFolder.open(tmp_path, DataSettings(group="level:4"))
    with pytest.raises(DataError, match="has no label table"):
        ImageFolder.open(tmp_path, DataSettings(group="column:patient"))


def test_groups_across_given_splits_are_a_finding(tmp_path: Path) -> None:
    make(
        tmp_path, [f"train/{c}/p{p}_{n}.jpg" for c in ("a", "b") for p in (1, 2) for n in range(3)]
    )
    make(tmp_path, [f"test/{c}/p{p}_{n}.jpg" for c in ("a", "b") for p in (2, 3) for n in range(3)])
    folder = ImageFolder.open(tmp_path, DataSettings(group=r"pattern:(p\d)_"))
    (finding,) = folder.findings
    assert finding.rule == "GroupLeakage"
    assert finding.examples == ("p2",)
    assert "1 of 3 (12 photos)" in finding.title


def test_what_groups_keep_from_being_drawn_is_a_finding(tmp_path: Path) -> None:
    sizes = {"a/p0": 30, "a/p1": 2, "b/p2": 20, "b/p3": 20, "b/p4": 2}
    make(tmp_path, [f"{group}/{n}.jpg" for group, size in sizes.items() for n in range(size)])
    folder = ImageFolder.open(tmp_path, DataSettings(group="level:2")).with_splits()
    found = {(f.rule, f.where) for f in folder.findings}
    absent = [n for n in ("valid", "test") if len(np.unique(folder.split(n).labels)) < 2]
    missed = [n for n in ("valid", "test") if abs(len(folder.split(n)) / 74 - 0.15) > 0.05]
    assert found == {("ClassesNotDrawn", n) for n in absent} | {("SharesMissed", n) for n in missed}
    assert found


def test_classes_that_nothing_trains_are_a_finding(tmp_path: Path) -> None:
    many(tmp_path, "train", "test", count=3)
    make(tmp_path, ["test/Cat/1.jpg"])
    (finding,) = ImageFolder.open(tmp_path).findings
    assert (finding.rule, finding.examples) == ("ClassesWithoutTraining", ("Cat",))


def test_photos_set_aside_leave_the_others_their_ids(tmp_path: Path) -> None:
    folder = ImageFolder.open(many(tmp_path, "", count=3))
    fewer = folder.without([0, 4])
    assert fewer.table["id"].to_pylist() == [1, 2, 3, 5]
    assert fewer.classes == folder.classes
    assert len(folder.without([])) == 6
    with pytest.raises(DataError, match="at least two classes"):
        folder.without([0, 1, 2]).require_classes()
    with pytest.raises(DataError, match="there is none"):
        folder.without(range(6)).require_classes()


def test_a_split_is_lazy_and_can_be_reordered(tmp_path: Path) -> None:
    folder = ImageFolder.open(many(tmp_path, "")).with_splits()
    split = folder.split("valid")
    assert len(split) == len(split.paths()) == len(split.ids) == len(split.labels)
    taken = split.take([5, 1, 5])
    assert taken.ids.tolist() == split.ids[[5, 1, 5]].tolist()
    assert taken.paths()[0] == taken.paths()[-1] == split.paths()[5]
    assert [p.name for p in split.paths()[2:4]] == [split.paths()[2].name, split.paths()[3].name]
    assert list(split.paths()) == [split.paths()[i] for i in range(len(split))]
    assert len(folder.all()) == 80
    with pytest.raises(IndexError):
        split.paths()[len(split)]


def test_hashes_are_given_or_missed_with_a_sentence(tmp_path: Path) -> None:
    folder = ImageFolder.open(many(tmp_path, "", count=2))
    with pytest.raises(DataError, match=r"4 photos of .* have no content hash yet"):
        _ = folder.all().hashes
    assert folder.with_hashes(["a", "b", "c", "d"]).all().hashes == ["a", "b", "c", "d"]


def test_the_fingerprint_is_of_what_is_learned_from(tmp_path: Path) -> None:
    one, two = (ImageFolder.open(many(tmp_path / n, "", count=3)) for n in ("one", "two"))
    assert one.fingerprint() == two.fingerprint()
    assert one.fingerprint() != one.with_splits().fingerprint()
    assert one.fingerprint() != one.without([2]).fingerprint()
    hashed = one.with_hashes(list("abcdef")).fingerprint()
    assert hashed != one.with_hashes(list("abcdeg")).fingerprint()
    (tmp_path / "two/cat/1.jpg").write_bytes(b"of another length")
    assert one.fingerprint() != two.fingerprint()


def test_photos_are_written_and_read_back(tmp_path: Path) -> None:
    many(tmp_path, "train", "valid", count=4)
    folder = ImageFolder.open(tmp_path).with_splits().without([3])
    folder = folder.with_hashes([f"{n:032x}" for n in range(len(folder))])
    folder.write_photos(tmp_path / "photos.parquet")
    again = ImageFolder.read_photos(tmp_path / "photos.parquet", tmp_path)
    assert again.table.equals(folder.table)
    assert (again.classes, again.splits_given, again.root) == (folder.classes, True, tmp_path)
    assert again.fingerprint() == folder.fingerprint()
    columns = ["id", "path", "class_index", "split", "group", "hash", "together"]
    assert pq.read_table(tmp_path / "photos.parquet").column_names == columns


def test_groups_and_look_alikes_bind_each_other(tmp_path: Path) -> None:
    make(tmp_path, [f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(3)])
    folder = ImageFolder.open(tmp_path)
    assert folder.together is None
    groups = pa.array(["p", "q", None, None, "q", None])
    index = folder.table.schema.get_field_index("group")
    grouped = replace(folder, table=folder.table.set_column(index, "group", groups))
    # 0 and 3 look alike, and so do 2 and 4; 1 and 4 are one person's group.
    bound = grouped.kept_together(np.array([0, 1, 2, 0, 2, 5])).together
    assert bound is not None
    assert [set(np.flatnonzero(bound == number)) for number in bound] == [
        {0, 3},
        {1, 2, 4},
        {1, 2, 4},
        {0, 3},
        {1, 2, 4},
        {5},
    ]


def test_foreign_and_newer_photo_tables_get_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "photos.parquet"
    with pytest.raises(DataError, match="is not there"):
        ImageFolder.read_photos(path, tmp_path)
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match="is not a table of photos"):
        ImageFolder.read_photos(path, tmp_path)
    table = pa.table({"id": [1]})
    pq.write_table(table, path)
    with pytest.raises(DataError, match="is not a table of photos"):
        ImageFolder.read_photos(path, tmp_path)
    meta = {"houndsight": json.dumps({"v": 99, "classes": [], "splits_given": True})}
    pq.write_table(table.replace_schema_metadata(meta), path)
    with pytest.raises(DataError, match="newer than this version reads"):
        ImageFolder.read_photos(path, tmp_path)


def test_the_scan_is_told_as_a_stage(photo_folder: Callable[..., Path]) -> None:
    events: list[Event] = []
    ImageFolder.open(photo_folder({"a": 2, "b": 2}), listener=events.append)
    assert isinstance(events[0], StageStarted)
    assert isinstance(events[-1], StageEnded)
    assert events[-1].text == "4 photos of 2 classes"


def test_the_shared_dogs(shared_dogs: Path) -> None:
    folder = ImageFolder.open(shared_dogs)
    assert folder.split_sizes == {"train": 4800, "valid": 1200}
    assert len(folder.classes) == 120
    assert folder.classes[0].name == "Chihuahua"
    drawn = folder.with_splits()
    assert drawn.split_sizes == {"train": 4080, "valid": 720, "test": 1200}
    assert set(np.bincount(drawn.split("valid").labels)) == {6}
