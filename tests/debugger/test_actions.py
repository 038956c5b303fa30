"""Actions: what a finding sets off, live and when asked, and that none harms the training."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from houndsight.debugger import Hook, Stop, TrainingStoppedError, Webhook
from houndsight.debugger.actions import Actions
from houndsight.debugger.following import FindingsFollower
from houndsight.debugger.rules.base import Rule
from houndsight.errors import SettingError
from houndsight.findings import Cause, Finding, FindingLog, Severity, State
from houndsight.runs import Run, RunStatus


def finding(**values: Any) -> Finding:
    made: dict[str, Any] = {"rule": "LossNotFinite", "where": "", "severity": Severity.ERROR}
    made |= {"title": "It is NaN.", "causes": (Cause(text="It blew up.", fix="Lower the rate."),)}
    return Finding(**(made | values))


def test_only_what_is_new_to_a_person_is_told(tmp_path: Path) -> None:
    told: list[Finding] = []
    actions = Actions([told.append])
    warned = finding(severity=Severity.WARNING)
    for each in (warned, finding(severity=Severity.WARNING, count=9), finding(), finding(count=3)):
        actions.tell([each])
    actions.tell([finding().resolved(7)])
    actions.tell([finding().resolved(7)])
    actions.tell([finding(where="elsewhere").resolved(7)])
    assert [(f.severity, f.state) for f in told] == [
        (Severity.WARNING, State.OPEN),
        (Severity.ERROR, State.OPEN),
        (Severity.ERROR, State.RESOLVED),
    ]


def test_an_action_that_fails_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Finding] = []

    def broken(_: Finding) -> None:
        raise RuntimeError("out of order")

    Actions([broken, told.append]).tell([finding()])
    assert len(told) == 1 and "out of order" in caplog.text


def test_stop_wants_what_it_was_told_to_want() -> None:
    assert Stop()(finding()) and not Stop()(finding(severity=Severity.WARNING))
    assert Stop(severity=Severity.WARNING)(finding(severity=Severity.WARNING))
    assert not Stop(rules=("Overfit",))(finding())
    assert not Stop()(finding().resolved())


def test_a_follower_gives_what_is_new_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "findings.jsonl"
    follower = FindingsFollower(path)
    assert follower.news() == []
    FindingLog(path).write([finding()])
    assert [f.rule for f in follower.news()] == ["LossNotFinite"]
    FindingLog(path).write([finding(count=2)])
    assert follower.news() == []


class Receiver(BaseHTTPRequestHandler):
    got: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.got.append(json.loads(self.rfile.read(length)))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    class Own(Receiver):
        got: list[dict[str, Any]] = []  # noqa: RUF012

    server = HTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", Own
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webhook_posts_the_finding(receiver: tuple[str, type[Receiver]]) -> None:
    url, handler = receiver
    hook = Webhook(url=url)
    hook(finding(severity=Severity.INFO))
    hook(finding())
    assert [Finding.from_json(record) for record in handler.got] == [finding()]


def test_a_webhook_that_is_refused_gives_up(
    receiver: tuple[str, type[Receiver]], caplog: pytest.LogCaptureFixture
) -> None:
    url, handler = receiver
    handler.status = 500
    hook = Webhook(url=url, tries=2)
    for _ in range(4):
        hook(finding())
    assert len(handler.got) == 2 and "Nothing more is sent" in caplog.text


def test_a_webhook_needs_a_web_address() -> None:
    with pytest.raises(SettingError, match="file:"):
        Webhook(url="file:///etc/passwd")


def step(model: nn.Module, optimizer: torch.optim.Optimizer, scale: float = 1.0) -> None:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)) * scale, torch.randint(0, 3, (8,)))
    loss.backward()
    optimizer.step()


def test_live_findings_reach_actions_and_stop_the_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    told: list[Finding] = []
    begun = time.monotonic()
    with (
        pytest.raises(TrainingStoppedError, match="not a finite number") as stopped,
        Hook(
            model,
            optimizer=optimizer,
            folder=tmp_path / "run",
            rules=["LossNotFinite"],
            actions=[told.append, Stop()],
            live=True,
        ) as hook,
    ):
        while time.monotonic() - begun < 60:
            step(model, optimizer, float("nan") if hook.collector.step > 4 else 1.0)
            time.sleep(0.02)
    assert stopped.value.finding.rule == "LossNotFinite"
    assert told and told[0].rule == "LossNotFinite"
    run = Run.open(tmp_path / "run")
    assert run.status == RunStatus.STOPPED
    asked = {f.key: f for f in hook.findings()}
    assert {f.key for f in run.findings()} == set(asked)


def test_a_rule_of_ones_own_cannot_be_live(tmp_path: Path) -> None:
    class Mine(Rule):
        name = "Mine"

        def evaluate(self, history: Any) -> list[Finding]:
            return []

    model = nn.Linear(4, 3)
    with pytest.raises(SettingError, match="Mine"):
        Hook(model, folder=tmp_path / "run", rules=[Mine()], live=True)


def test_findings_asked_for_set_actions_off(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    told: list[Finding] = []
    hook = Hook(
        model, optimizer=optimizer, folder=tmp_path, rules=["LossNotFinite"], actions=[told.append]
    )
    for _ in range(6):
        step(model, optimizer, float("nan"))
    assert [f.rule for f in hook.findings()] == ["LossNotFinite"]
    hook.findings()
    assert len(told) == 1
    hook.close()
