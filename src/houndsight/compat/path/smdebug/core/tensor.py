"""One tensor of a trial."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from ..exceptions import (
    InvalidWorker,
    NoMoreData,
    ShapeUnavailableForStep,
    SMDebugNotImplementedError,
    StepNotYetAvailable,
    StepUnavailable,
    TensorUnavailableForStep,
)
from .modes import ModeKeys
from .reductions import get_numpy_reduction

if TYPE_CHECKING:
    from houndsight.debugger.saved import SavedReader

    from ..trials.trial import Trial

__all__ = ["StepState", "Tensor"]

At = tuple[Any, Mapping[str, Any]]
"""A reader and the row in it."""


class StepState(Enum):
    """Whether a step is there."""

    UNAVAILABLE = 0
    AVAILABLE = 1
    NOT_YET_AVAILABLE = 2


class Tensor:
    """A tensor over the steps."""

    def __init__(self, name: str, trial: Trial) -> None:
        self.name, self.trial = name, trial
        self.original_name: str | None = None
        self._at: dict[int, dict[str, At]] = {}
        """By global step, then by worker."""

    def add(self, reader: SavedReader, row: Mapping[str, Any]) -> None:
        """It was saved there."""
        self._at.setdefault(row["step"], {})[reader.worker] = (reader, row)

    def steps(
        self, mode: ModeKeys | None = ModeKeys.GLOBAL, show_incomplete_steps: bool = False
    ) -> list[int]:
        """The steps at which it was saved, counted over all modes or in one."""
        del show_incomplete_steps
        self.trial.maybe_refresh()
        if mode is None or mode is ModeKeys.GLOBAL:
            return sorted(self._at)
        known = (self.trial.mode_modestep(step) for step in self._at)
        return sorted(number for of, number in known if of is mode and number is not None)

    def value(
        self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None
    ) -> Any:
        """It at a step, as an array.

        Raises:
            TensorUnavailableForStep: it was not saved then, or only figures of it.
            StepUnavailable: nothing was saved then.
            StepNotYetAvailable: the training has not come that far.
            InvalidWorker: there is no such worker.
        """
        reader, row = self._saved(step_num, mode, worker)
        value = reader.tensor(row, self.name)
        if value is None:
            reductions = self.name in (row.get("reductions") or {})
            raise TensorUnavailableForStep(self.name, step_num, mode, reductions)
        return value

    def values(self, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> dict[int, Any]:
        """It at each step."""
        return {step: self.value(step, mode, worker) for step in self.steps(mode=mode)}

    def reduction_value(
        self,
        step_num: int,
        reduction_name: str,
        mode: ModeKeys = ModeKeys.GLOBAL,
        worker: str | None = None,
        abs: bool = False,
    ) -> Any:
        """A figure of it: as saved, else computed of what was saved whole."""
        reader, row = self._saved(step_num, mode, worker)
        kind = ("abs_" if abs else "") + reduction_name.removesuffix("_norm")
        saved = (row.get("reductions") or {}).get(self.name, {})
        if kind in saved:
            return np.float64(saved[kind])
        value = reader.tensor(row, self.name)
        if value is None:
            raise TensorUnavailableForStep(self.name, step_num, mode, bool(saved))
        return get_numpy_reduction(reduction_name, value, abs)

    def reduction_values(
        self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None
    ) -> dict[tuple[str, bool], Any]:
        """All figures of it that were saved: by name, and whether of the magnitudes."""
        _, row = self._saved(step_num, mode, worker)
        saved = (row.get("reductions") or {}).get(self.name, {})
        return {
            (kind.removeprefix("abs_"), kind.startswith("abs_")): np.float64(value)
            for kind, value in saved.items()
        }

    def shape(
        self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None
    ) -> tuple[int, ...]:
        """Its shape at a step."""
        _, row = self._saved(step_num, mode, worker)
        saved = (row.get("shapes") or {}).get(self.name)
        if saved is not None:
            return tuple(saved)
        try:
            value = self.value(step_num, mode, worker)
        except TensorUnavailableForStep as error:
            raise ShapeUnavailableForStep(self.name, step_num, mode) from error
        examples = (row.get("examples") or {}).get(self.name)
        return tuple(value.shape if examples is None else (examples, *value.shape[1:]))

    def shapes(
        self, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None
    ) -> dict[int, tuple[int, ...]]:
        """Its shape at each step."""
        return {step: self.shape(step, mode, worker) for step in self.steps(mode=mode)}

    def workers(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL) -> list[str]:
        """The processes that saved it at a step."""
        number = self.trial.global_step(mode, step_num)
        if number is None or number not in self._at:
            raise TensorUnavailableForStep(self.name, step_num, mode)
        return sorted(self._at[number])

    def prev_steps(
        self, step: int, n: int | None = None, mode: ModeKeys = ModeKeys.GLOBAL
    ) -> list[int]:
        """The last `n` steps up to and with `step`; all without `n`."""
        steps = self.steps(mode=mode)
        before = steps[: bisect.bisect_right(steps, step)]
        return before[-n:] if n else before

    def step(self, *_args: Any, **_kwargs: Any) -> None:
        """Was removed.

        Raises:
            SMDebugNotImplementedError: always.
        """
        raise SMDebugNotImplementedError(
            "step method has been removed. Please use tensor.value or tensor.reduction_value "
            "methods"
        )

    def _saved(self, step_num: int, mode: ModeKeys, worker: str | None) -> At:
        number = self.trial.global_step(mode, step_num)
        if number is None or number not in self._at:
            self.trial.maybe_refresh(self.name)
            number = self.trial.global_step(mode, step_num)
        if number is None or number not in self._at:
            self._raise_missing(step_num, mode)
        assert number is not None
        workers = self._at[number]
        if worker is not None and worker not in workers:
            raise InvalidWorker(worker)
        return workers[worker or min(workers)]

    def _raise_missing(self, step_num: int, mode: ModeKeys) -> None:
        state = self.trial.has_passed_step(step_num, mode)
        if state is StepState.AVAILABLE:
            raise TensorUnavailableForStep(self.name, step_num, mode)
        if state is StepState.NOT_YET_AVAILABLE:
            raise StepNotYetAvailable(step_num, mode)
        last = max(self.trial.steps(mode=mode), default=-1)
        if step_num > last:
            raise NoMoreData(step_num, mode, last)
        raise StepUnavailable(step_num, mode)

    def __repr__(self) -> str:
        return f"<smdebug Tensor {self.name} of {self.trial.name}>"
