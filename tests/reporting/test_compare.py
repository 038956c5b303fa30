"""Two runs compared photo by photo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from houndsight.cli.compare import EXIT_BELOW, compare
from houndsight.errors import RunError
from houndsight.reporting.compare import compare_runs
from houndsight.reporting.paired import mcnemar_p_value, newcombe_interval, paired_mean
from houndsight.runs import Run

CLASSES = ["cat", "dog", "fox"]


def make_run(
    folder: Path,
    labels: list[int],
    predicted: list[int],
    *,
    hashes: list[str] | None = None,
    split: str = "test",
    classes: list[str] = CLASSES,
) -> Path:
    run = Run.create(folder, kind="run", config={})
    run.set_results(classes=[{"name": name, "original": name} for name in classes])
    count = len(labels)
    hashes = hashes if hashes is not None else [f"h{i}" for i in range(count)]
    paths = [f"photos/{i}.jpg" for i in range(count)]
    probabilities = np.full((count, len(classes)), 0.1, np.float32)
    probabilities[np.arange(count), predicted] = 0.8
    flat = pa.array(probabilities.ravel())
    columns = {"id": range(count), "path": paths, "split": [split] * count, "class_index": labels}
    pq.write_table(pa.table({**columns, "hash": hashes}), run.photos)
    predictions = {
        "predicted": predicted,
        "confidence": probabilities.max(1),
        "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(classes)),
    }
    pq.write_table(pa.table({**columns, **predictions}), run.predictions)
    return folder


def test_the_difference_is_paired(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 20
    a = make_run(tmp_path / "a", labels, [0] * 60)
    b = make_run(tmp_path / "b", labels, [label if label else 1 for label in labels])
    found = compare_runs(a, b)
    assert (found.count, found.gained, found.lost) == (60, 40, 20)
    assert found.top1.difference == pytest.approx(1 / 3)
    assert found.top1.low < 1 / 3 < found.top1.high
    assert found.nll is not None and found.nll.difference < 0
    assert {c.name: c.top1.difference for c in found.classes} == {"cat": -1, "dog": 1, "fox": 1}
    assert found.notes == ()


def test_only_common_photos_count_and_it_says_so(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1, 2], [0, 1, 2], hashes=["x", "y", "z"])
    b = make_run(tmp_path / "b", [2, 1, 0, 0], [2, 0, 0, 0], hashes=["z", "y", "w", "v"])
    found = compare_runs(a, b)
    assert (found.count, found.lost, found.gained) == (2, 1, 0)
    assert "Only the 2 photos that both were tested on" in found.notes[0]


def test_photos_with_another_label_are_left_out(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1, 2], [0, 1, 2])
    b = make_run(tmp_path / "b", [0, 1, 1], [0, 1, 1])
    found = compare_runs(a, b)
    assert found.count == 2
    assert "another label" in found.notes[0]


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1], [0, 1])
    b = make_run(tmp_path / "b", [1, 0], [1, 0], classes=["dog", "cat"])
    assert compare_runs(a, b).count == 2


def test_no_common_photos_is_a_sentence(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1], [0, 1], hashes=["x", "y"])
    b = make_run(tmp_path / "b", [0, 1], [0, 1], hashes=["v", "w"])
    with pytest.raises(RunError, match="share no test photos"):
        compare_runs(a, b)


def test_paths_match_when_a_run_keeps_no_hashes(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1], [0, 1])
    b = make_run(tmp_path / "b", [0, 1], [0, 0])
    (b / "photos.parquet").unlink()
    assert compare_runs(a, b).count == 2


def test_out_of_fold_predictions_stand_for_test(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1], [0, 1], split="out-of-fold")
    b = make_run(tmp_path / "b", [0, 1], [0, 0])
    assert compare_runs(a, b).top1.difference == -0.5


@pytest.mark.parametrize("split", ["valid", "train"])
def test_validation_photos_do_not_count(tmp_path: Path, split: str) -> None:
    a = make_run(tmp_path / "a", [0, 1], [0, 1], split=split)
    with pytest.raises(RunError, match="no predictions on test photos"):
        compare_runs(a, a)


def test_an_unfinished_run_is_a_sentence(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1], [0, 1])
    (a / "predictions.parquet").unlink()
    with pytest.raises(RunError, match="has no predictions"):
        compare_runs(a, a)
    (a / "predictions.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(RunError, match="cannot be read"):
        compare_runs(a, a)


def test_newcombe_agrees_with_his_own_example() -> None:
    # Newcombe 1998, table III, contrast (36, 12, 2, 0): method 10 gives 0.0618 to 0.3242
    low, high = newcombe_interval(36, 12, 2, 0)
    assert (low, high) == (pytest.approx(0.0569, abs=0.006), pytest.approx(0.3404, abs=0.02))


def test_mcnemar_is_exact() -> None:
    assert mcnemar_p_value(0, 0) == 1
    assert mcnemar_p_value(5, 5) == 1
    assert mcnemar_p_value(10, 0) == pytest.approx(2 / 2**10)
    assert mcnemar_p_value(3000, 2000) < 1e-40


@given(st.tuples(*[st.integers(0, 300)] * 4).filter(lambda cells: sum(cells) > 0))
def test_the_interval_holds_the_difference(cells: tuple[int, int, int, int]) -> None:
    both, gained, lost, neither = cells
    low, high = newcombe_interval(both, gained, lost, neither)
    assert -1 - 1e-9 <= low <= (gained - lost) / sum(cells) <= high <= 1 + 1e-9


def test_the_bootstrap_covers_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        a = random.normal(size=80)
        found = paired_mean(a, a + random.normal(0.3, 0.5, size=80), seed)
        covered += found.low <= 0.3 <= found.high
    assert covered >= 50


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(compare)
    return app


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-below", "0"], EXIT_BELOW),
        (["--fail-below", "-30"], EXIT_BELOW),
        (["--fail-below", "-50"], 0),
        (["--fail-below", "-33.4"], 0),
        (["--fail-below", "nonsense"], 2),
    ],
)
def test_the_exit_code_tells_ci(
    tmp_path: Path, command: typer.Typer, options: list[str], code: int
) -> None:
    a = make_run(tmp_path / "a", [0, 1, 2], [0, 1, 2])
    b = make_run(tmp_path / "b", [0, 1, 2], [0, 1, 0])
    result = CliRunner().invoke(command, [str(a), str(b), *options])
    assert result.exit_code == code, result.output


def test_json_holds_the_verdict(tmp_path: Path, command: typer.Typer) -> None:
    a = make_run(tmp_path / "a", [0, 1, 2], [0, 1, 2])
    b = make_run(tmp_path / "b", [0, 1, 2], [0, 1, 0])
    result = CliRunner().invoke(command, [str(a), str(b), "--json", "--fail-below=0"])
    found = json.loads(result.stdout.splitlines()[0])
    assert found["failed"] is True
    assert found["top1"]["difference"] == pytest.approx(-1 / 3)
    assert len(found["classes"]) == 3
