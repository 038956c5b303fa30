"""What every rule promises. A new one joins by recordings in `rule_cases`."""

from __future__ import annotations

import pytest
from rule_cases import cases_a, cases_b, cases_c

from houndsight.debugger.judge import judge
from houndsight.debugger.rules import RULES
from houndsight.debugger.testing import Case

CASES: dict[str, tuple[list[Case], list[Case]]] = cases_a.CASES | cases_b.CASES | cases_c.CASES


def _cases(which: int) -> list[object]:
    pairs = [(name, case) for name, cases in CASES.items() for case in cases[which]]
    return [pytest.param(name, case, id=f"{name}-{case.name}") for name, case in pairs]


def test_every_rule_has_recordings_and_no_recording_lacks_its_rule() -> None:
    assert set(RULES) == set(CASES)
    assert [name for name, cases in CASES.items() if not all(cases)] == []


@pytest.mark.parametrize(("name", "case"), _cases(0))
def test_it_speaks_of_what_is_wrong(name: str, case: Case) -> None:
    found = judge([RULES[name](**case.parameters)], case.history()).findings
    assert [finding.rule for finding in found] == [name] * len(found)
    assert found
