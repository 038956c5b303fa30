import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_model import CLASSES, make_artifact, saved_model

from houndsight.errors import ArtifactError, DataError, RunLockedError, SettingError
from houndsight.events import StageEnded, StageProgress, StageStarted
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.bulk import BulkResult, predict_folder
from houndsight.serving.journal import Journal
from houndsight.serving.photos import scan_photos

Photos = Callable[..., Path]
SCRIPT = Path(__file__).with_name("bulk_slowly.py")


def artifact() -> ModelArtifact:
    return ModelArtifact.load(saved_model("openvino"))


def predict(folder: Path, out: Path, **options: Any) -> BulkResult:
    return predict_folder(artifact(), folder, out, **({"batch_size": 4, "workers": 0} | options))


def test_every_photo_has_its_row(photo_folder: Photos, tmp_path: Path) -> None:
    folder = photo_folder({"b": 5, "a/deep": 4})
    result = predict(folder, tmp_path / "out.parquet")
    assert result == BulkResult(photos=9, errors=0, reused=0)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["path", "class", "confidence", "probabilities", "error"]
    paths = table["path"].to_pylist()
    assert paths == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
    expected = artifact().predict([folder / p for p in paths])
    found = np.array(table["probabilities"].to_pylist(), np.float32)
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-5)
    assert table["class"].to_pylist() == [top[0][0] for top in expected.top(1)]
    np.testing.assert_array_equal(table["confidence"].to_numpy(), found.max(axis=1))
    assert table["error"].null_count == 9
    meta = json.loads(table.schema.metadata[b"houndsight"])
    assert meta["classes"][3] == ["ünder", "003.ünder"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.parquet", "photos"]


def test_bad_photos_are_recorded_with_their_error(photo_folder: Photos, tmp_path: Path) -> None:
    folder = photo_folder({"a": 6})
    (folder / "a" / "001.jpg").write_bytes(b"")
    (folder / "a" / "003.jpg").write_bytes(b"not a photo")
    (folder / "a" / "dangling.png").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(folder / "a") + b"/\xff.jpg")).write_bytes(b"x")
    (folder / "a" / "notes.txt").write_text("")
    (folder / ".hidden.jpg").write_text("")
    result = predict(folder, tmp_path / "out.parquet")
    assert (result.photos, result.errors) == (8, 4)
    rows = {r["path"]: r for r in pq.read_table(tmp_path / "out.parquet").to_pylist()}
    assert rows["a/001.jpg"]["error"].startswith("empty")
    assert rows["a/003.jpg"]["error"].startswith("not-an-image")
    assert rows["a/dangling.png"]["error"].startswith("missing")
    assert "UTF-8" in rows["a/?.jpg"]["error"]
    assert rows["a/001.jpg"]["class"] is None and rows["a/001.jpg"]["probabilities"] is None
    assert rows["a/000.jpg"]["error"] is None and rows["a/000.jpg"]["confidence"] > 0


