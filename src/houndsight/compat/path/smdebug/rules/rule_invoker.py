"""Lets a rule judge step after step."""

from __future__ import annotations

from ..core.logger import get_logger
from ..exceptions import (
    NoMoreProfilerData,
    RuleEvaluationConditionMet,
    StepUnavailable,
    TensorUnavailable,
    TensorUnavailableForStep,
)
from .rule import Rule

__all__ = ["invoke_rule"]


def invoke_rule(
    rule_obj: Rule,
    start_step: int | None = 0,
    end_step: int | None = None,
    raise_eval_cond: bool = False,
) -> None:
    """Judge the steps from `start_step` until before `end_step`.

    Raises:
        NoMoreData: without `end_step`, when the training has ended.
        RuleEvaluationConditionMet: the rule is met, and `raise_eval_cond`.
    """
    log, name, step = get_logger(), type(rule_obj).__name__, start_step or 0
    log.info("Started execution of rule %s at step %d", name, step)
    while end_step is None or step < end_step:
        try:
            rule_obj.invoke(step)
        except (TensorUnavailableForStep, StepUnavailable, TensorUnavailable) as error:
            log.debug("%s", error)
        except RuleEvaluationConditionMet as error:
            if raise_eval_cond:
                raise
            log.info("%s", error)
            if error.end_of_rule:
                break
        except NoMoreProfilerData as error:
            log.info("No more profiler data for rule %s at timestamp %s", name, error.timestamp)
            break
        step += 1
    log.info("Ended execution of rule %s at end_step %d", name, step - 1)
