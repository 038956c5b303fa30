"""The tensor log: what was flushed is read whatever became of the writer, and nothing else."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from houndsight.debugger import segment as segments
from houndsight.debugger.blocks import Block, ExamplesBlock
from houndsight.debugger.record import SAMPLED, Group, Mode, Row, Statistic
from houndsight.debugger.segment import CODES, SCHEMA
from houndsight.debugger.tensor_log import TensorLog, read_history
from houndsight.debugger.tensor_writer import TensorWriter
from houndsight.debugger.testing import healthy
from houndsight.errors import RunError

NAMES = ("conv.weight", "conv.bias", "fc.weight")


def block(steps: range, *, group: Group = Group.GRADIENTS, mode: Mode = Mode.TRAIN) -> Block:
    """Values that tell their step, statistic and name."""
    count = len(steps)
    values = np.arange(count * len(SAMPLED) * len(NAMES), dtype=np.float32)
    return Block(
        mode=mode,
        group=group,
        statistics=SAMPLED,
        names=NAMES,
        steps=np.array(steps),
        forwards=np.array(steps),
        times=np.array(steps, float),
        values=values.reshape(count, len(SAMPLED), len(NAMES)) + 1000 * steps.start,
        exact=False,
    )


def labels(steps: range) -> ExamplesBlock:
    return ExamplesBlock(
        mode=Mode.EVAL,
        group=Group.LABELS,
        statistic=Statistic.VALUE,
        steps=np.array(steps),
        forwards=np.array(steps),
        times=np.array(steps, float),
        values=tuple(np.arange(step % 4) + 2**40 for step in steps),
        integral=True,
    )


def same(one: Row, other: Row) -> bool:
    if (one.integers is None) != (other.integers is None):
        return False
    if one.integers is not None and other.integers is not None:
        np.testing.assert_array_equal(one.integers, other.integers)
    np.testing.assert_array_equal(one.values, other.values)
    return (one.step, one.forward, one.mode, one.group, one.statistic, one.names, one.exact) == (
        other.step,
        other.forward,
        other.mode,
        other.group,
        other.statistic,
        other.names,
        other.exact,
    )


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    recording = healthy(30)
    writer = TensorWriter(tmp_path)
    writer.write_rows(recording.rows)
    recording.structure.write(tmp_path / "structure.json")
    back = list(TensorLog(tmp_path).rows())
    assert len(back) == len(recording.rows)
    assert all(same(a, b) for a, b in zip(back, recording.rows, strict=True))
    assert not TensorLog(tmp_path).ended
    writer.close()
    assert read_history(tmp_path).ended
    loss = read_history(tmp_path).scalar("loss")
    np.testing.assert_array_equal(loss.values, recording.history().scalar("loss").values)


def test_names_are_stored_once(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path)
    for start in range(0, 40, 10):
        writer.write([block(range(start, start + 10))])
    writer.close()
    assert len((tmp_path / "names.jsonl").read_text().splitlines()) == 1


def test_only_segments_that_can_hold_what_is_asked_for_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TensorWriter(tmp_path, segment_bytes=1)
    for start in range(0, 40, 10):
        writer.write([block(range(start, start + 10)), labels(range(start, start + 10))])
    writer.close()
    log = TensorLog(tmp_path)
    assert len(log.segments()) == 4
    opened: list[str] = []
    original = Path.open

    def opening(self: Path, *args: object, **kwargs: object) -> object:
        opened.append(self.name)
        return original(self, *args, **kwargs)  # type: ignore[arg-type,call-overload]

    monkeypatch.setattr(Path, "open", opening)
    rows = list(log.rows(first_step=15, last_step=18, statistics=[Statistic.MEDIAN]))
    assert [row.step for row in rows] == [15, 16, 17, 18]
    assert [name for name in opened if name.endswith("arrow")] == ["segment-000002.arrow"]
    opened.clear()
    assert not list(log.rows(groups=[Group.ACTIVATIONS]))
    assert not list(log.rows(modes=[Mode.PREDICT]))
    assert not [name for name in opened if name.endswith("arrow")]


def test_rows_are_chosen_by_name(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path)
    writer.write([block(range(3)), labels(range(3))])
    (row,) = TensorLog(tmp_path).rows(
        first_step=1, last_step=1, statistics=[Statistic.MEAN], names=["fc.weight", "gone"]
    )
    assert row.names == ("fc.weight",)
    assert row.values.tolist() == [len(SAMPLED) * len(NAMES) + 2]


def test_a_reader_follows_a_log_that_grows(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path, segment_bytes=5000)
    follower = TensorLog(tmp_path).follow()
    assert follower.rows() == []
    seen: list[int] = []
    for start in range(0, 60, 10):
        writer.write([block(range(start, start + 10))])
        seen += [row.step for row in follower.rows() if row.statistic == Statistic.MEAN]
    assert seen == list(range(60))
    assert follower.rows() == []
    assert len(TensorLog(tmp_path).segments()) > 1


def test_a_newer_format_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TensorWriter(tmp_path).close()
    (tmp_path / "log.json").write_text('{"v": 99}')
    with pytest.raises(RunError, match="format 99, newer"):
        TensorLog(tmp_path)
    with pytest.raises(RunError, match="newer"):
        TensorWriter(tmp_path)
    (tmp_path / "log.json").write_text('{"v": 1}')
    metadata = {"houndsight": json.dumps({"v": 99, "codes": CODES})}
    monkeypatch.setattr(segments, "SCHEMA", SCHEMA.with_metadata(metadata))
    segments.SegmentFile(tmp_path / "segment-000009.arrow").close()
    with pytest.raises(RunError, match="newer"):
        list(TensorLog(tmp_path).rows())
    with pytest.raises(RunError, match="holds no tensor log"):
        TensorLog(tmp_path / "elsewhere")


def test_statistics_of_a_later_version_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TensorWriter(tmp_path)
    writer.write([block(range(2))])
    writer.close()
    (path,) = TensorLog(tmp_path).segments()
    codes = {key: list(value) for key, value in CODES.items()}
    codes["statistic"][codes["statistic"].index("median")] = "kurtosis"
    table = pa.ipc.open_stream(path.read_bytes()).read_all()
    path.unlink()
    metadata = {"houndsight": json.dumps({"v": 1, "codes": codes})}
    monkeypatch.setattr(segments, "SCHEMA", SCHEMA.with_metadata(metadata))
    file = segments.SegmentFile(path)
    for batch in table.replace_schema_metadata(metadata).to_batches():
        file.write(batch)
    file.close()
    rows = list(TensorLog(tmp_path).rows())
    assert {row.statistic for row in rows} == set(SAMPLED) - {Statistic.MEDIAN}


def test_a_writer_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    first = TensorWriter(tmp_path)
    first.write([block(range(5))])
    first.write([block(range(5, 10))])
    (path,) = TensorLog(tmp_path).segments()
    path.write_bytes(path.read_bytes()[:-7])
    second = TensorWriter(tmp_path)
    assert path.with_suffix(".json").exists()
    second.write([block(range(5, 10)), labels(range(5, 10))])
    second.close()
    steps = [row.step for row in TensorLog(tmp_path).rows(statistics=[Statistic.MEAN])]
    assert steps == list(range(10))


def test_raw_tensors_of_a_step(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path)
    kept = {"parameters/fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    writer.write_raw(500, kept)
    log = TensorLog(tmp_path)
    assert log.raw_steps() == [500]
    np.testing.assert_array_equal(log.raw(500)["parameters/fc.weight"], [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(RunError, match="no tensors of step 7; there are: 500"):
        log.raw(7)


def test_old_steps_are_thinned_and_those_of_findings_kept(tmp_path: Path) -> None:
    limit = 150_000
    writer = TensorWriter(
        tmp_path, segment_bytes=30_000, limit_bytes=limit, kept_steps=lambda: [101]
    )
    for start in range(0, 1000, 10):
        writer.write([block(range(start, start + 10))])
        if start % 500 == 490:
            writer.write([block(range(start + 1, start + 2), mode=Mode.EVAL)])
    writer.close()
    log = TensorLog(tmp_path)
    assert sum(path.stat().st_size for path in log.segments()) <= limit + 30_000
    steps = [row.step for row in log.rows(statistics=[Statistic.MEAN], modes=[Mode.TRAIN])]
    assert steps == sorted(steps)
    assert set(range(93, 110)) <= set(steps)
    assert 0 in steps
    assert 999 in steps
    assert len([s for s in steps if s < 500]) < 400
    index = json.loads(log.segments()[0].with_suffix(".json").read_text())
    assert index["thinned"] >= 1


WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_tensor_log import block, labels
from houndsight.debugger.tensor_writer import TensorWriter
writer = TensorWriter(Path(sys.argv[1]), segment_bytes=20_000)
start = int(sys.argv[2])
while True:
    writer.write([block(range(start, start + 5)), labels(range(start, start + 5))])
    start += 5
    print(start, flush=True)
"""


