"""Saved tensors on disk: what is written is read, however the writer ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.debugger.saved import LocalFiles, SavedReader, SavedStep, SavedWriter
from houndsight.errors import RunError


def _step(number: int, **tensors: Any) -> SavedStep:
    found = {name: np.asarray(value) for name, value in tensors.items()}
    return SavedStep(step=number, mode="TRAIN", mode_step=number, tensors=found)


@pytest.mark.parametrize(
    "array",
    [
        np.float32(3.5),
        np.array([1, 2, 3], np.int64),
        np.arange(40, dtype=np.float64).reshape(4, 10),
        np.zeros((2, 0, 3), np.float32),
        np.arange(300, dtype=np.float16).reshape(3, 10, 10).transpose(2, 0, 1),
        np.arange(12) % 2 == 0,
    ],
)
def test_arrays_come_back(array: Any, tmp_path: Path) -> None:
    SavedWriter(tmp_path).write(_step(3, a=array))
    reader = SavedReader(LocalFiles(tmp_path))
    (row,) = reader.rows()
    found = reader.tensor(row, "a")
    assert found is not None
    assert (found.dtype, found.shape) == (np.asarray(array).dtype, np.shape(array))
    np.testing.assert_array_equal(found, array)
    assert reader.tensor(row, "b") is None


@given(value=st.floats(width=32))
def test_every_float_comes_back(value: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("saved")
    SavedWriter(folder).write(_step(0, a=np.float32(value)))
    reader = SavedReader(LocalFiles(folder))
    np.testing.assert_equal(reader.tensor(reader.rows()[0], "a"), np.float32(value))


def test_a_torn_line_and_foreign_lines_are_left_out(tmp_path: Path) -> None:
    writer = SavedWriter(tmp_path)
    writer.write(_step(0, a=1.0))
    with (tmp_path / "steps.jsonl").open("a") as file:
        file.write('[]\n{"step": "x"}\n{"step": 1, "mode": "TRAIN", "mode_st')
    writer.write(_step(2, a=2.0))
    reader = SavedReader(LocalFiles(tmp_path))
    assert [row["step"] for row in reader.rows()] == [0, 2]
    assert not reader.ended
    writer.end()
    assert reader.ended


def test_one_that_is_newer_or_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text(json.dumps({"v": 99}))
    with pytest.raises(RunError, match="upgrade houndsight"):
        SavedReader(LocalFiles(tmp_path))
    (tmp_path / "saved.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        SavedReader(LocalFiles(tmp_path))
    with pytest.raises(FileNotFoundError):
        SavedReader(LocalFiles(tmp_path / "nowhere"))
