"""Logs: pages by byte, times that never change, and what is kept of a long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.jobs.layout import HostFolder
from houndsight.jobs.local import following, logs
from houndsight.jobs.local.following import LogFollower, note_growth
from houndsight.jobs.local.logs import TimeIndex, read_page, shorten
from houndsight.jobs.local.metrics import MetricReader


@pytest.fixture
def host(tmp_path: Path) -> HostFolder:
    return HostFolder(tmp_path)


def all_lines(host: HostFolder, limit: int = 3, *, ended: bool = True) -> list[str]:
    lines: list[str] = []
    offset = 0
    while (page := read_page(host, offset, limit, ended=ended)).next_offset > offset:
        assert len(page.lines) <= limit
        lines += [line.message for line in page.lines]
        offset = page.next_offset
    return lines


def follower(host: HostFolder, keep_bytes: int = 1 << 30) -> LogFollower:
    reader = MetricReader(host.path / "metrics.jsonl", (), lambda _: None)
    return LogFollower(host, reader, keep_bytes=keep_bytes)


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r")), max_size=20),
    st.booleans(),
)
def test_pages_hold_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], newline: bool
) -> None:
    host = HostFolder(tmp_path_factory.mktemp("host"))
    text = "\n".join(lines) + ("\n" if newline else "")
    host.log.write_bytes(text.encode(errors="surrogateescape"))
    wanted = text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []
    assert all_lines(host) == wanted


def test_no_log_is_an_empty_page(host: HostFolder) -> None:
    assert read_page(host, 7, 10, ended=False).next_offset == 7


def test_a_line_is_shown_once_it_is_whole_and_its_time_is_known(host: HostFolder) -> None:
    host.log.write_bytes(b"one\ntwo\nthr")
    assert all_lines(host, ended=False) == []
    follower(host).follow()
    assert all_lines(host, ended=False) == ["one", "two"]
    assert all_lines(host, ended=True) == ["one", "two", "thr"]


def test_times_are_those_of_the_first_byte_and_never_go_back(
    host: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 200.0, 150.0, 300.0])
    monkeypatch.setattr("houndsight.jobs.local.following.time.time", lambda: next(times))
    following = follower(host)
    for text in (b"a\nb", b"b\n", b"c\n"):
        with host.log.open("ab") as file:
            file.write(text)
        following.follow()
    with host.log.open("ab") as file:
        file.write(b"d\n")
    note_growth(host)
    page = read_page(host, 0, 10, ended=True)
    assert [line.time_ms for line in page.lines] == [100_000, 100_000, 200_000, 300_000]


def test_a_torn_row_of_times_is_written_again(host: HostFolder) -> None:
    index = TimeIndex(host.log_times)
    index.add(10, 1_000)
    with host.log_times.open("ab") as file:
        file.write(b"0000000")
    assert index.last_end() == 10
    index.add(20, 2_000)
    assert TimeIndex(host.log_times).times([0, 9, 10, 19, 20], 9) == [1_000, 1_000, 2_000, 2_000, 9]


def test_a_line_without_end_comes_in_parts(
    host: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LINE_BYTES", 10)
    host.log.write_bytes(b"x" * 25 + b"\nend\n")
    assert all_lines(host) == ["x" * 10, "x" * 10, "x" * 5, "end"]


def test_of_a_long_log_the_beginning_and_the_end_are_kept(
    host: HostFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, module in (("HEAD_BYTES", logs), ("HEAD_BYTES", following)):
        monkeypatch.setattr(module, name, 1 << 20)
    monkeypatch.setattr(following, "SLACK_BYTES", 1 << 20)
    monkeypatch.setattr(logs, "BLOCK", 4096)
    line = b"x" * 99 + b"\n"
    follow = follower(host, keep_bytes=1 << 20)
    for _ in range(10):
        with host.log.open("ab") as file:
            file.write(line * 10_000)
        follow.follow()
    if follow.cannot_shorten:
        pytest.skip("this file system cannot give back a part of a file")
    status = host.log.stat()
    assert status.st_size == 10_000_000
    assert status.st_blocks * 512 < 5_000_000
    shown = all_lines(host, 1_000)
    missing = [number for number, text in enumerate(shown) if "were not kept" in text]
    assert len(missing) == 1
    assert shown[0] == shown[-1] == "x" * 99
    assert missing[0] > 10_000 and len(shown) - missing[0] > 10_000


def test_a_log_of_zeros_is_read_to_its_end(host: HostFolder) -> None:
    host.log.write_bytes(b"\0" * 300_000 + b"\nend\n")
    assert all_lines(host)[-1] == "end"


def test_a_short_log_is_left_alone(host: HostFolder) -> None:
    host.log.write_bytes(b"one\n")
    assert shorten(host.log, 1)
    assert host.log.read_bytes() == b"one\n"
    assert host.log.stat().st_blocks > 0
