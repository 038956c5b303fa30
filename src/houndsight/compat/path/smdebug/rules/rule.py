"""A rule of a person's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..analysis.utils import no_refresh
from ..core.logger import get_logger
from ..exceptions import RuleEvaluationConditionMet
from ..trials.trial import Trial
from .action import Actions
from .req_tensors import RequiredTensors

__all__ = ["Rule"]


class Rule(ABC):
    """Judges a trial step by step. A subclass says in `invoke_at_step` whether it is met.

    Both ways of calling it that are about work: `Rule(trial, other_trials)` as the guide has it,
    and `Rule(trial, action_str, other_trials)` as the library had it.
    """

    def __init__(
        self, base_trial: Trial, action_str: Any = None, other_trials: Sequence[Trial] | None = None
    ) -> None:
        if action_str is not None and not isinstance(action_str, str):
            action_str, other_trials = None, action_str
        self.base_trial, self.other_trials = base_trial, other_trials
        self.trials = [base_trial, *(other_trials or ())]
        self.req_tensors = RequiredTensors(base_trial, other_trials)
        self.logger = get_logger()
        self.rule_name = type(self).__name__
        self._actions = Actions(action_str, rule_name=self.rule_name)
        self.report: dict[str, Any] = {
            "RuleTriggered": 0,
            "Violations": 0,
            "Details": {},
            "Datapoints": 0,
            "RuleParameters": "",
        }

    def set_required_tensors(self, step: int) -> None:
        """Name what is needed at a step, by `self.req_tensors.add`."""
        del step

    @abstractmethod
    def invoke_at_step(self, step: int) -> bool:
        """Whether the rule is met at a step, counted over all modes."""

    def invoke(self, step: int) -> None:
        """Judge a step, once it is there.

        Raises:
            RuleEvaluationConditionMet: the rule is met.
        """
        self.base_trial.wait_for_steps([step])
        with no_refresh(self.trials):
            self.req_tensors.clear()
            self.set_required_tensors(step)
            self.req_tensors.fetch()
            met = self.invoke_at_step(step)
        if met:
            self._actions.invoke()
            raise RuleEvaluationConditionMet(self.rule_name, step)
