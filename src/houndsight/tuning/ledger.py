"""The books of a search: proposals, records, and who may know what when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from houndsight.errors import HoundsightError, SettingError
from houndsight.tuning.history import Direction, History, TrialLog, TrialRecord, TrialState
from houndsight.tuning.parameters import Space, Value, check_parameters
from houndsight.tuning.strategies.base import Strategy

__all__ = ["Ledger", "TuningError", "best_of"]

TieBreaker = tuple[str, Direction]


class TuningError(HoundsightError):
    """The search found nothing: every trial failed, or none was left to try."""


@dataclass
class Ledger:
    """Proposals and records by trial number.

    What a trial's proposal may depend on is fixed by numbers and never by timing: trial m knows
    the results of the trials below `visible` and only the parameters of those from there to m.
    """

    space: Space
    strategy: Strategy
    objective: str
    direction: Direction
    seed: int
    given: Sequence[Mapping[str, Value]] = ()
    earlier: tuple[TrialRecord, ...] = ()
    log: TrialLog | None = None
    records: dict[int, TrialRecord] = field(default_factory=dict)
    proposals: dict[int, dict[str, Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.given = [check_parameters(self.space, parameters) for parameters in self.given]
        self.earlier = tuple(self._fitting(self.earlier))
        if self.log is not None:
            self.records = self._resumed(self.log)

    def _fitting(self, earlier: Iterable[TrialRecord]) -> Iterable[TrialRecord]:
        """Earlier trials with a value whose parameters lie in this space."""
        for record in earlier:
            try:
                parameters = check_parameters(self.space, record.parameters)
            except SettingError:
                continue
            if record.value is not None:
                yield replace(record, parameters=parameters)

    def _resumed(self, log: TrialLog) -> dict[int, TrialRecord]:
        """The finished trials of a search that was cut off."""
        records = {number: self._own(log, r) for number, r in log.read().items()}
        if all(record.state == TrialState.FAILED for record in records.values()):
            return {}  # whoever resumes after that has mended something
        return records

    def _own(self, log: TrialLog, record: TrialRecord) -> TrialRecord:
        try:
            parameters = check_parameters(self.space, record.parameters)
        except SettingError as error:
            raise TuningError(
                f"{log.path} holds trials of another search space ({error}) "
                "Name another file or remove it."
            ) from error
        if record.value is not None and self.objective not in record.metrics:
            raise TuningError(
                f"{log.path} holds trials without {self.objective}, the objective of this "
                "search. Name another file or remove it."
            )
        value = None if record.value is None else record.metrics[self.objective]
        return replace(record, parameters=parameters, value=value)

    def history(self, number: int, visible: int) -> History:
        """What trial `number` may know when the trials below `visible` have ended."""
        known = [n for n in range(number) if n < visible and n in self.records]
        open_numbers = sorted(set(range(number)) - set(known))
        return History(
            space=self.space,
            direction=self.direction,
            seed=self.seed,
            number=number,
            finished=tuple(self.records[n] for n in known),
            pending=tuple(p for n in open_numbers if (p := self._parameters(n)) is not None),
            earlier=self.earlier,
            given=len(self.given),
        )

    def propose(self, history: History) -> dict[str, Value] | None:
        """The parameters of trial `history.number`, or None when nothing is left to try."""
        number = history.number
        if number < len(self.given):
            self.proposals[number] = dict(self.given[number])
            return dict(self.given[number])
        suggested: Any = self.strategy.suggest(history)
        if suggested is None:
            return None
        self.proposals[number] = check_parameters(self.space, suggested)
        return dict(self.proposals[number])

    def add(self, record: TrialRecord) -> None:
        """Keep the record of a trial that has ended, on disk first."""
        if self.log is not None:
            self.log.write(record)
        self.records[record.number] = record

    def below(self, number: int) -> list[TrialRecord]:
        """The records of the trials below `number`, in order."""
        return [self.records[n] for n in sorted(self.records) if n < number]

    def _parameters(self, number: int) -> Mapping[str, Value] | None:
        if number in self.records:
            return self.records[number].parameters
        return self.proposals.get(number)


def best_of(
    records: Iterable[TrialRecord],
    direction: Direction,
    *,
    tie_breakers: Sequence[TieBreaker] = (),
    tolerance: float = 0.0,
) -> TrialRecord | None:
    """The best completed trial, or the best stopped one when none completed.

    Among those within `tolerance` of the best, the `tie_breakers` (metric, direction) decide in
    their order, then the lower number.
    """
    usable = [record for record in records if record.value is not None]
    usable = [r for r in usable if r.state == TrialState.COMPLETED] or usable
    if not usable:
        return None
    best = min(direction.sign * _value(record) for record in usable)
    near = [r for r in usable if direction.sign * _value(r) <= best + tolerance]

    def rank(record: TrialRecord) -> tuple[float, ...]:
        ties = (way.sign * record.metrics.get(name, float("inf")) for name, way in tie_breakers)
        return (*ties, direction.sign * _value(record), record.number)

    if not tie_breakers:
        return min(near, key=lambda r: (direction.sign * _value(r), r.number))
    return min(near, key=rank)


def _value(record: TrialRecord) -> float:
    assert record.value is not None
    return record.value
