"""Metrics: every value once, whoever was killed, and no expression that hangs its job."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from houndsight.jobs.layout import HostFolder
from houndsight.jobs.local import metrics
from houndsight.jobs.local.following import LogFollower
from houndsight.jobs.local.metrics import MetricReader, read_metrics
from houndsight.jobs.spec import MetricDefinition

LOSS = MetricDefinition(name="loss", regex=r"loss=([0-9.eE+-]+|nan)")


class Follow:
    """A log, its follower, and what the follower had to say."""

    def __init__(self, folder: Path, *definitions: MetricDefinition) -> None:
        self.host, self.said = HostFolder(folder), list[str]()
        self.path = folder / "metrics.jsonl"
        self._definitions = definitions
        self.begin_again()

    def begin_again(self) -> None:
        self.reader = MetricReader(self.path, self._definitions, self.said.append)
        self._follower = LogFollower(self.host, self.reader, keep_bytes=1 << 30)

    def print(self, text: str, *, last: bool = False) -> list[float]:
        with self.host.log.open("ab") as file:
            file.write(text.encode())
        self._follower.follow(to_the_end=last)
        return [row["value"] for row in read_metrics(self.path)] if self.path.exists() else []


@pytest.mark.parametrize(
    ("regex", "line", "value"),
    [
        (r"Test set: Average loss: ([0-9\.]+)", "Test set: Average loss: 1.5, Accuracy: 3", 1.5),
        (r"Testing Loss: ([0-9\.]+)", "Testing Loss: 0.25.", 0.25),
        (r"Test Loss: ([+-]?[0-9\.]+)", "Test Loss: -3", -3.0),
        (r"\((\d+)%\)", "Accuracy: 24/120 (20%)", 20.0),
        (r"accuracy=\d+", "accuracy=7", None),
        (r"loss (\S+)", "loss inf", math.inf),
        (r"^end (\d+)$", "end 4", 4.0),
    ],
)
def test_the_regexes_that_people_use(
    tmp_path: Path, regex: str, line: str, value: float | None
) -> None:
    follow = Follow(tmp_path, MetricDefinition(name="m", regex=regex))
    found = follow.print(f"before\n{line}\nafter\n")
    assert found == ([] if value is None else [value])


def test_the_last_value_is_the_metrics_also_when_it_is_no_number(tmp_path: Path) -> None:
    follow = Follow(tmp_path, LOSS)
    found = follow.print("loss=1 loss=0.5\nloss=2e-1\nloss=nan\n")
    assert found[:3] == [1.0, 0.5, 0.2]
    assert math.isnan(follow.reader.last["loss"][0])


def test_progress_bars_give_all_their_values(tmp_path: Path) -> None:
    assert Follow(tmp_path, LOSS).print("1% loss=3\r2% loss=2\r3% loss=1\n") == [3.0, 2.0, 1.0]


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    follow = Follow(tmp_path, LOSS)
    assert follow.print("loss=1") == []
    assert follow.print("2\nloss=3") == [12.0]
    assert follow.print("", last=True) == [12.0, 3.0]


def test_a_supervisor_that_takes_over_reads_nothing_twice(tmp_path: Path) -> None:
    follow = Follow(tmp_path, LOSS)
    follow.print("loss=1 loss=2\nnothing\n")
    follow.begin_again()
    assert follow.print("loss=3\n") == [1.0, 2.0, 3.0]
    # Killed in the middle of writing a line's values down.
    torn = follow.path.read_bytes()
    follow.path.write_bytes(torn[: torn.rindex(b'{"name"') + 20])
    follow.begin_again()
    assert follow.print("loss=4\n") == [1.0, 2.0, 3.0, 4.0]
    assert follow.reader.last["loss"][0] == 4.0


def test_two_metrics_on_a_line_and_two_hosts_are_kept_apart(tmp_path: Path) -> None:
    both = (LOSS, MetricDefinition(name="top1", regex=r"top1=([0-9.]+)"))
    path = tmp_path / "metrics.jsonl"
    reader = MetricReader(path, both, lambda _: None)
    for name in ("algo-1", "algo-2"):
        host = HostFolder(tmp_path / name)
        host.path.mkdir()
        host.log.write_text("top1=0.9 loss=1\n")
        LogFollower(host, reader, keep_bytes=1 << 30).follow()
    rows = [(row["host"], row["name"], row["value"]) for row in read_metrics(path)]
    per_host = [("top1", 0.9), ("loss", 1.0)]
    assert rows == [(host, *row) for host in ("algo-1", "algo-2") for row in per_host]


def test_an_expression_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PATIENCE_S", 0.2)
    endless = MetricDefinition(name="endless", regex=r"(a+)+\d!")
    follow = Follow(tmp_path, endless, LOSS)
    begun = time.monotonic()
    assert follow.print("a" * 60 + "\nloss=1\n") == [1.0]
    assert follow.print("a" * 60 + "\nloss=2\n") == [1.0, 2.0]
    assert time.monotonic() - begun < 30
    assert len(follow.said) == 1
    assert "endless" in follow.said[0]
    assert "not followed further" in follow.said[0]


def test_an_expression_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    follow = Follow(tmp_path, MetricDefinition(name="bad", regex="("), LOSS)
    assert follow.print("loss=1\n") == [1.0]
    assert "Metric bad: '('" in follow.said[0]
