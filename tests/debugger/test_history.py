"""Histories: series in order whatever came first, and rules that fail harm nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from houndsight.debugger.history import History
from houndsight.debugger.judge import Standing, changed, judge
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.structure import Structure
from houndsight.debugger.testing import healthy
from houndsight.errors import RunError, SettingError
from houndsight.findings import Cause, Finding, Severity, State


def test_a_series_is_in_order_of_step_whatever_order_rows_came_in() -> None:
    recording = healthy(30)
    rows = list(recording.rows)
    random.Random(0).shuffle(rows)
    series = History(recording.structure, rows).series(Group.GRADIENTS, Statistic.NORM)
    assert series.steps.tolist() == list(range(30))
    np.testing.assert_array_equal(
        series.values, recording.history().series(Group.GRADIENTS, Statistic.NORM).values
    )


def test_rows_that_come_twice_count_once() -> None:
    recording = healthy(10)
    history = History(recording.structure, [*recording.rows, *recording.rows])
    assert len(history.scalar("loss")) == 10


def test_a_scalar_leaves_out_steps_at_which_it_was_unknown() -> None:
    recording = healthy(30, evaluate_every=10)
    history = recording.history()
    assert len(history.scalar("learning_rate")) == 30
    assert len(history.scalar("learning_rate", Mode.EVAL)) == 0
    assert len(history.scalar("loss", Mode.EVAL)) == 12


def test_a_history_until_a_step_holds_nothing_later() -> None:
    history = healthy(30).history().until(7)
    assert history.last_step == 7
    assert history.now < healthy(30).history().now


def test_structure_survives_its_file(tmp_path: Path) -> None:
    structure = healthy(1).structure
    structure.write(tmp_path / "structure.json")
    read = Structure.read(tmp_path / "structure.json")
    assert [p.name for p in read.learnable()] == [p.name for p in structure.learnable()]
    assert read.module("bn1") == structure.module("bn1")
    assert read.loss == structure.loss
    (tmp_path / "structure.json").write_text('{"v": 99}')
    with pytest.raises(RunError, match="newer"):
        Structure.read(tmp_path / "structure.json")
    (tmp_path / "structure.json").write_text('{"v": 1}')
    with pytest.raises(RunError, match="damaged"):
        Structure.read(tmp_path / "structure.json")


class _Loud(Rule):
    """Speaks when the loss is above a threshold."""

    name = "Loud"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "threshold": Parameter(float, 1.0, "Loss to speak at.")
    }

    def evaluate(self, history: History) -> list[Finding]:
        loss = history.scalar("loss").values[:, 0]
        if not (loss > self.value("threshold")).any():
            return []
        cause = Cause(text="It is loud.", fix="Be quiet.")
        return [
            Finding(
                rule=self.name, where="", severity=Severity.WARNING, title="Loud.", causes=(cause,)
            )
        ]


class _Broken(Rule):
    """Raises."""

    name = "Broken"

    def evaluate(self, history: History) -> list[Finding]:
        raise ZeroDivisionError("no")


def test_parameters_may_be_strings_and_wrong_ones_are_named() -> None:
    assert judge([_Loud(threshold="0.5")], healthy(20).history()).findings
    assert not judge([_Loud(threshold="50")], healthy(20).history()).findings
    with pytest.raises(SettingError, match="threshold is 'much'"):
        _Loud(threshold="much")
    with pytest.raises(SettingError, match="no parameter 'treshold'"):
        _Loud(treshold=1)


def test_a_rule_that_raises_becomes_a_finding_and_the_others_judge() -> None:
    judgement = judge([_Broken(), _Loud()], healthy(20).history())
    assert [v.standing for v in judgement.verdicts] == [Standing.FAILED, Standing.JUDGED]
    assert [f.rule for f in judgement.findings] == ["RuleFailed", "Loud"]


def test_only_what_changed_is_written_and_what_is_gone_is_resolved() -> None:
    before = judge([_Loud()], healthy(20).history()).findings
    assert changed(before, before) == []
    (gone,) = changed(before, [])
    assert gone.state == State.RESOLVED
    assert changed([gone], []) == []
