"""What every rule promises. A new one joins by recordings in `rule_cases`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from rule_cases import cases_a, cases_b, cases_c, cases_d, cases_e, cases_f

from houndsight.debugger.history import History
from houndsight.debugger.judge import Judgement, Standing, judge
from houndsight.debugger.record import Group, Mode, Row
from houndsight.debugger.rules import RULES, Rule
from houndsight.debugger.testing import HEALTHY, Case, Recording, healthy
from houndsight.errors import SettingError
from houndsight.findings import Finding, Severity

Cases = dict[str, tuple[list[Case], list[Case]]]
CASES: Cases = (
    cases_a.CASES | cases_b.CASES | cases_c.CASES | cases_d.CASES | cases_e.CASES | cases_f.CASES
)
for _name, (_positives, _negatives) in cases_f.MORE.items():
    CASES[_name] = (CASES[_name][0] + _positives, CASES[_name][1] + _negatives)
SECONDS_AWAY = 8 * 3600.0


def _cases(which: int) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{case.name}")
        for name, cases in CASES.items()
        for case in cases[which]
    ]


every_rule = pytest.mark.parametrize("name", list(RULES))
positives = pytest.mark.parametrize(("name", "case"), _cases(0))
negatives = pytest.mark.parametrize(("name", "case"), _cases(1))


def judged(rule: Rule, history: History) -> Judgement:
    """What the rule says; a failure is a failed test."""
    judgement = judge([rule], history)
    failed = [v.reason for v in judgement.verdicts if v.standing == Standing.FAILED]
    assert failed == [], failed
    return judgement


SAID: dict[int, list[Finding]] = {}


def said(name: str, case: Case) -> list[Finding]:
    """What the rule says of a case, which is judged once."""
    if id(case) not in SAID:
        SAID[id(case)] = judged(RULES[name](**case.parameters), case.history()).findings
    return SAID[id(case)]


def loud(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that would trouble a person."""
    return [finding for finding in findings if finding.severity != Severity.INFO]


# -- recordings ---------------------------------------------------------------------------------


@cache
def base() -> Recording:
    return healthy(60, evaluate_every=20)


def _poisoned(value: float) -> History:
    """From step 20 on every figure is not finite, and so is every other before."""

    def spoil(row: Row) -> Row:
        if row.integers is not None or (row.step < 20 and row.step % 2):
            return row
        return replace(row, values=np.full_like(row.values, value))

    return replace(base(), rows=tuple(spoil(row) for row in base().rows)).history()


def _resumed() -> History:
    """Stopped after 40 steps and begun again at step 30, hours later; the steps between twice."""
    before = [row for row in base().rows if row.step < 40]
    again = [replace(r, time=r.time + SECONDS_AWAY) for r in base().rows if r.step >= 30]
    return History(base().structure, [*before, *again], now=again[-1].time, ended=True)


def _gap() -> History:
    rows = [row for row in base().rows if not 20 <= row.step < 40]
    return History(base().structure, rows, now=rows[-1].time, ended=True)


def _shuffled() -> History:
    rows = list(base().rows)
    random.Random(0).shuffle(rows)
    return replace(base(), rows=tuple(rows)).history()


def _bare() -> History:
    """Nothing is known of the loss, the optimizer or the head."""
    changed = base().restructured(loss=None, optimizer=None, head="", classes=None)
    return changed.history()


def _single() -> History:
    return replace(base(), rows=tuple(row for row in base().rows if row.step == 0)).history()


def _without_modules() -> History:
    return base().restructured(modules=(), parameters=()).history()


def _of_no_examples() -> History:
    """Empty batches."""

    def empty(row: Row) -> Row:
        if row.names:
            return row
        integers = None if row.integers is None else row.integers[:0]
        return replace(row, values=row.values[:0], integers=integers)

    return replace(base(), rows=tuple(empty(row) for row in base().rows)).history()


def _ragged() -> History:
    """Every third row has lost its first name, as when tensors come and go."""
    rows = [
        replace(row, names=row.names[1:], values=row.values[1:])
        if i % 3 == 0 and row.names
        else row
        for i, row in enumerate(base().rows)
    ]
    return replace(base(), rows=tuple(rows)).history()


def _hard() -> dict[str, History]:
    structure = base().structure
    made = {
        "nan": _poisoned(float("nan")),
        "inf": _poisoned(float("inf")),
        "minus-inf": _poisoned(float("-inf")),
        "zeros": _poisoned(0.0),
        "huge": _poisoned(3e38),
        "empty": History(structure, [], now=1.75e9),
        "empty-and-ended": History(structure, [], now=1.75e9, ended=True),
        "single-step": _single(),
        "resumed": _resumed(),
        "gap": _gap(),
        "shuffled": _shuffled(),
        "bare": _bare(),
        "no-modules": _without_modules(),
        "no-examples": _of_no_examples(),
        "ragged": _ragged(),
    }
    for group in Group:
        made[f"without-{group.value}"] = base().without(group).history()
    for mode in (Mode.TRAIN, Mode.EVAL):
        rows = tuple(row for row in base().rows if row.mode != mode)
        made[f"without-{mode.value}"] = replace(base(), rows=rows).history()
    return made


