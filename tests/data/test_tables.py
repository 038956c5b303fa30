import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.data.folder import ImageFolder
from houndsight.data.settings import DataSettings
from houndsight.data.tables import list_table
from houndsight.errors import DataError


def photos(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def table(root: Path, text: str, name: str = "labels.csv") -> Path:
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def listed(folder: ImageFolder) -> list[tuple[str, str, str]]:
    columns = (folder.table[name].to_pylist() for name in ("path", "class_index", "split"))
    return [(p, folder.classes[c].original, s) for p, c, s in zip(*columns, strict=True)]


def rules(folder: ImageFolder) -> dict[str, int]:
    return {finding.rule: finding.count for finding in folder.findings}


def test_a_table_alone_and_a_table_in_a_folder(tmp_path: Path) -> None:
    photos(tmp_path, "a/1.jpg", "2.png", "3.jpg")
    path = table(tmp_path, "path,label\na/1.jpg,cat\n./2.png,dog\n3.jpg,cat\n")
    for source in (path, tmp_path):
        folder = ImageFolder.open(source)
        assert listed(folder) == [
            ("2.png", "dog", ""),
            ("3.jpg", "cat", ""),
            ("a/1.jpg", "cat", ""),
        ]
        assert folder.findings == ()
        assert folder.root == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath;label\n1.jpg;cat\n2.jpg;dog\n",
        "Label\tFilename\tnote\ncat\t1.jpg\tx\ndog\t2.jpg\t\n",
        '"path","label"\r\n"1.jpg","cat"\r\n"2.jpg"," dog "\r\n',
        "image,class,id\n1.jpg,cat,7\n2.jpg,dog,8\n",
    ],
)
def test_dialects_and_column_names(tmp_path: Path, text: str) -> None:
    photos(tmp_path, "1.jpg", "2.jpg")
    table(tmp_path, text)
    assert listed(ImageFolder.open(tmp_path)) == [("1.jpg", "cat", ""), ("2.jpg", "dog", "")]


