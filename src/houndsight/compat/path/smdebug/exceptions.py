# ruff: noqa: N818 (the names are SageMaker's)
"""The errors that reading a trial, and judging one, can raise."""

from __future__ import annotations

from typing import Any

from .core.modes import ModeKeys

__all__ = [
    "IndexReaderException",
    "InsufficientInformationForRuleInvocation",
    "InvalidCollectionConfiguration",
    "InvalidWorker",
    "MissingCollectionFiles",
    "NoMoreData",
    "NoMoreProfilerData",
    "RuleEvaluationConditionMet",
    "SMDebugCustomerError",
    "SMDebugError",
    "SMDebugNotImplementedError",
    "SMDebugRuntimeError",
    "SMDebugTypeError",
    "SMDebugValueError",
    "ShapeUnavailableForStep",
    "StepNotYetAvailable",
    "StepUnavailable",
    "TensorUnavailable",
    "TensorUnavailableForStep",
]


class SMDebugError(Exception):
    """Anything that can go wrong here."""


class SMDebugCustomerError(SMDebugError):
    """The caller's fault."""


class SMDebugTypeError(SMDebugError, TypeError):
    """A value of another type was expected."""


class SMDebugRuntimeError(SMDebugError, RuntimeError):
    """Something cannot be done now."""


class SMDebugNotImplementedError(SMDebugError, NotImplementedError):
    """Something is not there."""


class SMDebugValueError(SMDebugError, ValueError):
    """A value cannot be."""


class InvalidCollectionConfiguration(SMDebugError):
    """A collection names no tensor and no expression."""

    def __init__(self, c_name: str) -> None:
        super().__init__(
            f"Collection {c_name} has not been configured. "
            "Please fill in tensor_name or include_regex"
        )
        self.c_name = c_name


class StepNotYetAvailable(SMDebugError):
    """The training has not come that far."""

    def __init__(self, step: int, mode: ModeKeys) -> None:
        super().__init__(f"Step {step} of mode {mode.name} not yet available")
        self.step, self.mode = step, mode


class MissingCollectionFiles(SMDebugError):
    """The training has ended and saved nothing."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message or "Training job has ended. All the collection files could not be loaded"
        )


class IndexReaderException(SMDebugError):
    """What was saved cannot be read."""


class StepUnavailable(SMDebugError):
    """That step was not saved."""

    def __init__(self, step: int, mode: ModeKeys) -> None:
        super().__init__(f"Step {step} of mode {mode.name} is not available as it was not saved")
        self.step, self.mode = step, mode


class TensorUnavailableForStep(SMDebugError):
    """That tensor was not saved at that step."""

    def __init__(
        self, tname: str, step: int, mode: ModeKeys = ModeKeys.GLOBAL, has_reductions: bool = False
    ) -> None:
        told = f"Value for tensor {tname} is not available for step {step} with mode {mode.name}"
        told += " as it was not saved."
        if has_reductions:
            told += " This tensor has reductions saved for this step."
            told += " You might want to query for the reductions."
        super().__init__(told)
        self.tname, self.step, self.mode, self.has_reductions = tname, step, mode, has_reductions


class ShapeUnavailableForStep(SMDebugError):
    """The shape of that tensor was not saved at that step."""

    def __init__(self, tname: str, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> None:
        super().__init__(
            f"Shape for tensor {tname} is not available for step {step} "
            f"with mode {mode.name} as it was not saved."
        )
        self.tname, self.step, self.mode = tname, step, mode


class TensorUnavailable(SMDebugError):
    """No tensor of that name was saved."""

    def __init__(self, tname: str, hint: str = "") -> None:
        super().__init__(f"Tensor {tname} was not saved." + (f" {hint}" if hint else ""))
        self.tname = tname


class InvalidWorker(SMDebugError):
    """There is no such worker."""

    def __init__(self, worker: str) -> None:
        super().__init__(f"Invalid Worker: {worker}")
        self.worker = worker


class NoMoreProfilerData(SMDebugError):
    """The training has ended before that time."""

    def __init__(self, timestamp: Any) -> None:
        self.msg = f"Looking for timestamp {timestamp} and reached end of training."
        super().__init__(self.msg)
        self.timestamp = timestamp


class NoMoreData(SMDebugError):
    """The training has ended before that step."""

    def __init__(self, step: int, mode: ModeKeys, last_step: int) -> None:
        self.msg = (
            f"Looking for step {step} of mode {mode.name} and reached end of training. "
            f"Max step available is {last_step}"
        )
        super().__init__(self.msg)
        self.step, self.mode, self.last_step = step, mode, last_step


class RuleEvaluationConditionMet(SMDebugError):
    """A rule has found what it looks for."""

    def __init__(self, rule_name: str, step: int, end_of_rule: bool = False) -> None:
        super().__init__(
            f"Evaluation of the rule {rule_name} at step {step} resulted in the condition being met"
        )
        self.rule_name, self.step, self.end_of_rule = rule_name, step, end_of_rule


class InsufficientInformationForRuleInvocation(SMDebugError):
    """A rule was given too little to judge by."""

    def __init__(self, rule_name: str, message: str) -> None:
        super().__init__(f"Insufficient information to invoke rule {rule_name}: {message}")
        self.rule_name, self.message = rule_name, message
