"""The README's figures are those that the benchmarks printed.

`benchmarks/results/NAME.txt` is what `python benchmarks/NAME.py` printed on a quiet machine; a
row of the README's table under "Measured" that speaks of `NAME.py` quotes figures of that file.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
ROW = re.compile(r"^\| `(\w+)\.py`(.*)$", re.MULTILINE)


def rows() -> list[tuple[str, str]]:
    text = (PROJECT / "README.md").read_text()
    measured = text.split("## Measured", 1)[1].split("\n## ", 1)[0]
    found: list[tuple[str, str]] = ROW.findall(measured)
    return found


def test_every_benchmark_has_a_row_and_a_result() -> None:
    scripts = {p.stem for p in (PROJECT / "benchmarks").glob("[!_]*.py")}
    printed = {p.stem for p in RESULTS.glob("*.txt")}
    assert {name for name, _ in rows()} == printed
    assert printed <= scripts


@pytest.mark.parametrize(("name", "row"), rows())
def test_a_row_quotes_what_its_benchmark_printed(name: str, row: str) -> None:
    printed = NUMBER.findall((RESULTS / f"{name}.txt").read_text())
    measured = row.split("|")[2]
    missing = [number for number in NUMBER.findall(measured) if number not in printed]
    assert NUMBER.findall(measured)
    assert not missing, f"{missing} stand in the README and not in {name}.txt"