def test_labels_are_text_even_when_they_look_like_nothing(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    table(tmp_path, "path,label\n1.jpg,NA\n2.jpg,null\n3.jpg,1.0\n4.jpg,NA\n")
    assert [c.original for c in ImageFolder.open(tmp_path).classes] == ["1.0", "NA", "null"]


def test_splits_and_groups_of_a_table(tmp_path: Path) -> None:
    photos(tmp_path, *(f"{n}.jpg" for n in range(6)))
    rows = ["0,cat,train,p1,x", "1,dog,Training,p1,y", "2,cat,val,p2,x"]
    rows += ["3,dog,VALIDATION,p2,y", "4,cat,test,p3,x", "5,dog,test,,y"]
    text = "\n".join(f"{row.split(',')[0]}.jpg,{row.split(',', 1)[1]}" for row in rows)
    table(tmp_path, "path,label,split,group,camera\n" + text + "\n")
    folder = ImageFolder.open(tmp_path)
    assert folder.split_sizes == {"train": 2, "valid": 2, "test": 2}
    assert folder.table["group"].to_pylist() == ["p1", "p1", "p2", "p2", "p3", None]
    assert rules(folder) == {}
    by_camera = ImageFolder.open(tmp_path, DataSettings(group="column:camera"))
    assert by_camera.table["group"].to_pylist() == list("xyxyxy")
    assert rules(by_camera) == {"GroupLeakage": 2}
    with pytest.raises(DataError, match=r"column:site, but .* it has 'path', 'label', 'split'"):
        ImageFolder.open(tmp_path, DataSettings(group="column:site"))


def test_a_parquet_table_with_numbers_and_dictionaries(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    columns = {
        "path": pa.array(["1.jpg", "2.jpg", "3.jpg"]).dictionary_encode(),
        "label": pa.array([7, 12, 7]),
        "group": pa.array([1, 2, None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    folder = ImageFolder.open(tmp_path)
    assert [row[1] for row in listed(folder)] == ["7", "12", "7"]
    assert folder.table["group"].to_pylist() == ["1", "2", None]


def test_rows_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg")
    table(
        tmp_path,
        "path,label,split\n1.jpg,cat,train\n2.jpg,dog,train\n3.jpg,cat,test\n"
        "gone.jpg,cat,train\n4.jpg,,train\n,dog,train\n5.jpg,cat,somewhere\n6.jpg,cat,\n"
        "1.jpg,cat,test\n2.jpg,dog,train\n3.jpg,dog,test\na,b\nx,y,z,w\n",
    )
    folder = ImageFolder.open(tmp_path)
    assert listed(folder) == [
        ("1.jpg", "cat", "test"),
        ("2.jpg", "dog", "train"),
    ]
    assert rules(folder) == {
        "ClassesWithoutTraining": 1,
        "TornRows": 2,
        "BlankRows": 2,
        "UnknownSplits": 2,
        "MissingFiles": 1,
        "ContradictoryLabels": 2,
        "RepeatedRows": 2,
    }
    missing = next(f for f in folder.findings if f.rule == "MissingFiles")
    assert missing.examples == ("gone.jpg",)
    assert "labels.csv" in missing.title


def test_splits_without_training_photos(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg")
    table(tmp_path, "path,label,split\n1.jpg,cat,test\n2.jpg,dog,test\n")
    with pytest.raises(DataError, match="no usable row with the split train"):
        ImageFolder.open(tmp_path)


def test_backslashes_written_on_windows(tmp_path: Path) -> None:
    photos(tmp_path, "a/1.jpg", "b\\2.jpg")
    table(tmp_path, "path,label\na\\1.jpg,cat\nb\\2.jpg,dog\n")
    assert [row[0] for row in listed(ImageFolder.open(tmp_path))] == ["a/1.jpg", "b\\2.jpg"]


def test_a_persons_own_table_may_name_photos_anywhere(tmp_path: Path) -> None:
    photos(tmp_path, "elsewhere/1.jpg", "here/2.jpg", "here/3.jpg")
    text = f"path,label\n../elsewhere/1.jpg,cat\n{tmp_path}/here/2.jpg,dog\n3.jpg,cat\n"
    path = table(tmp_path / "here", text)
    folder = ImageFolder.open(path)
    assert [p.resolve() for p in folder.all().paths()] == [
        tmp_path / "elsewhere/1.jpg",
        tmp_path / "here/2.jpg",
        tmp_path / "here/3.jpg",
    ]
    contained = list_table(path, contained=True)
    assert contained.paths.to_pylist() == ["3.jpg"]
    (finding,) = contained.findings
    assert (finding.rule, finding.count) == ("PathsOutside", 2)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot be read as a label table|no column path"),
        (b"id,breed\n1,cat\n", "has no column path and no column label; .* has 'id', 'breed'"),
        (b"1.jpg,cat\n2.jpg,dog\n", "has no column path"),
        (b"path,label\n\xff\xfe.jpg,cat\n", "must be CSV in UTF-8"),
        (b"\xff\xfep\0a\0t\0h\0,\0l\0", "must be CSV in UTF-8"),
        (b"path,label\n", "names no photo that can be used: 0 rows"),
        (b"path,label\nx.jpg,cat\ny.jpg,dog\n", r"2 rows\..*are not there: 2\. First: x\.jpg"),
        (b'path,label\n"x.jpg,cat\n', "names no photo|cannot be read"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        ImageFolder.open(path)


def test_a_foreign_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match="cannot be read as a label table"):
        ImageFolder.open(tmp_path)
    pq.write_table(pa.table({"path": [["a"]], "label": ["x"]}), tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="cannot be read as a label table"):
        ImageFolder.open(tmp_path)


def test_class_folders_are_taken_when_labels_csv_is_something_else(tmp_path: Path) -> None:
    photos(tmp_path, "cat/1.jpg", "dog/2.jpg")
    table(tmp_path, "id,breed\n1,cat\n")
    folder = ImageFolder.open(tmp_path)
    assert len(folder) == 2
    assert rules(folder) == {"LabelTableIgnored": 1}


cell = st.text(st.characters(codec="utf-8"), max_size=12)
path_cell = st.sampled_from(["1.jpg", "2.jpg", "a/3.jpg", "../x.jpg", "/etc/hosts"]) | cell


@pytest.fixture(scope="module")
def photo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("table"), "1.jpg", "2.jpg", "a/3.jpg")


def assert_usable(path: Path) -> None:
    try:
        listing = list_table(path, contained=True)
    except DataError as error:
        assert str(error)
        return
    paths = listing.paths.to_pylist()
    assert len(set(paths)) == len(paths)
    for name, label in zip(paths, listing.labels, strict=True):
        assert (path.parent / name).is_file()
        assert name in ("1.jpg", "2.jpg", "a/3.jpg")
        assert listing.originals[label].strip()


@settings(max_examples=100)
@given(st.lists(st.tuples(path_cell, cell, cell, cell), max_size=8))
def test_any_cells_are_read_or_refused(
    photo_root: Path, rows: list[tuple[str, str, str, str]]
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("path", "label", "split", "group"), *rows])
    path = photo_root / "any.csv"
    path.write_bytes(text.getvalue().encode())
    assert_usable(path)


@settings(max_examples=100)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"path,label\n", b"path,label,split\n1.jpg,"])
)
def test_any_bytes_are_read_or_refused(photo_root: Path, content: bytes, start: bytes) -> None:
    path = photo_root / "bytes.csv"
    path.write_bytes(start + content)
    assert_usable(path)
