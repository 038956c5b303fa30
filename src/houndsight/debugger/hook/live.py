"""Judging while it trains: the evaluator's process, and a thread that hears what it finds."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from houndsight.debugger.actions import Actions
from houndsight.debugger.evaluator import start_evaluator
from houndsight.debugger.following import FindingsFollower
from houndsight.errors import SettingError

__all__ = ["Live", "by_name"]

EVERY_SECONDS = 0.5


class Live:
    """The evaluator beside a training of this process.

    Args:
        run_folder: where the tensor log is and the findings go.
        rules: as `by_name` gives them.
        actions: told what the evaluator finds, from a thread of their own.
    """

    def __init__(
        self, run_folder: Path, rules: Mapping[str, Mapping[str, Any]] | str, actions: Actions
    ) -> None:
        self._process = start_evaluator(run_folder, rules)
        (run_folder / "logs" / "evaluator.pid").write_text(str(self._process.pid))
        self._follower = FindingsFollower(run_folder / "findings.jsonl")
        # What an earlier training left in the folder is no news.
        self._follower.news()
        self._actions = actions
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="houndsight-live", daemon=True)
        self._thread.start()

    @property
    def judging(self) -> bool:
        """Whether the evaluator is there."""
        return self._process.returncode is None

    def close(self) -> None:
        """The training is over; the evaluator leaves by itself after its last look."""
        self._closed.set()

    def _follow(self) -> None:
        while not self._closed.wait(EVERY_SECONDS) and self._process.poll() is None:
            self._actions.tell(self._follower.news())
        self._process.wait()


def by_name(rules: Any) -> Mapping[str, Mapping[str, Any]] | str:
    """The rules as another process can be told of them: names and parameters.

    Raises:
        SettingError: one is a rule of the person's own, which only this process has.
    """
    from houndsight.debugger.rules import RULES, make_rules
    from houndsight.debugger.rules.base import Rule

    if isinstance(rules, str | Mapping):
        make_rules(rules)
        return rules
    named: dict[str, Mapping[str, Any]] = {}
    items: Iterable[Any] = make_rules(rules)
    for rule in items:
        assert isinstance(rule, Rule)
        if RULES.get(rule.name) is not type(rule):
            raise SettingError(
                f"live=True judges in a process of its own, which does not know the rule "
                f"{rule.name}; leave live out and ask `findings()` in the loop."
            )
        named[rule.name] = rule.given
    return named
