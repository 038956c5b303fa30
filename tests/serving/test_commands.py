"""`houndsight predict` and `houndsight serve` as a person calls them."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from tiny_model import saved_model
from typer.testing import CliRunner

from houndsight.cli.predict import predict
from houndsight.cli.serve import serve
from houndsight.errors import ArtifactError, DataError, HoundsightError, SettingError

Photos = Callable[..., Path]

app = typer.Typer()
app.command()(predict)
app.command()(serve)


def call(*arguments: object) -> str:
    found = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "100"})
    if found.exception is not None:
        raise found.exception
    return found.output


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "model").symlink_to(saved_model("openvino"))
    return folder


def test_a_photo_is_shown_as_a_table(run: Path, photo_folder: Photos) -> None:
    text = call("predict", run, photo_folder({"a": 1}) / "a" / "000.jpg")
    assert "000.jpg" in text and "ünder" in text and "%" in text


def test_photos_as_json_with_a_bad_one(run: Path, photo_folder: Photos, tmp_path: Path) -> None:
    good = photo_folder({"a": 1}) / "a" / "000.jpg"
    lines = call("predict", run, good, tmp_path / "none.jpg", "--json", "--top", 2).splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["path"] == str(good) and len(first["top"]) == 2
    assert first["class"] == first["top"][0]["class"]
    assert "does not exist" in second["error"]


def test_one_bad_photo_is_one_sentence(run: Path, tmp_path: Path) -> None:
    (tmp_path / "env.sh").write_text("export A=1\n")
    found = CliRunner().invoke(app, ["predict", str(run), str(tmp_path / "env.sh")])
    assert found.output == ""
    assert isinstance(found.exception, DataError)
    assert str(found.exception) == f"{tmp_path / 'env.sh'} is not a photo: it begins like text."


def test_a_folder_becomes_a_file_and_is_sorted(
    run: Path, photo_folder: Photos, tmp_path: Path
) -> None:
    folder, out, target = photo_folder({"a": 3}), tmp_path / "p.parquet", tmp_path / "sorted"
    options = ("--out", out, "--sort-into", target, "--workers", 0)
    assert "3 photos" in call("predict", run, folder, *options)
    assert pq.read_metadata(out).num_rows == 3
    assert len(list(target.rglob("*.jpg"))) == 3
    assert "3 photos" in call("predict", run, folder, *options)


def test_photos_that_came_since_are_predicted_and_sorted(
    run: Path, photo_folder: Photos, tmp_path: Path
) -> None:
    folder, out, target = photo_folder({"a": 3}), tmp_path / "p.parquet", tmp_path / "sorted"
    options = ("--out", out, "--sort-into", target, "--workers", 0)
    call("predict", run, folder, *options)
    (folder / "a" / "new.jpg").write_bytes((folder / "a" / "001.jpg").read_bytes())
    assert "4 photos" in call("predict", run, folder, *options)
    assert pq.read_metadata(out).num_rows == 4
    assert len(list(target.rglob("new.jpg"))) == 1


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("photos/sorted", "lie in one another"),
        (".", "lie in one another"),
        ("full", "name an empty folder"),
        ("out", "beside it"),
        ("full/file/below", "cannot be written"),
    ],
)
def test_where_to_sort_into_is_checked_before_predicting(
    run: Path, photo_folder: Photos, tmp_path: Path, target: str, sentence: str
) -> None:
    folder, out = photo_folder({"a": 1}), tmp_path / "out" / "p.parquet"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(DataError, match=sentence):
        call("predict", run, folder, "--out", out, "--sort-into", tmp_path / target)
    assert not out.parent.exists()
    with pytest.raises(SettingError, match=r"name it p\.parquet"):
        call("predict", run, folder, "--out", "p.csv", "--sort-into", tmp_path / "sorted")


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        (("predict", "{run}", "{folder}"), SettingError, "add --out"),
        (("predict", "{run}", "{folder}/none.jpg"), DataError, "does not exist"),
        (("predict", "{run}", "x.jpg", "--out", "y.csv"), SettingError, "for a folder"),
        (("predict", "{folder}", "x.jpg"), ArtifactError, "not a saved model"),
        (("serve", "{folder}"), ArtifactError, "not a saved model"),
        (("serve", "{run}", "--set", "serving.colour=red"), SettingError, "no setting"),
    ],
)
def test_mistakes_are_sentences(
    run: Path,
    photo_folder: Photos,
    arguments: tuple[str, ...],
    kind: type[HoundsightError],
    sentence: str,
) -> None:
    folder = photo_folder({"a": 1})
    filled = [a.format(run=run, folder=folder) for a in arguments]
    with pytest.raises(kind, match=sentence):
        call(*filled)
