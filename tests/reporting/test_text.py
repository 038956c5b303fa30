from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.reporting.text import (
    clean,
    measure,
    percent,
    rule_words,
    shorten,
    sorted_out,
    unique,
)


@given(st.text())
def test_cleaned_text_is_one_line_that_any_page_can_hold(text: str) -> None:
    told = clean(text, limit=40)
    assert len(told) <= 40
    assert told.encode().decode() == told
    assert not any(ord(c) < 0x20 or c in "\u202e\u2067\uffff" for c in told)


def test_half_a_character_and_direction_overrides_become_visible() -> None:
    assert clean("a\ud800b") == "a\ufffdb"
    assert clean("photo\u202egpj.exe") == "photo\ufffdgpj.exe"
    assert clean("two\nlines\tand  gaps") == "two lines and gaps"


@given(st.text(min_size=1), st.integers(5, 60))
def test_shortening_keeps_the_limit(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit


@given(st.lists(st.text("ab", max_size=60)))
def test_unique_names_differ(names: list[str]) -> None:
    told = unique(names, 8)
    assert len(set(told)) == len(told) == len(names)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.4917, "0.492"),
        (0.00412, "0.00412"),
        (0.00031, "3.1\N{MULTIPLICATION SIGN}10⁻⁴"),
        (-0.25, "\N{MINUS SIGN}0.250"),
        (128, "128"),
        (12345, "12,345"),
        (0.0, "0.000"),
        (float("nan"), "not a number"),
        (float("inf"), "infinite"),
        (None, "\N{EN DASH}"),
        ("weights", "weights"),
        (True, "True"),
    ],
)
def test_measures(value: object, told: str) -> None:
    assert measure(value) == told


def test_percent() -> None:
    assert percent(0.8423) == "84.2\u00a0%"
    assert percent(float("nan")) == percent(None) == "\N{EN DASH}"


def test_names_in_sentences() -> None:
    assert sorted_out([]) == ""
    assert sorted_out(["A"]) == "A"
    assert sorted_out(["A", "B", "C"]) == "A, B and C"
    assert sorted_out(list("ABCDE")) == "A, B, C and 2 more"
    assert rule_words("DuplicatesAcrossSplits") == "Duplicates across splits"
    assert rule_words("LowGPUUse") == "Low GPU use"
