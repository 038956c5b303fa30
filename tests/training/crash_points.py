"""Trains the toy classifier, dies at a given moment, trains again; prints what came of it.

`python crash_points.py FOLDER KIND:NUMBER...`: `SIGKILL:5` gets the process that signal at its
fifth event, `saving:5` kills it at the fifth time it syncs a checkpoint, `SIGTERM:every` tries
every event. A child is forked for every training, so that heavy imports are paid for once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from toy_classifier import toy_recipe, train_toy, weights_digest

from houndsight.events import Event, StepEnded, TrainingStarted
from houndsight.training import checkpoint

RECIPE = toy_recipe(ema_decay=0.9, mixup=0.2, accumulation=2, balance="sampling")


class Killer:
    """Sends this process a signal at an event."""

    def __init__(self, number: int, at: int) -> None:
        self.left, self.number = at, number

    def __call__(self, event: Event) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child; how it ended, as `os.waitstatus_to_exitcode` says."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(folder: Path) -> None:
    """Train to the end and write what came out."""
    heard: list[Event] = []
    classifier, result = train_toy(folder, RECIPE, listeners=[heard.append])
    started = next(event for event in heard if isinstance(event, TrainingStarted))
    outcome = {
        "weights": weights_digest(classifier),
        "metrics": result.metrics,
        "history": result.history,
        "best_epoch": result.best_epoch,
        "first_step": started.first_step,
        "steps_run": sum(isinstance(event, StepEnded) for event in heard),
        "events": len(heard),
    }
    (folder / "outcome.json").write_text(json.dumps(outcome))


def die_while_saving(folder: Path, at: int) -> None:
    """Be killed in the middle of writing a checkpoint, before it replaces the old one."""
    left = at

    def sync(_path: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint._sync = sync
    train_toy(folder, RECIPE)


def crash_and_resume(folder: Path, kind: str, at: int) -> dict[str, object]:
    """Die at moment `at`, then train again in the same folder."""
    folder.mkdir(parents=True)
    if kind == "saving":
        ended = in_child(lambda: die_while_saving(folder, at))
    else:
        number = signal.Signals[kind]
        ended = in_child(lambda: train_toy(folder, RECIPE, listeners=[Killer(number, at)]))
    again = in_child(lambda: train(folder))
    outcome = json.loads((folder / "outcome.json").read_text())
    return {"at": at, "ended": ended, "again": again, **outcome}


def main() -> None:
    """Print the uninterrupted training and each interrupted one, a JSON object a line."""
    folder, moments = Path(sys.argv[1]), sys.argv[2:]
    whole = folder / "whole"
    whole.mkdir(parents=True)
    in_child(lambda: train(whole))
    plain = json.loads((whole / "outcome.json").read_text())
    print(json.dumps(plain))
    for moment in moments:
        kind, at = moment.split(":")
        for number in range(1, plain["events"] + 1) if at == "every" else [int(at)]:
            print(json.dumps(crash_and_resume(folder / f"{kind}-{number}", kind, number)))


if __name__ == "__main__":
    main()
