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
    readable: list[str] | None = None,
    top1: float | None = None,
) -> Path:
    run = Run.create(folder, kind="run", config={})
    named = zip(readable or classes, classes, strict=True)
    run.set_results(classes=[{"name": name, "original": original} for name, original in named])
    if top1 is not None:
        run.set_results(metrics={"test": {"top1": top1}})
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


def test_classes_are_told_by_their_readable_names(tmp_path: Path) -> None:
    originals, names = ["001.Cat", "002.Dog"], ["Cat", "Dog"]
    a = make_run(tmp_path / "a", [0, 1], [0, 1], classes=originals, readable=names)
    b = make_run(tmp_path / "b", [0, 1], [1, 1], classes=originals, readable=names)
    found = compare_runs(a, b).classes[0]
    assert (found.name, found.original, found.top1.difference) == ("Cat", "001.Cat", -1)
    same = make_run(tmp_path / "c", [0, 1], [1, 1], classes=originals, readable=["Cat", "Cat"])
    assert compare_runs(same, b).classes[0].name == "001.Cat"


def test_a_run_has_nothing_more_than_itself(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1, 2] * 9, [0, 1, 1] * 9)
    found = compare_runs(a, tmp_path / "a" / ".." / "a")
    assert found.top1.to_json() == {
        "a": 2 / 3, "b": 2 / 3, "difference": 0.0, "low": 0.0, "high": 0.0, "clear": False,
    }  # fmt: skip
    assert "the same run" in found.notes[0]
    assert found.nll is not None and (found.nll.low, found.nll.high) == (0, 0)


def test_identical_predictions_of_two_runs_differ_by_nothing(tmp_path: Path) -> None:
    answers = [0, 1, 1] * 9
    a = make_run(tmp_path / "a", [0, 1, 2] * 9, answers)
    b = make_run(tmp_path / "b", [0, 1, 2] * 9, answers)
    found = compare_runs(a, b)
    assert (found.top1.difference, found.top1.low, found.top1.high) == (0, 0, 0)
    assert {(c.top1.low, c.top1.high) for c in found.classes} == {(0, 0)}
    assert "identical predictions" in found.notes[0]
    # The same photos right by other answers is not the same model.
    other = compare_runs(a, make_run(tmp_path / "c", [0, 1, 2] * 9, [0, 1, 0] * 9))
    assert other.top1.low < 0 < other.top1.high and other.notes == ()


def test_figures_that_differ_from_the_runs_own_are_explained(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [0, 1] * 4, [0, 1] * 4, split="out-of-fold", top1=0.905)
    b = make_run(tmp_path / "b", [0, 1] * 4, [0, 1] * 3 + [0, 0], split="out-of-fold", top1=0.875)
    notes = compare_runs(a, b).notes
    assert len(notes) == 1
    assert "a tells 90.5\u00a0% of itself, the mean over the repeats" in notes[0]


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


# Newcombe, Statistics in Medicine 17 (1998), pages 2641 and 2642: both, gained, lost, neither.
TABLE_III = [
    ((36, 12, 2, 0), (0.0569, 0.3404)),
    ((20, 12, 2, 16), (0.0562, 0.3292)),
    ((18, 12, 2, 18), (0.0562, 0.3290)),
    ((36, 14, 0, 0), (0.1528, 0.4167)),
    ((35, 14, 0, 1), (0.1461, 0.4175)),
    ((18, 14, 0, 18), (0.1441, 0.3963)),
    ((2, 97, 1, 0), (0.8721, 0.9854)),
    ((0, 29, 1, 0), (0.6666, 0.9882)),
    ((2, 98, 0, 0), (0.9178, 0.9945)),
    ((1, 98, 0, 1), (0.9171, 0.9916)),
    ((0, 30, 0, 0), (0.8395, 1.0000)),
    ((54, 0, 0, 0), (-0.0664, 0.0664)),
    ((30, 0, 0, 24), (-0.0358, 0.0358)),
    ((27, 0, 0, 27), (-0.0351, 0.0351)),
]


@pytest.mark.parametrize(("cells", "printed"), TABLE_III)
def test_the_interval_is_the_one_printed_in_newcombes_table(
    cells: tuple[int, int, int, int], printed: tuple[float, float]
) -> None:
    assert newcombe_interval(*cells) == pytest.approx(printed, abs=5.1e-5)


def test_the_correction_of_an_odd_number_of_photos_is_not_rounded() -> None:
    # By hand, n = 41: phi = (14 * 22 - 41 / 2) / sqrt(19 * 22 * 14 * 27) = 0.72328; the Wilson
    # limits of 19 / 41 are 0.32056 and 0.61254, those of 14 / 41 are 0.21559 and 0.49450.
    below, above = 19 / 41 - 0.320562, 0.494502 - 14 / 41
    down = below**2 - 2 * 0.723276 * below * above + above**2
    low, _ = newcombe_interval(14, 5, 0, 22)
    assert low == pytest.approx(5 / 41 - down**0.5, abs=2e-6)


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
    assert code == 2 or "B has 0 photos right that A has wrong, and 1 wrong" in result.output


def test_json_holds_the_verdict(tmp_path: Path, command: typer.Typer) -> None:
    a = make_run(tmp_path / "a", [0, 1, 2], [0, 1, 2])
    b = make_run(tmp_path / "b", [0, 1, 2], [0, 1, 0])
    result = CliRunner().invoke(command, [str(a), str(b), "--json", "--fail-below=0"])
    found = json.loads(result.stdout.splitlines()[0])
    assert found["failed"] is True
    assert found["top1"]["difference"] == pytest.approx(-1 / 3)
    assert len(found["classes"]) == 3
