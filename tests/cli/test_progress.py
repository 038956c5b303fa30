"""The progress display, where there is no terminal."""

from __future__ import annotations

import io

from rich.console import Console

from houndsight.cli.progress import ProgressDisplay
from houndsight.events import Forecast, StageEnded, StageProgress, StageStarted
from houndsight.wording import duration, size


def test_a_log_gets_a_line_when_a_stage_begins_and_ends() -> None:
    output = io.StringIO()
    with ProgressDisplay(Console(file=output, width=100)) as display:
        display(Forecast(text="Forecast: about 2 min.", seconds=120, memory_bytes=1))
        display(StageStarted(stage="check", text="Checking the photos", total=10))
        display(StageProgress(stage="check", done=4, total=10))
        display(StageProgress(stage="unknown", done=4, total=10))
        display(StageEnded(stage="check", seconds=61.2, text="Checked 10 photos"))
    assert output.getvalue().splitlines() == [
        "Forecast: about 2 min.",
        "Checking the photos …",
        "✓ Checked 10 photos 1 min 01 s",
    ]


def test_durations_and_sizes_read_naturally() -> None:
    seconds = [0.04, 9.97, 59.4, 59.6, 185, 7200, 7500]
    assert [duration(s) for s in seconds] == [
        "0.0 s",
        "10 s",
        "59 s",
        "1 min",
        "3 min 05 s",
        "2 h",
        "2 h 05 min",
    ]
    assert [size(n) for n in (812, 3.4e6, 1.2e10)] == ["812 bytes", "3.4 MB", "12 GB"]
