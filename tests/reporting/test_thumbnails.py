from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from houndsight.findings import Cause, Finding, Severity, State
from houndsight.reporting import doubtful_labels, worst_mistakes, write_thumbnails
from houndsight.reporting.classes import class_figures, confused_pairs, confusion_matrix
from houndsight.reporting.measurements import as_predictions
from houndsight.runs import Run


class Photos:
    def __init__(self, files: Sequence[Path]) -> None:
        self.ids, self._files = np.arange(len(files)), files

    def paths(self) -> Sequence[Path]:
        return self._files


def table(rows: list[tuple[str, int, list[float]]]) -> pa.Table:
    """Predictions of `(split, label, probabilities)`."""
    p = np.array([r[2] for r in rows], np.float32)
    return pa.table(
        {
            "id": np.arange(len(rows)) + 10,
            "path": [f"{i}.jpg" for i in range(len(rows))],
            "split": [r[0] for r in rows],
            "class_index": np.array([r[1] for r in rows], np.int32),
            "predicted": p.argmax(1).astype(np.int32),
            "confidence": p.max(1),
            "probabilities": pa.FixedSizeListArray.from_arrays(pa.array(p.ravel()), p.shape[1]),
        }
    )


def test_worst_mistakes_are_the_surest_on_the_test_split() -> None:
    told = table(
        [
            ("test", 0, [0.3, 0.7]),
            ("test", 0, [0.9, 0.1]),
            ("test", 1, [0.95, 0.05]),
            ("valid", 0, [0.01, 0.99]),
        ]
    )
    assert worst_mistakes(told) == [12, 10]
    assert worst_mistakes(told, most=1) == [12]


def disputed(paths: Sequence[str], *, state: State = State.OPEN) -> Finding:
    row = {"given": "cat", "suggested": "dog", "suggested_probability": 0.97}
    return Finding(
        rule="DisputedLabels",
        where="",
        severity=Severity.WARNING,
        title="Labels are disputed.",
        causes=(Cause(text="They are wrong.", fix="Look."),),
        state=state,
        plot={"photos": [{"path": path, **row} for path in paths]},
    )


def test_doubtful_labels_are_those_of_the_finding_whatever_their_split(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", kind="run", config={})
    paths = [f"{i}.jpg" for i in range(6)]
    splits = ["train", "train", "valid", "test", "train", "test"]
    pq.write_table(pa.table({"id": [9, 4, 7, 1, 3, 5], "path": paths, "split": splits}), run.photos)
    assert doubtful_labels(run) == []
    run.add_findings([disputed(["4.jpg", "gone.jpg", "3.jpg", "0.jpg"])])
    assert doubtful_labels(run) == [3, 1, 9]
    assert doubtful_labels(run, most=1) == [3]
    run.add_findings([disputed(["4.jpg"], state=State.RESOLVED)])
    assert doubtful_labels(run) == []


def test_no_predictions_hold_no_mistakes() -> None:
    told = table([("test", 0, [0.3, 0.7])])
    assert worst_mistakes(told.slice(0, 0)) == []


def test_a_slice_of_predictions_keeps_its_own_probabilities() -> None:
    told = table([("test", 0, [0.9, 0.1]), ("test", 1, [0.2, 0.8])]).slice(1)
    assert as_predictions(told).probabilities is not None
    assert as_predictions(told).probabilities.tolist() == [[np.float32(0.2), np.float32(0.8)]]  # type: ignore[union-attr]


def test_thumbnails_are_small_jpegs_without_metadata(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    run = Run.create(tmp_path / "run", kind="run", config={})
    files = sorted(photo_folder({"a": 2, "b": 1}, size=400).rglob("*.jpg"))
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    Image.open(files[0]).save(files[0], exif=exif)
    files[2].write_bytes(b"not a photo")
    assert write_thumbnails(run, Photos(files), [1, 0, 2, 99, 0]) == [1, 0]
    path = run.images / "photo-0.jpg"
    with Image.open(path) as small:
        assert small.size == (160, 160) and small.format == "JPEG" and not small.getexif()
    before = path.stat().st_mtime_ns
    write_thumbnails(run, Photos(files), [0])
    assert path.stat().st_mtime_ns == before


def test_class_figures_and_pairs() -> None:
    told = as_predictions(
        table(
            [
                ("test", 0, [0.9, 0.1, 0.0]),
                ("test", 0, [0.1, 0.9, 0.0]),
                ("test", 1, [0.1, 0.9, 0.0]),
                ("test", 1, [0.1, 0.8, 0.1]),
            ]
        )
    )
    matrix = confusion_matrix(told, 3)
    first, second, third = class_figures(matrix)
    assert (first.precision, first.recall, first.count) == (1.0, 0.5, 2)
    assert second.precision == 2 / 3 and second.recall == 1.0
    assert (third.precision, third.recall, third.f1) == (None, None, None)
    (pair,) = confused_pairs(matrix)
    assert (pair.true, pair.predicted, pair.count, pair.share) == (0, 1, 1, 0.5)
