"""docs/rules.md says what the rules say, and names them all."""

from __future__ import annotations

import runpy
from pathlib import Path

from houndsight.debugger.rules import GROUPS, RULES

PROJECT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    made = runpy.run_path(str(PROJECT / "scripts" / "rules_page.py"))["page"]()
    written = (PROJECT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert written == made, "run python scripts/rules_page.py"


def test_every_rule_stands_on_the_page_once() -> None:
    written = (PROJECT / "docs" / "rules.md").read_text(encoding="utf-8").splitlines()
    assert [written.count(f"### {name}") for name in RULES] == [1] * len(RULES)
    assert [
        group for group, modules in GROUPS.items() if modules and f"## {group}" not in written
    ] == []
