"""Choosing rules: by name in either spelling, by preset, by parameters."""

from __future__ import annotations

import pytest

from houndsight.debugger.judge import Standing, judge
from houndsight.debugger.record import Group
from houndsight.debugger.rules import RULES, make_rules
from houndsight.debugger.rules.selection import Names, select
from houndsight.debugger.rules.vanishing_gradient import VanishingGradient
from houndsight.debugger.testing import healthy
from houndsight.errors import SettingError


def names(which: object) -> list[str]:
    return [rule.name for rule in make_rules(which)]  # type: ignore[arg-type]


def test_rules_are_chosen_by_name_preset_or_parameters() -> None:
    assert names("default") == list(RULES)
    assert names("none") == []
    assert names("simple") == ["VanishingGradient", "LossNotDecreasing", "WeightUpdateRatio"]
    assert names("VanishingGradient, loss_not_decreasing") == [
        "VanishingGradient",
        "LossNotDecreasing",
    ]
    (rule,) = make_rules({"vanishing_gradient": {"threshold": "1e-3"}})
    assert rule.given == {"threshold": 1e-3}
    own = VanishingGradient(threshold=1)
    assert own in make_rules(["default", own])
    assert len(make_rules(["default", own])) == len(RULES)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(SettingError, match="no rule 'VanishingGradeint'"):
        make_rules("VanishingGradeint")
    with pytest.raises(SettingError, match="several rules"):
        make_rules({"default": {"threshold": "1"}})


def test_rules_for_trees_and_texts_fail_with_their_reason() -> None:
    rules = make_rules({"NLPSequenceRatio": {"token_values": "0"}, "tree_depth": {}})
    judgement = judge(rules, healthy(20).history())
    assert [v.standing for v in judgement.verdicts] == [Standing.FAILED] * 2
    assert "texts" in judgement.verdicts[0].reason
    assert "fault of its own" not in judgement.findings[0].causes[0].text


@pytest.mark.parametrize(
    ("given", "group", "expected"),
    [
        ({"collection_names": Names("gradients")}, Group.GRADIENTS, 11),
        ({"collection_names": Names("weights")}, Group.PARAMETERS, 7),
        ({"collection_names": Names("biases,losses")}, Group.PARAMETERS, 4),
        ({"tensor_regex": Names("^Net_conv1.weight$")}, Group.PARAMETERS, 1),
        ({"tensor_regex": Names("^gradient/Net_conv")}, Group.GRADIENTS, 3),
        ({"tensor_regex": Names(".*relu_output")}, Group.ACTIVATIONS, 3),
        ({"tensor_regex": Names("CrossEntropyLoss_output_0")}, Group.SCALARS, 1),
        ({"tensor_regex": Names("conv1_output_0")}, Group.ACTIVATIONS, 1),
    ],
)
def test_tensors_are_chosen_by_sagemakers_names(
    given: dict[str, Names], group: Group, expected: int
) -> None:
    chosen = select(healthy(20).history(), given)
    assert chosen is not None
    assert len(chosen[group]) == expected


def test_a_misspelt_collection_is_named_with_those_there_are() -> None:
    rules = make_rules({"AllZero": {"collection_names": "gradeints"}})
    (verdict,) = judge(rules, healthy(20).history()).verdicts
    assert verdict.standing == Standing.FAILED
    assert "no collection 'gradeints'" in verdict.reason
    with pytest.raises(SettingError, match="no regular expression"):
        select(healthy(20).history(), {"tensor_regex": Names("(")})
