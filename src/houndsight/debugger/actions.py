"""What a finding sets off: ending the training, a message to a web address, any function.

    Hook(model, live=True, actions=[Stop(), Webhook("https://example.org/hook"), print])

A finding is told when it is opened, becomes graver, is resolved or holds again. An action that
fails is logged and harms nothing.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from houndsight._version import __version__
from houndsight.debugger.following import News
from houndsight.errors import HoundsightError, SettingError
from houndsight.findings import Finding, Severity, State

__all__ = ["Action", "Actions", "Stop", "TrainingStoppedError", "Webhook"]

LOG = logging.getLogger("houndsight.debugger")


class TrainingStoppedError(HoundsightError):
    """`Stop` ended the training: raised in its thread when the optimizer is about to step.

    `finding` is the one that it was ended for. Catch it around the loop to save what there is.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(
            f"The training was stopped, as asked: {finding.title} {finding.causes[0].fix} "
            f"({finding.rule})"
        )
        self.finding = finding


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Ends the training at its next step, like SageMaker's StopTraining.

    `TrainingStoppedError` is raised where the optimizer is about to step, so that the script's
    own clean-up runs and no file is left half written, as a signal would leave it.
    """

    severity: Severity = Severity.ERROR
    """From which severity on,"""
    rules: tuple[str, ...] = ()
    """and for which rules; all when none is named."""

    def __call__(self, finding: Finding) -> bool:
        """Whether to end the training for it."""
        grave = finding.severity.rank <= Severity(self.severity).rank
        named = not self.rules or finding.rule in self.rules
        return grave and named and finding.state == State.OPEN


@dataclass(kw_only=True)
class Webhook:
    """Posts each finding as JSON, as it stands in `findings.jsonl`.

    Raises:
        SettingError: the address is not one of the web.
    """

    url: str
    severity: Severity = Severity.WARNING
    """From which severity on."""
    timeout_s: float = 5.0
    tries: int = 3
    """After so many failures in a row nothing more is sent."""
    _failures: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            raise SettingError(f"The webhook's address is {self.url!r}; it must be http(s)://….")

    def __call__(self, finding: Finding) -> None:
        """Send it; whoever does not answer in time is not waited for."""
        if self._failures >= self.tries or finding.severity.rank > Severity(self.severity).rank:
            return
        request = urllib.request.Request(
            self.url,
            data=json.dumps(finding.to_json(), default=str).encode(),
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"houndsight/{__version__}",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s):
                self._failures = 0
        except (OSError, http.client.HTTPException) as error:
            self._failures += 1
            more = " Nothing more is sent." if self._failures >= self.tries else ""
            LOG.warning("The webhook %s did not take a finding: %s.%s", self.url, error, more)


Action = Callable[[Finding], object]
"""Anything that takes a finding; only `Stop`'s answer counts."""


class Actions:
    """Tells findings to actions, from whatever thread hears of them, each once."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self.actions = tuple(actions)
        self.stopped_by: Finding | None = None
        """What `Stop` wants the training ended for."""
        self._news = News()
        self._lock = threading.Lock()

    def tell(self, findings: Iterable[Finding]) -> None:
        """Tell those that are news."""
        if not self.actions:
            return
        with self._lock:
            for finding in self._news.among(findings):
                for action in self.actions:
                    self._do(action, finding)

    def stop_when_asked(self) -> None:
        """Raise `TrainingStoppedError` once, if an action wants the training ended."""
        finding, self.stopped_by = self.stopped_by, None
        if finding is not None:
            raise TrainingStoppedError(finding)

    def _do(self, action: Action, finding: Finding) -> None:
        try:
            answer = action(finding)
        except Exception as error:
            LOG.warning("An action failed: %s: %s", type(error).__name__, error)
            return
        if isinstance(action, Stop) and answer:
            self.stopped_by = self.stopped_by or finding
