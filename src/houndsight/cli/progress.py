"""The progress display: a bar and an honest remaining time for each stage."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from houndsight.events import Event, FindingMade, Forecast, StageEnded, StageProgress, StageStarted
from houndsight.wording import duration

__all__ = ["ProgressDisplay"]

WINDOW_SECONDS = 20.0
"""The remaining time is taken from the speed of this long, not from the whole stage."""


class ProgressDisplay:
    """A listener that draws the stages; use it as a context manager.

    On a terminal each stage is a moving bar; elsewhere it prints a line when a stage begins
    and ends, so that logs stay readable.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[counted]}"),
            TextColumn("[dim]{task.fields[remaining]}[/dim]"),
            console=self.console,
            transient=True,
        )
        self._stages: dict[str, _Stage] = {}

    def __enter__(self) -> ProgressDisplay:
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Forecast):
            self._say(f"[dim]{escape(event.text)}[/dim]")
        elif isinstance(event, FindingMade):
            self._found(event)
        elif isinstance(event, StageStarted):
            self._start(event)
        elif isinstance(event, StageProgress):
            self._advance(event)
        elif isinstance(event, StageEnded):
            self._end(event)

    def _start(self, event: StageStarted) -> None:
        task = self._progress.add_task(
            escape(event.text), total=event.total, counted="", remaining=""
        )
        self._stages[event.stage] = _Stage(task, event.unit)
        if not self.console.is_terminal:
            self._say(f"{escape(event.text)} …")

    def _advance(self, event: StageProgress) -> None:
        stage = self._stages.get(event.stage)
        if stage is None:
            return
        total = event.total
        stage.note(event.done)
        counted = f"{event.done:,}" + (f"/{total:,}" if total else "") + f" {stage.unit}"
        if event.text:
            counted += f" · {escape(event.text)}"
        self._progress.update(
            stage.task,
            completed=event.done,
            total=total,
            counted=counted,
            remaining=stage.remaining(event.done, total),
        )

    def _end(self, event: StageEnded) -> None:
        stage = self._stages.pop(event.stage, None)
        if stage is not None:
            self._progress.remove_task(stage.task)
        text = escape(event.text or event.stage)
        self._say(f"[green]✓[/green] {text} [dim]{duration(event.seconds)}[/dim]")

    def _found(self, event: FindingMade) -> None:
        finding = event.finding
        mark = "[red]✗[/red]" if finding.severity == "error" else "[yellow]![/yellow]"
        self._say(f"{mark} {escape(finding.title)} [dim]{event.stage}, {finding.rule}[/dim]")

    def _say(self, line: str) -> None:
        """Print a line; in a log it stays one line, however long."""
        self.console.print(line, highlight=False, soft_wrap=not self.console.is_terminal)


class _Stage:
    """One stage's task and its recent speed."""

    def __init__(self, task: TaskID, unit: str) -> None:
        self.task = task
        self.unit = unit
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._first = True

    def note(self, done: int) -> None:
        """Remember how far it is now; what was there at the start was not done in this time."""
        now = time.monotonic()
        if self._first and done > 0:
            self._recent.clear()
            self._first = False
        self._recent.append((now, done))
        while len(self._recent) > 2 and now - self._recent[0][0] > WINDOW_SECONDS:
            self._recent.popleft()

    def remaining(self, done: int, total: int | None) -> str:
        """The time left at the recent speed, or nothing while that is not known."""
        (begun, before), (now, _) = self._recent[0], self._recent[-1]
        if not total or done <= before or now - begun < 0.5:
            return ""
        return f"{duration((total - done) * (now - begun) / (done - before))} left"