def test_a_folder_of_nothing_but_bad_photos(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(5):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(b"x")
    assert predict(tmp_path / "photos", tmp_path / "out.parquet").errors == 5


def test_a_finished_file_is_extended_by_new_photos(photo_folder: Photos, tmp_path: Path) -> None:
    folder, out = photo_folder({"a": 6}), tmp_path / "out.parquet"
    (folder / "a" / "002.jpg").write_bytes(b"x")
    predict(folder, out)
    before = {r["path"]: r for r in pq.read_table(out).to_pylist()}
    (folder / "a" / "new.jpg").write_bytes((folder / "a" / "003.jpg").read_bytes())
    (folder / "a" / "001.jpg").unlink()
    assert predict(folder, out, extend=True) == BulkResult(photos=6, errors=1, reused=5)
    after = {r["path"]: r for r in pq.read_table(out).to_pylist()}
    assert set(after) - set(before) == {"a/new.jpg"} and set(before) - set(after) == {"a/001.jpg"}
    assert all(after[path] == before[path] for path in set(after) & set(before))
    written = out.stat().st_mtime_ns
    assert predict(folder, out, extend=True) == BulkResult(photos=6, errors=1, reused=6)
    assert out.stat().st_mtime_ns == written


def test_csv_is_written_where_the_name_says_so(photo_folder: Photos, tmp_path: Path) -> None:
    folder = photo_folder({"a": 3})
    (folder / "a" / "001.jpg").write_bytes(b"x")
    predict(folder, tmp_path / "out.csv")
    predict(folder, tmp_path / "out.parquet")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        first, second, _ = rows = list(csv.DictReader(file))
    assert list(first) == [
        "path", "class", "confidence", *(f"p({c.name})" for c in CLASSES), "error",
    ]  # fmt: skip
    expected = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [r["path"] for r in rows] == [r["path"] for r in expected]
    shares = [float(first[f"p({c.name})"]) for c in CLASSES]
    assert shares == pytest.approx(expected[0]["probabilities"])
    assert float(first["confidence"]) == pytest.approx(max(shares))
    assert second["class"] == second["p(red)"] == "" and second["error"].startswith("not-an-image")


def test_another_ending_is_refused(photo_folder: Photos, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"Parquet or CSV: name it out\.parquet or out\.csv"):
        predict(photo_folder({"a": 1}), tmp_path / "out.xlsx")


def test_tells_its_progress(photo_folder: Photos, tmp_path: Path) -> None:
    events: list[Any] = []
    predict(photo_folder({"a": 9}), tmp_path / "out.parquet", listener=events.append)
    assert isinstance(events[0], StageStarted) and events[0].total == 9
    assert [e.done for e in events if isinstance(e, StageProgress)] == [0, 4, 8, 9]
    assert isinstance(events[-1], StageEnded) and "9 photos" in events[-1].text


def test_decoding_workers_give_the_same_rows(photo_folder: Photos, tmp_path: Path) -> None:
    folder = photo_folder({"a": 10})
    (folder / "a" / "004.jpg").write_bytes(b"x")
    predict(folder, tmp_path / "one.parquet")
    predict(folder, tmp_path / "two.parquet", workers=2)
    one, two = (pq.read_table(tmp_path / f"{n}.parquet") for n in ("one", "two"))
    assert one.drop(["probabilities", "confidence"]) == two.drop(["probabilities", "confidence"])


def run_script(folder: Path, out: Path, seconds: float) -> "subprocess.Popen[str]":
    model = saved_model("openvino")
    command = [sys.executable, str(SCRIPT), str(model), str(folder), str(out), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_and_started_again_it_repeats_one_batch_at_most(
    photo_folder: Photos, tmp_path: Path
) -> None:
    folder, out = photo_folder({"a": 30}), tmp_path / "out.parquet"
    computed = 0
    for batches in (3, 2):
        with run_script(folder, out, 0.3) as process:
            assert process.stdout is not None
            for _ in range(batches):
                computed += int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
        assert not out.exists()
    (folder / "a" / "0005.jpg").write_bytes((folder / "a" / "005.jpg").read_bytes())
    with run_script(folder, out, 0) as process:
        assert process.stdout is not None
        *lines, last = process.stdout.read().splitlines()
    computed += sum(map(int, lines))
    assert last.split()[:3] == ["finished", "31", "0"]
    assert 12 <= int(last.split()[3]) <= 20
    assert 31 <= computed <= 31 + 2 * 4
    rows = pq.read_table(out)["path"].to_pylist()
    assert len(rows) == len(set(rows)) == 31
    assert not out.with_name("out.parquet.partial").exists()


def test_photos_that_went_away_meanwhile_are_not_in_the_file(
    photo_folder: Photos, tmp_path: Path
) -> None:
    folder, out = photo_folder({"a": 12}), tmp_path / "out.parquet"
    with run_script(folder, out, 0.3) as process:
        assert process.stdout is not None
        [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGKILL)
    (folder / "a" / "000.jpg").unlink()
    assert predict(folder, out).photos == 11
    assert "a/000.jpg" not in pq.read_table(out)["path"].to_pylist()


def test_what_is_in_the_way_is_said(photo_folder: Photos, tmp_path: Path) -> None:
    folder, out = photo_folder({"a": 3}), tmp_path / "out.parquet"
    predict(folder, out)
    with pytest.raises(DataError, match="there already"):
        predict(folder, out)
    assert predict(folder, out, overwrite=True).photos == 3
    assert predict(folder, out, extend=True) == BulkResult(photos=3, errors=0, reused=3)
    with pytest.raises(DataError, match="there already"):
        predict_folder(make_artifact(), folder, out, extend=True)
    out.unlink()
    aside = tmp_path / "out.parquet.partial"
    aside.mkdir()
    (aside / "key.json").write_text('{"v": 1, "model": "another"}')
    with pytest.raises(DataError, match="another model or folder"):
        predict(folder, out)
    with (aside / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunLockedError, match="another process"):
            predict(folder, out)
    assert predict(folder, out, overwrite=True).photos == 3


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir()])
def test_a_folder_without_photos_is_named(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "photos")
    with pytest.raises(DataError, match="photos"):
        predict(tmp_path / "photos", tmp_path / "out.parquet")


def test_a_target_that_cannot_be_written_is_named(photo_folder: Photos, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        predict(photo_folder({"a": 1}), tmp_path / "file" / "out.parquet")


SCHEMA = pa.schema({"path": pa.string(), "error": pa.string()})


def record(count: int) -> pa.RecordBatch:
    return pa.record_batch(
        [pa.array([f"{count}-{i}" for i in range(count)]), pa.nulls(count, pa.string())],
        schema=SCHEMA,
    )


def test_a_journal_torn_at_any_byte_keeps_every_whole_batch(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    journal, ends = Journal(path, SCHEMA), [path.stat().st_size]
    for count in (3, 1, 4):
        journal.append(record(count))
        ends.append(path.stat().st_size)
    journal.close()
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal = Journal(path, SCHEMA)
        kept = sum(end <= cut for end in ends[1:])
        assert len(list(journal.batches())) == kept
        journal.append(record(2))
        assert [len(b) for b in journal.batches()] == [*[3, 1, 4][:kept], 2]
        journal.close()
    with pytest.raises(ArtifactError, match="other rows"):
        Journal(path, pa.schema({"x": pa.int8()}))


def test_a_scan_leaves_out_its_own_files_and_linked_folders(
    photo_folder: Photos, tmp_path: Path
) -> None:
    folder = photo_folder({"a": 2, "skip": 2})
    (folder / "loop").symlink_to(folder)
    found = scan_photos(folder, leave_out=[folder / "skip"])
    assert [p.relative_to(folder).as_posix() for p in found] == ["a/000.jpg", "a/001.jpg"]
    assert len(found[1:]) == 1 and len(CLASSES) == 4
