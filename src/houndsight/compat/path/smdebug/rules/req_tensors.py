"""The tensors that a rule needs at a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..core.tensor import Tensor
from ..exceptions import TensorUnavailable
from ..trials.trial import Trial

__all__ = ["RequiredTensors", "RequiredTensorsForTrial"]


class RequiredTensorsForTrial:
    """Those of one trial."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self._steps: dict[str, list[int]] = {}

    def add(self, name: str, steps: Iterable[int], should_match_regex: bool = False) -> None:
        """Need a tensor, or all whose names match, at these steps.

        Raises:
            TensorUnavailable: there is none of that name.
        """
        names = self.trial.tensor_names(regex=[name]) if should_match_regex else [name]
        for each in names:
            if not self.trial.has_tensor(each):
                raise TensorUnavailable(each)
            self._steps.setdefault(each, []).extend(steps)

    def get_tensor_steps(self, name: str) -> list[int]:
        """The steps at which a tensor is needed."""
        return self._steps[name]

    def get_names(self) -> list[str]:
        """The names."""
        return list(self._steps)

    def get(self) -> list[Tensor]:
        """The tensors."""
        return [self.trial.tensor(name) for name in self._steps]

    def clear(self) -> None:
        """Need none."""
        self._steps.clear()

    def fetch(self) -> None:
        """Wait for the steps, and see that the tensors are there."""
        self.trial.wait_for_steps(sorted({s for steps in self._steps.values() for s in steps}))
        for name, steps in self._steps.items():
            for step in steps:
                self.trial.tensor(name).value(step)


class RequiredTensors:
    """Those of a rule's trials."""

    def __init__(self, base_trial: Trial, other_trials: Sequence[Trial] | None = None) -> None:
        self.base_trial = base_trial
        self._of = {t: RequiredTensorsForTrial(t) for t in [base_trial, *(other_trials or ())]}

    def add(
        self,
        name: str,
        steps: Iterable[int],
        trial: Trial | None = None,
        should_match_regex: bool = False,
    ) -> None:
        """Need a tensor."""
        self._of[trial or self.base_trial].add(name, steps, should_match_regex)

    def get_tensor_steps(self, name: str, trial: Trial | None = None) -> list[int]:
        """The steps at which a tensor is needed."""
        return self._of[trial or self.base_trial].get_tensor_steps(name)

    def get_names(self, trial: Trial | None = None) -> list[str]:
        """The names."""
        return self._of[trial or self.base_trial].get_names()

    def get(self, trial: Trial | None = None) -> list[Any]:
        """The tensors."""
        return self._of[trial or self.base_trial].get()

    def clear(self) -> None:
        """Need none."""
        for each in self._of.values():
            each.clear()

    def fetch(self) -> None:
        """Wait for them."""
        for each in self._of.values():
            each.fetch()
