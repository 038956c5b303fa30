"""One tuning job under way: reads its training jobs, decides, and does what was decided.

Every step begins from the store. The order of its writes makes any of them the last that a
killed control plane made: a trial exists once its training job does, under a name that the same
trial always gets; a state is written before what follows from it is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from houndsight.jobs.request import training_spec
from houndsight.jobs.states import ExistsError, Kind, NotFoundError, StateError
from houndsight.jobs.store import Record
from houndsight.jobs.tuning.earlier import children, earlier_records, overall_best
from houndsight.jobs.tuning.plan import Definition, Plan
from houndsight.jobs.tuning.ranges import parameters_of
from houndsight.jobs.tuning.reasons import failure_reason
from houndsight.jobs.tuning.search import Search
from houndsight.jobs.tuning.standing import Standing, standing_of
from houndsight.jobs.tuning.states import Decision, Progress, TuningState, decide
from houndsight.jobs.tuning.trials import JobTrial, child_name, child_request, trial_of
from houndsight.tuning.history import TrialRecord
from houndsight.tuning.parameters import Value

if TYPE_CHECKING:
    from houndsight.jobs.service import JobService

__all__ = ["Driver"]

_LOG = logging.getLogger(__name__)
LOG_PAGE, LOG_PAGES = 1_000, 50
"""How much of a log is read for its last lines."""


class Driver:
    """Moves one tuning job on. Not for several threads at once."""

    def __init__(self, jobs: JobService, plan: Plan) -> None:
        self.plan = plan
        self._jobs, self._store = jobs, jobs.store
        self._trials: dict[str, JobTrial] | None = None
        self._reports: dict[str, tuple[tuple[int, float], ...]] = {}
        self._earlier: dict[str, list[TrialRecord]] = {}
        self._judged: dict[str, int] = {}

    def step(self) -> bool:
        """Look at the trials and do what follows; whether the tuning job has ended."""
        record = self._store.get(Kind.TUNING_JOB, self.plan.name)
        progress = Progress.from_json(record.detail)
        if progress.state.ended:
            return True
        trials = self._refresh()
        standing = standing_of(self.plan, trials)
        decision = decide(self.plan, progress, standing, time.time())
        decision = self._completed(decision, progress, standing)
        if not self._keep(record, progress, decision.progress):
            return False  # somebody asked it to stop meanwhile: look again
        if decision.progress.state.ended:
            return True
        self._stop([*decision.stop, *self._hopeless(decision, standing)])
        for trial in decision.retry:
            self._retry(trial)
        return self._launch(decision)

    # -- reading ----------------------------------------------------------------------------

    def _refresh(self) -> list[JobTrial]:
        """The trials as the store has them; those that have ended are not read again."""
        if self._trials is None:
            found = (trial_of(r, self.plan) for r in children(self._store, self.plan.name))
            self._trials = {trial.name: trial for trial in found if trial is not None}
        for name, trial in list(self._trials.items()):
            if not trial.ended:
                self._read(name)
        return list(self._trials.values())

    def _read(self, name: str) -> None:
        assert self._trials is not None
        try:
            trial = trial_of(self._store.get(Kind.TRAINING_JOB, name), self.plan)
        except NotFoundError:
            trial = None
        if trial is None:
            self._trials.pop(name)
        else:
            self._trials[name] = trial

    def _intermediate(self, trial: JobTrial) -> tuple[tuple[int, float], ...]:
        """(how manieth, objective) as the first host that reported it did."""
        if not self.plan.watches_trials:
            return ()
        if trial.name in self._reports:
            return self._reports[trial.name]
        metric = self.plan.definition(trial.definition).objective
        rows = [row for row in self._jobs.metrics(trial.name) if row.get("name") == metric]
        hosts = [row.get("host") for row in rows]
        values = [float(row["value"]) for row in rows if row.get("host") == hosts[0]]
        reports = tuple(enumerate(values, start=1))
        if trial.ended:
            self._reports[trial.name] = reports
        return reports

    def _search(self, definition: Definition, trials: Sequence[JobTrial]) -> Search:
        if definition.name not in self._earlier:
            found = earlier_records(self._store, self.plan, definition)
            self._earlier[definition.name] = found
        return Search(
            self.plan,
            definition,
            [trial for trial in trials if trial.definition == definition.name],
            earlier=self._earlier[definition.name],
            reports=self._intermediate,
        )

    # -- writing ----------------------------------------------------------------------------

    def _completed(self, decision: Decision, before: Progress, standing: Standing) -> Decision:
        """The decision with what takes more than the trials to know."""
        progress = decision.progress
        if progress.state == TuningState.FAILED and not progress.failure_reason:
            reason = failure_reason(self.plan, standing.latest, self._log_tail)
            progress = replace(progress, failure_reason=reason)
        if self.plan.identical and (progress.best != before.best or not before.overall_best):
            best = overall_best(self._store, self.plan, standing.best)
            progress = replace(progress, overall_best=best)
        return replace(decision, progress=progress)

    def _keep(self, record: Record, before: Progress, after: Progress) -> bool:
        if after == before:
            return True
        try:
            self._store.update(
                Kind.TUNING_JOB,
                self.plan.name,
                status=after.state.primary,
                detail=after.to_json(),
                expected=record.status,
            )
        except StateError:
            return False
        return True

    def _hopeless(self, decision: Decision, standing: Standing) -> list[str]:
        """Running trials that early stopping or the strategy gives up on."""
        if not self.plan.watches_trials or decision.progress.stop_trials:
            return []
        return [
            trial.name
            for trial in standing.running
            if self._has_news(trial)
            and self._search(self.plan.definition(trial.definition), standing.latest).should_stop(
                trial
            )
        ]

    def _has_news(self, trial: JobTrial) -> bool:
        """Whether it has reported since it was last judged: judging replays all trials."""
        count = len(self._intermediate(trial))
        if trial.stopping or count == self._judged.get(trial.name, 0):
            return False
        self._judged[trial.name] = count
        return True

    def _stop(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self._jobs.stop_training_job(name)
            except (StateError, NotFoundError):
                continue
            self._read(name)

    def _retry(self, trial: JobTrial) -> None:
        definition = self.plan.definition(trial.definition)
        parameters = parameters_of(definition.space, trial.hyperparameters)
        self._start(definition, parameters, number=trial.number, attempt=trial.attempt + 1)

    def _launch(self, decision: Decision) -> bool:
        """Start new trials, of the definition that has had fewest; whether that ended it all."""
        assert self._trials is not None
        exhausted: set[str] = set()
        for _ in range(decision.launch):
            trials = standing_of(self.plan, list(self._trials.values())).latest
            parameters, definition = None, self.plan.definitions[0]
            while parameters is None and len(exhausted) < len(self.plan.definitions):
                definition = self._next_definition(trials, exhausted)
                parameters = self._search(definition, trials).propose()
                if parameters is None:
                    exhausted.add(definition.name)
            if parameters is None:
                return self._exhausted(decision.progress)
            number = 1 + max((trial.number for trial in trials), default=-1)
            self._start(definition, parameters, number=number, attempt=0)
        return False

    def _next_definition(self, trials: Sequence[JobTrial], exhausted: set[str]) -> Definition:
        had = [trial.definition for trial in trials]
        open_ones = [d for d in self.plan.definitions if d.name not in exhausted]
        return min(open_ones, key=lambda definition: had.count(definition.name))

    def _exhausted(self, progress: Progress) -> bool:
        """Nothing is left to try: finish with the trials there are."""
        record = self._store.get(Kind.TUNING_JOB, self.plan.name)
        finishing = replace(progress, state=TuningState.FINISHING, reason="nothing is left to try")
        self._keep(record, progress, finishing)
        return self.step()

    def _start(
        self, definition: Definition, parameters: dict[str, Value], *, number: int, attempt: int
    ) -> None:
        """Make the training job of a trial; one that is there already is this very trial."""
        assert self._trials is not None
        plan, name = self.plan, child_name(self.plan, number, attempt)
        request = child_request(plan, definition, parameters, number=number, attempt=attempt)
        arn = ":".join([*plan.arn.split(":")[:5], f"training-job/{name}"])
        spec = training_spec(
            name,
            arn,
            request,
            region=plan.region,
            tuning_job=plan.name,
            parallel_jobs=min(plan.max_parallel, plan.max_jobs),
        )
        self._store.add_tags(arn, plan.tags)  # first: a training job that exists is not made again
        try:
            record = self._jobs.create_training_job(spec, request)
        except ExistsError:
            record = self._store.get(Kind.TRAINING_JOB, name)
        trial = trial_of(record, plan)
        assert trial is not None, f"{name} is a training job of something else"
        self._trials[name] = trial

    def _log_tail(self, name: str) -> list[str]:
        """The last lines of a training job's log, as far as can be read in reasonable time."""
        lines: list[str] = []
        offset = 0
        for _ in range(LOG_PAGES):
            try:
                page = self._jobs.logs(name, "algo-1", offset, LOG_PAGE)
            except (NotFoundError, StateError, OSError):
                break
            lines = [*lines, *(line.message for line in page.lines)][-LOG_PAGE:]
            if not page.lines or page.next_offset == offset:
                break
            offset = page.next_offset
        return lines
