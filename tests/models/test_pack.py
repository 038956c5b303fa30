"""Packs: appended rows are found again, whatever a killed writer left behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from houndsight.models.eviction import evict
from houndsight.models.pack import Pack

SHAPE = (3,)


def _pack(folder: Path) -> Pack:
    return Pack(folder, SHAPE, np.dtype(np.float32))


def _hashes(numbers: list[int]) -> np.ndarray:
    # Some end in zero bytes, which NumPy's S type drops: they must still be found.
    return np.array([number.to_bytes(16, "little") for number in numbers], "S16")


def _rows(numbers: list[int]) -> np.ndarray:
    return np.array([[number, number + 0.5, -number] for number in numbers], np.float32)


def _write(pack: Pack, numbers: list[int]) -> None:
    with pack.writer({}) as writer:
        writer.append(_hashes(numbers), _rows(numbers))


def test_rows_are_found_by_hash(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "pack")
    assert len(pack) == 0 and pack.find(_hashes([1, 2])).tolist() == [-1, -1]
    _write(pack, [7, 3, 256])
    _write(pack, [1])
    for opened in (pack, _pack(tmp_path / "pack")):
        assert opened.find(_hashes([3, 2, 1, 256, 7])).tolist() == [1, -1, 3, 2, 0]
        np.testing.assert_array_equal(opened.rows(), _rows([7, 3, 256, 1]))


@given(index_cut=st.integers(0, 60), rows_cut=st.integers(0, 40), noise=st.binary(max_size=30))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_torn_tail_is_ignored_and_written_over(
    tmp_path_factory: pytest.TempPathFactory, index_cut: int, rows_cut: int, noise: bytes
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    _write(_pack(folder), [1, 2, 3])
    for name, cut in (("index.bin", index_cut), ("rows.bin", rows_cut)):
        path = folder / name
        path.write_bytes(path.read_bytes()[: max(0, path.stat().st_size - cut)] + noise)
    pack = _pack(folder)
    kept = len(pack)
    assert kept <= 3
    if rows_cut == 0 and index_cut == 0:
        assert kept == 3
    intact = min(kept, max(0, 36 - rows_cut) // 12)
    np.testing.assert_array_equal(pack.rows()[:intact], _rows([1, 2, 3])[:intact])
    _write(pack, [9])
    again = _pack(folder)
    assert len(again) == kept + 1
    np.testing.assert_array_equal(again.rows()[again.find(_hashes([9]))[0]], _rows([9])[0])


def test_rows_without_records_are_written_over(tmp_path: Path) -> None:
    _write(_pack(tmp_path), [1])
    with (tmp_path / "rows.bin").open("ab") as file:
        file.write(b"x" * 100)
    _write(_pack(tmp_path), [2])
    pack = _pack(tmp_path)
    np.testing.assert_array_equal(pack.rows(), _rows([1, 2]))


def test_there_is_one_writer_at_a_time(tmp_path: Path) -> None:
    first, second = _pack(tmp_path), _pack(tmp_path)
    waited = threading.Event()

    def write_second() -> None:
        with second.writer({}, waited.set) as writer:
            assert second.find(_hashes([1])).tolist() == [0]  # sees what the first has written
            writer.append(_hashes([2]), _rows([2]))

    thread = threading.Thread(target=write_second)
    with first.writer({}) as writer:
        thread.start()
        assert waited.wait(10)
        writer.append(_hashes([1]), _rows([1]))
    thread.join(10)
    assert _pack(tmp_path).find(_hashes([1, 2])).tolist() == [0, 1]


def test_a_reader_keeps_its_rows_while_another_process_appends(tmp_path: Path) -> None:
    _write(_pack(tmp_path), [1])
    reader = _pack(tmp_path)
    rows = reader.rows()
    _write(_pack(tmp_path), [2, 3])
    assert len(reader) == 1
    np.testing.assert_array_equal(rows, _rows([1]))
    reader.refresh()
    assert len(reader) == 3


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        _write(_pack(tmp_path / name), list(range(100)))
        os.utime(tmp_path / name / "pack.json", (1_000_000 - age, 1_000_000 - age))
    size = sum(file.stat().st_size for file in (tmp_path / "new").iterdir())
    gone = evict(tmp_path, limit_bytes=2 * size + 100, keep=[])
    assert [path.name for path in gone] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "new"]


def test_packs_in_use_are_not_evicted(tmp_path: Path) -> None:
    kept, written, free = (_pack(tmp_path / name) for name in ("kept", "written", "free"))
    for pack in (kept, written, free):
        _write(pack, [1, 2])
    with written.writer({}):
        gone = evict(tmp_path, limit_bytes=0, keep=[kept.folder])
    assert gone == [free.folder]


def test_an_evicted_pack_can_still_be_read_by_who_has_it_open(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "pack")
    _write(pack, [1, 2])
    rows = pack.rows()
    evict(tmp_path, limit_bytes=0, keep=[])
    np.testing.assert_array_equal(rows, _rows([1, 2]))
    assert len(_pack(tmp_path / "pack")) == 0