@pytest.fixture(scope="module")
def hard() -> dict[str, History]:
    return _hard()


QUIET = ("resumed", "gap", "shuffled", "single-step", "empty", "bare", "no-modules", "ragged")
"""Recordings of which nothing is wrong but the record itself."""


# -- promises -----------------------------------------------------------------------------------


def test_every_rule_has_recordings_and_no_recording_lacks_its_rule() -> None:
    assert set(RULES) == set(CASES)
    assert [name for name, cases in CASES.items() if not all(cases)] == []


@positives
def test_it_speaks_of_what_is_wrong(name: str, case: Case) -> None:
    found = said(name, case)
    assert found
    assert {finding.rule for finding in found} == {name}


@positives
def test_it_gives_cause_fix_steps_and_figures(name: str, case: Case) -> None:
    for finding in said(name, case):
        assert finding.title.endswith(".")
        assert any(c.isdigit() for c in finding.title), finding.title
        assert finding.causes
        assert all(cause.text.endswith(".") and cause.fix for cause in finding.causes)
        assert all(cause.name == cause.name.lower() != "" for cause in finding.causes)
        assert " " not in "".join(cause.name for cause in finding.causes)
        scores = [cause.score for cause in finding.causes]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert finding.count >= 1
        if finding.first_step is not None and finding.last_step is not None:
            assert finding.first_step <= finding.last_step


@positives
def test_its_findings_are_plain_json(name: str, case: Case) -> None:
    for finding in said(name, case):
        text = json.dumps(finding.to_json(), allow_nan=False)
        assert Finding.from_json(json.loads(text)).key == finding.key
        assert finding.plot


@positives
def test_it_says_each_thing_once(name: str, case: Case) -> None:
    found = said(name, case)
    assert len({finding.key for finding in found}) == len(found)


@positives
def test_it_says_the_same_live_as_at_the_end(name: str, case: Case) -> None:
    rule, whole = RULES[name](**case.parameters), case.history()
    rows = sorted(case.recording.rows, key=lambda row: row.step)
    live = History(case.recording.structure, now=0.0, ranks=whole.ranks, others=whole.others)
    for part in range(4):
        live.add(rows[part * len(rows) // 4 : (part + 1) * len(rows) // 4])
        judged(rule, live)
    at_end = History(
        live.structure,
        rows,
        now=whole.now,
        ended=case.ended,
        ranks=whole.ranks,
        others=whole.others,
    )
    fresh = RULES[name](**case.parameters)
    expected = judged(fresh, whole).findings
    assert judged(rule, at_end).findings == expected
    assert judged(rule, whole).findings == expected


@negatives
def test_it_is_silent_about_what_is_well(name: str, case: Case) -> None:
    found = said(name, case)
    assert [(f.severity, f.title) for f in loud(found)] == []


@pytest.mark.parametrize("variant", list(HEALTHY))
def test_no_rule_speaks_on_a_healthy_training(variant: str) -> None:
    history = HEALTHY[variant]().history()
    found = [f for rule in RULES.values() for f in judged(rule(), history).findings]
    assert [(f.rule, f.title) for f in loud(found)] == []


@every_rule
def test_it_survives_whatever_was_recorded(name: str, hard: dict[str, History]) -> None:
    for history in hard.values():
        for finding in judged(RULES[name](), history).findings:
            json.dumps(finding.to_json(), allow_nan=False)


@every_rule
def test_a_record_with_holes_is_no_reason_to_speak(name: str, hard: dict[str, History]) -> None:
    for which in QUIET:
        found = judged(RULES[name](), hard[which]).findings
        assert [(which, f.title) for f in loud(found)] == []


@every_rule
def test_it_survives_every_parameter_as_a_string(name: str, hard: dict[str, History]) -> None:
    rule = RULES[name]
    strings = {bool: "true", int: "3", float: "0.5"}
    for parameter, described in rule.parameters.items():
        text = strings.get(described.kind, "weights" if "collection" in parameter else ".*")
        made = rule(**{parameter: text})
        assert parameter in made.given
        for which in ("shuffled", "nan", "empty", "single-step", "without-losses", "bare"):
            if parameter != "other_trials":
                judged(made, hard[which])


@every_rule
def test_a_parameter_it_does_not_have_is_named(name: str) -> None:
    with pytest.raises(SettingError, match="no parameter 'no_such'"):
        RULES[name](no_such="1")


@every_rule
def test_it_tells_what_it_is(name: str) -> None:
    rule = RULES[name]
    assert rule.name == name
    assert rule.__doc__
    assert len(rule.__doc__.split("\n\n")) > 1, "a summary, then the condition and its source"
    assert all(described.help.endswith(".") for described in rule.parameters.values())