def test_what_was_flushed_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    script = WRITE.format(tests=str(Path(__file__).parent))
    chance = random.Random(0)
    start = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(start)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            said = int(process.stdout.readline())
            time.sleep(chance.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
            said = max([said, *(int(line) for line in process.stdout.read().split(b"\n")[:-1])])
        log = TensorLog(tmp_path)
        steps = [row.step for row in log.rows(statistics=[Statistic.MEAN])]
        assert steps[:said] == list(range(said))
        assert len([*log.rows(groups=[Group.LABELS])]) >= said
        start = len(steps)


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    writer = TensorWriter(folder)
    for start in range(0, 20, 5):
        writer.write([block(range(start, start + 5)), labels(range(start, start + 5))])
    writer.close()
    return folder


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_torn_segment_gives_the_rows_before_the_tear(
    segment: Path, tmp_path: Path, data: st.DataObject
) -> None:
    whole = (segment / "segment-000001.arrow").read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    rows = list(_log_with(tmp_path, segment, whole[:kept]).rows())
    sums = (segment / "segment-000001.sums").read_bytes()
    torn = sums[: data.draw(st.integers(0, len(sums)))]
    (tmp_path / "segment-000001.sums").write_bytes(torn)
    fewer = list(TensorLog(tmp_path).rows())
    assert all(same(a, b) for a, b in zip(fewer, rows, strict=False))
    expected = list(TensorLog(segment).rows())
    assert len(rows) % (5 * len(SAMPLED) + 5) == 0
    assert all(same(a, b) for a, b in zip(rows, expected[: len(rows)], strict=True))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_segment_gives_rows_or_none_but_no_error(
    segment: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray((segment / "segment-000001.arrow").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    rows = list(_log_with(tmp_path, segment, bytes(content)).rows())
    a_piece = 5 * len(SAMPLED) + 5
    assert len(rows) % a_piece == 0
    assert len(rows) <= 4 * a_piece
    sums = bytearray((segment / "segment-000001.sums").read_bytes())
    sums[data.draw(st.integers(0, len(sums) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "segment-000001.sums").write_bytes(sums)
    assert len(list(TensorLog(tmp_path).rows())) <= len(rows)


def _log_with(folder: Path, source: Path, content: bytes) -> TensorLog:
    for name in ("log.json", "names.jsonl", "segment-000001.sums"):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "segment-000001.arrow").write_bytes(content)
    return TensorLog(folder)
