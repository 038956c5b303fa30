"""What a rule is: the smallest thing that judges one kind of fault."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from houndsight.debugger.history import History
from houndsight.errors import HoundsightError, SettingError
from houndsight.findings import Finding

__all__ = ["Parameter", "Rule", "UnsupportedRuleError"]

TRUE, FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


class UnsupportedRuleError(HoundsightError):
    """A rule was asked for that no training of an image network can be judged by."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a rule, under the name that SageMaker gave it or one of ours."""

    kind: type
    """int, float, bool or str."""
    documented: Any
    """SageMaker's documented default, or ours for a parameter that SageMaker has not."""
    help: str
    """Its meaning, as a sentence."""

    def parse(self, rule: str, name: str, value: Any) -> Any:
        """`value`, which may be a string as in JSON, in the parameter's type.

        Raises:
            SettingError: it has another type.
        """
        try:
            if self.kind is bool:
                return _truth(value)
            return self.kind(value)
        except (TypeError, ValueError) as error:
            raise SettingError(
                f"{rule}'s parameter {name} is {value!r}; it must be {_article(self.kind)}."
            ) from error


class Rule(ABC):
    """Judges one kind of fault.

    A rule is made once for a training, with the parameters that a person set, all of which may
    be strings. Again and again while the training runs, and once at its end, `evaluate` gets the
    history so far and returns every finding that holds or has held, keyed by (rule, where) and
    with its first and last step; one that no longer holds is `resolved`. It is a function of
    that history alone, so that it says the same live, on a recording and after a resume.
    Whoever calls it compares with what was said before and writes what is new.

    A parameter that a person sets makes the rule apply the documented condition with that value
    (`given`); parameters left alone leave the rule its own condition, which is built to be
    silent on healthy trainings. The class's docstring is its page in `docs/rules.md`: the
    first paragraph says what is wrong when it speaks, the rest its condition and the source.

    Missing rows, NaN, a single step or none are ordinary: a rule that cannot judge yet returns
    nothing, and one that never can says why in `not_applicable`.
    """

    name: ClassVar[str]
    """In CamelCase, as SageMaker names it where it has it: `VanishingGradient`."""
    sagemaker: ClassVar[bool] = False
    """Whether SageMaker Debugger has a rule of this name."""
    parameters: ClassVar[Mapping[str, Parameter]] = {}

    def __init__(self, **parameters: Any) -> None:
        unknown = sorted(set(parameters) - set(self.parameters))
        if unknown:
            known = ", ".join(self.parameters) or "none"
            raise SettingError(f"{self.name} has no parameter {unknown[0]!r}; it has {known}.")
        self.given = {
            name: self.parameters[name].parse(self.name, name, value)
            for name, value in parameters.items()
        }
        """What a person set."""

    def value(self, name: str) -> Any:
        """A parameter as a person set it, else its documented default."""
        return self.given.get(name, self.parameters[name].documented)

    def not_applicable(self, history: History) -> str:
        """Why this training gives the rule nothing to judge, as a sentence; empty when it does."""
        del history
        return ""

    @abstractmethod
    def evaluate(self, history: History) -> Iterable[Finding]:
        """Every finding that holds or has held in `history`."""


def _truth(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE | FALSE:
        raise ValueError(text)
    return text in TRUE


def _article(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")
