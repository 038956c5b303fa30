"""The debugger in a run: whatever is trained is watched, judged while it trains, and told."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from houndsight.data.folder import ImageFolder
from houndsight.debugger.evaluator import judge_folder, start_evaluator
from houndsight.debugger.hook import HookListener
from houndsight.debugger.judge import changed
from houndsight.debugger.rules import make_rules
from houndsight.events import Event, FindingMade, Listener
from houndsight.findings import Finding, Severity, State, read_findings
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
    if code != 0 and (folder / "tensors").exists():
        judge_folder(folder, make_rules("default"))


class _Teller:
    """Hands on findings that are new since it last looked."""

    def __init__(self, context: Context, part: str, path: Path) -> None:
        self._context, self._part, self._path = context, part, path
        self._told = read_findings(path)
        self._next = time.monotonic() + LOOK_SECONDS

    def __call__(self, _event: Event) -> None:
        if time.monotonic() > self._next:
            self._next = time.monotonic() + LOOK_SECONDS
            self.tell()

    def tell(self) -> None:
        """Emit what is new and worth it."""
        found = read_findings(self._path)
        grave = [f for f in changed(self._told, found) if _worth_telling(f, self._told)]
        self._told = found
        for finding in grave:
            self._context.emit(FindingMade(stage=self._part, finding=finding))


def _worth_telling(finding: Finding, told: list[Finding]) -> bool:
    """Open, a warning or graver, and not said before with the same gravity."""
    if finding.state != State.OPEN or finding.severity == Severity.INFO:
        return False
    return not any(t.key == finding.key and t.severity == finding.severity for t in told)
