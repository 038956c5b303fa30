"""The search itself: asks the strategy, has the trials evaluated, keeps what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from houndsight.errors import SettingError
from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted
from houndsight.tuning.history import Direction, TrialLog, TrialRecord
from houndsight.tuning.ledger import Ledger, TieBreaker, TuningError, best_of
from houndsight.tuning.parameters import Space, Value, check_space
from houndsight.tuning.stopping import EarlyStopping
from houndsight.tuning.strategies import Strategy, make_strategy
from houndsight.tuning.trial import (
    Evaluate,
    Trial,
    evaluate_here,
    evaluate_in_process,
    record_of,
)

__all__ = ["EvaluateBatch", "Tuner", "TuningResult"]

Outcome = Mapping[str, float] | Exception
EvaluateBatch = Callable[[Sequence[Mapping[str, Value]]], Sequence[Outcome]]
"""Trains with several parameter sets at once; returns metrics, or an exception, for each."""


@dataclass(frozen=True)
class TuningResult:
    """What a search found."""

    best: TrialRecord
    trials: list[TrialRecord]
    """All trials by number, failed and stopped ones included."""
    reason: str
    """Why it ended, in words."""
    seconds: float
    """Wall time of this call; trials kept from before a crash are not in it."""


class Tuner:
    """Searches `space` for the parameters with the best `objective`.

    Trial m knows the results of the trials up to m - `parallel` (with batches: of the whole
    batches before its own), whatever else has ended by then. So what is tried depends on space,
    strategy, seed and results alone, not on timing; a search that was killed and is run again
    with the same `log` keeps the finished trials and ends as it would have.

    Args:
        space: parameter by name.
        strategy: one of `STRATEGIES` by name, or a `Strategy`.
        objective: the metric to optimise, by its name in what `evaluate` returns.
        direction: `minimize` or `maximize`.
        trials: at most so many.
        log: a `trials.jsonl`; finished trials in it are kept and not repeated.
        parallel: trials at once in `run`.
        processes: run each trial in a process of its own; `evaluate` must be picklable.
        seed: where all randomness starts.
        given: parameters to try first.
        warm_start: trials of an earlier search to learn from; those outside `space` are left out.
        early_stopping: what to give up on.
        tie_breakers: (metric, direction) that decide between trials within `tolerance`.

    Raises:
        SettingError: one of them has a value it cannot have.
        TuningError: `log` holds another search.
    """

    def __init__(
        self,
        space: Space,
        strategy: Strategy | str = "bayesian",
        *,
        objective: str,
        direction: Direction | str,
        trials: int,
        log: Path | None = None,
        parallel: int = 1,
        processes: bool = False,
        seed: int = 0,
        given: Sequence[Mapping[str, Value]] = (),
        warm_start: Iterable[TrialRecord] = (),
        early_stopping: EarlyStopping | None = None,
        tie_breakers: Sequence[tuple[str, str]] = (),
        tolerance: float = 0.0,
    ) -> None:
        check_space(space)
        for name, value in (("trials", trials), ("parallel", parallel)):
            if value < 1:
                raise SettingError(f"The tuner's {name} is {value}; it must be at least 1.")
        self.trials, self.parallel, self.processes = trials, parallel, processes
        self.early_stopping = early_stopping or EarlyStopping()
        self._tie_breakers: list[TieBreaker] = [(n, _direction(d)) for n, d in tie_breakers]
        self._tolerance = tolerance
        self._ledger = Ledger(
            space=dict(space),
            strategy=make_strategy(strategy),
            objective=objective,
            direction=_direction(direction),
            seed=seed,
            given=given,
            earlier=tuple(warm_start),
            log=None if log is None else TrialLog(Path(log)),
        )
        self._end, self._reason = trials, "all trials done"
        self._evaluated = 0

    # -- whole searches ---------------------------------------------------------------------

    def run(
        self, evaluate: Evaluate, *, listener: Listener | None = None, stage: str = "tune"
    ) -> TuningResult:
        """Search with one trial at a time, or `parallel` of them.

        Raises:
            TuningError: every trial failed.
        """
        do = evaluate_in_process if self.processes else evaluate_here
        progress = _Progress(self, Emitter([listener] if listener else []), stage)
        with progress, _Pool(self.parallel) as pool:
            running: set[Future[TrialRecord]] = set()
            for trial in self._window(running):
                if trial is not None:
                    future = pool.submit(do, evaluate, trial, self._ledger.objective)
                    running.add(future)
                    if self.parallel > 1:
                        continue
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    running.discard(future)
                    self._add(future.result())
                    progress.show()
        return self._result(progress.seconds)

    def _window(self, running: set[Future[TrialRecord]]) -> Iterator[Trial | None]:
        """The trials in order, each as soon as it may start; None: wait for a running one."""
        number = 0
        while number < self._end or running:
            visible = max(0, number - self.parallel + 1)
            if number >= self._end or not self._ended_below(visible):
                yield None
                continue
            trial = self._open(number, visible)
            number += 1
            if trial is not None:
                yield trial

    def run_batches(
        self,
        evaluate_batch: EvaluateBatch,
        *,
        batch: int,
        listener: Listener | None = None,
        stage: str = "tune",
    ) -> TuningResult:
        """Search with `batch` trials proposed and evaluated together.

        When the call raises, its trials are tried again one by one, so that one bad set of
        parameters fails alone.

        Raises:
            TuningError: every trial failed.
        """
        if batch < 1:
            raise SettingError(f"The tuner's batch is {batch}; it must be at least 1.")
        progress = _Progress(self, Emitter([listener] if listener else []), stage)
        with progress:
            for first in range(0, self.trials, batch):
                numbers = range(first, min(first + batch, self.trials))
                opened = [self._open(number, first) for number in numbers if number < self._end]
                trials = [trial for trial in opened if trial is not None]
                for record in self._evaluate_together(evaluate_batch, trials):
                    self._add(record)
                progress.show()
        return self._result(progress.seconds)

    def _evaluate_together(
        self, evaluate_batch: EvaluateBatch, trials: list[Trial]
    ) -> list[TrialRecord]:
        if not trials:
            return []
        started, clock = datetime.now(UTC), time.perf_counter()
        outcomes = _outcomes(evaluate_batch, trials)
        seconds = (time.perf_counter() - clock) / len(trials)
        return [
            record_of(trial, outcome, self._ledger.objective, seconds=seconds, started=started)
            for trial, outcome in zip(trials, outcomes, strict=True)
        ]

    # -- ask and tell -----------------------------------------------------------------------

    def ask(self, count: int = 1) -> list[Trial]:
        """The next `count` trials, fewer at the end; for those who evaluate by themselves.

        They know what has been told so far, so unlike `run` this depends on the order of calls.
        """
        asked: list[Trial] = []
        number = 0
        while len(asked) < count and number < self._end:
            if number not in self._ledger.proposals:
                trial = self._open(number, number)
                asked += [] if trial is None else [trial]
            number += 1
        return asked

    def tell(self, trial: Trial, outcome: Outcome, *, seconds: float = 0.0) -> TrialRecord:
        """Record what came of a trial: its metrics, or the exception it failed with."""
        record = record_of(
            trial, outcome, self._ledger.objective, seconds=seconds, started=datetime.now(UTC)
        )
        self._add(record)
        return record

    def result(self) -> TuningResult:
        """What has been found so far.

        Raises:
            TuningError: no trial has a value.
        """
        return self._result(0.0)

    # -- shared -----------------------------------------------------------------------------

    def _open(self, number: int, visible: int) -> Trial | None:
        """Trial `number`, or None when it is done already or the search ends before it."""
        history = self._ledger.history(number, visible)
        reason = self.early_stopping.ends_search(history.finished, history.direction)
        if reason:
            self._end, self._reason = number, reason
            return None
        if number in self._ledger.records:
            self._ledger.proposals[number] = dict(self._ledger.records[number].parameters)
            return None
        parameters = self._ledger.propose(history)
        if parameters is None:
            self._end, self._reason = number, "nothing left to try"
            return None
        return Trial(number, parameters, history, self._ledger.strategy, self.early_stopping)

    def _ended_below(self, visible: int) -> bool:
        return all(number in self._ledger.records for number in range(visible))

    def _add(self, record: TrialRecord) -> None:
        self._ledger.add(record)
        self._evaluated += 1

    def best(self) -> TrialRecord | None:
        """The best trial so far, or None."""
        return best_of(
            self._ledger.below(self._end),
            self._ledger.direction,
            tie_breakers=self._tie_breakers,
            tolerance=self._tolerance,
        )

    def _result(self, seconds: float) -> TuningResult:
        best, trials = self.best(), self._ledger.below(self._end)
        if best is not None:
            return TuningResult(best, trials, self._reason, seconds)
        if not trials:
            raise TuningError("The search made no trial: there is nothing to try in its space.")
        raise TuningError(
            f"All {len(trials)} trials of the search failed. "
            f"The first, with {_shown(trials[0].parameters)}, said: {trials[0].error}."
        )


class _Progress:
    """Tells listeners how far the search is."""

    def __init__(self, tuner: Tuner, emit: Emitter, stage: str) -> None:
        self._tuner, self._emit, self._stage = tuner, emit, stage
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._clock = time.perf_counter()
        kept = len(self._tuner._ledger.below(self._tuner.trials))
        text = f"Trying {self._tuner.trials} sets of hyperparameters"
        text += f", {kept} of them kept from before" if kept else ""
        total = self._tuner.trials
        self._emit(StageStarted(stage=self._stage, text=text, total=total, unit="trials"))
        self.show()

    def show(self) -> None:
        done = len(self._tuner._ledger.below(self._tuner.trials))
        self._emit(
            StageProgress(stage=self._stage, done=done, total=self._tuner.trials, text=self._best())
        )

    def _best(self) -> str:
        best = self._tuner.best()
        if best is None:
            return ""
        return f"best {self._tuner._ledger.objective} {best.value:.4g} in trial {best.number}"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.seconds = time.perf_counter() - self._clock
        if kind is None:
            text = ", ".join(filter(None, (self._best(), self._tuner._reason)))
            self._emit(StageEnded(stage=self._stage, seconds=self.seconds, text=text))


class _Pool:
    """Threads for several trials at once; one trial at a time runs in the calling thread."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, "trial") if workers > 1 else None

    def __enter__(self) -> _Pool:
        return self

    def submit(
        self, do: Callable[..., TrialRecord], evaluate: Evaluate, trial: Trial, objective: str
    ) -> Future[TrialRecord]:
        if self._threads is not None:
            return self._threads.submit(do, evaluate, trial, objective)
        future: Future[TrialRecord] = Future()
        future.set_result(do(evaluate, trial, objective))
        return future

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)


def _outcomes(evaluate_batch: EvaluateBatch, trials: list[Trial]) -> Sequence[Outcome]:
    try:
        outcomes = list(evaluate_batch([trial.parameters for trial in trials]))
        if len(outcomes) != len(trials):
            raise ValueError(f"{len(outcomes)} results came for {len(trials)} trials")
        return outcomes
    except Exception as error:  # a trial may fail in any way and must hurt nothing else
        if len(trials) == 1:
            return [error]
        return [outcome for trial in trials for outcome in _outcomes(evaluate_batch, [trial])]


def _direction(direction: Direction | str) -> Direction:
    try:
        return Direction(str(direction).lower())
    except ValueError as error:
        raise SettingError(
            f"The tuner's direction is {direction!r}; it must be minimize or maximize."
        ) from error


def _shown(parameters: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())
