"""The debugger in a run: whatever is trained is watched, judged while it trains, and told."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from houndsight.data.folder import ImageFolder
from houndsight.debugger.evaluator import judge_folder, start_evaluator
from houndsight.debugger.following import FindingsFollower
from houndsight.debugger.hook import HookListener
from houndsight.errors import RunError
from houndsight.events import Event, FindingMade, Listener
from houndsight.findings import Severity, State
from houndsight.models.backbone import Backbone
from houndsight.stages.context import Context

__all__ = ["facts_of", "watched"]

LOOK_SECONDS = 2.0
"""How often new findings are looked for while it trains."""
PATIENCE_SECONDS = 60.0
"""How long the last judgement may take once the training has ended."""


@contextmanager
def watched(context: Context, part: str, facts: Mapping[str, Any]) -> Iterator[list[Listener]]:
    """Listeners that record a training to the run's `watched/<part>`; none when that is off.

    A process beside it judges what was recorded so far. Its findings are told as they come, and
    all are there when this ends.
    """
    settings = context.config.debugger
    if settings.rules == "none":
        yield []
        return
    folder = context.run.watched_folder(part)
    folder.mkdir(parents=True, exist_ok=True)
    listener = HookListener(folder, facts=facts, save_interval=settings.save_interval)
    evaluator = start_evaluator(folder)
    teller = _Teller(context, part, folder / "findings.jsonl")
    try:
        yield [listener, teller]
    finally:
        listener.close()
        _await(evaluator, folder)
        teller.tell()


def facts_of(
    context: Context, photos: ImageFolder, backbone: Backbone, *, inputs: str = "images"
) -> dict[str, Any]:
    """What the run knows of a training on its photos that no hook can see."""
    return {
        "inputs": inputs,
        "train_examples": len(photos.split("train")),
        "preprocessing": backbone.preprocessing.to_json(),
        "classes": [entry["name"] for entry in context.run.results["classes"]],
    }


def _await(evaluator: subprocess.Popen[bytes], folder: Path) -> None:
    """Let it look once more at all there is; judge here what it could not."""
    try:
        code: int | None = evaluator.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        evaluator.kill()
        evaluator.wait()
        code = None
    if code != 0:
        # Without a step there is no log, and nothing to judge.
        with suppress(RunError):
            judge_folder(folder)


class _Teller:
    """Hands on what the evaluator finds while the training goes on."""

    def __init__(self, context: Context, part: str, path: Path) -> None:
        self._context, self._part = context, part
        self._follower = FindingsFollower(path)
        # What a training that was cut off had found is no news.
        self._follower.news()
        self._next = time.monotonic() + LOOK_SECONDS

    def __call__(self, _event: Event) -> None:
        if time.monotonic() > self._next:
            self._next = time.monotonic() + LOOK_SECONDS
            self.tell()

    def tell(self) -> None:
        """Emit what is new and worth it: open, a warning or graver."""
        for finding in self._follower.news():
            if finding.state == State.OPEN and finding.severity != Severity.INFO:
                self._context.emit(FindingMade(stage=self._part, finding=finding))
