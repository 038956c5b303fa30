"""Tuning jobs under way: one thread that moves each of them on when something has changed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from houndsight.jobs.states import Kind, NotFoundError, StateError
from houndsight.jobs.store import Record
from houndsight.jobs.tuning.earlier import check_parents, stored_plan
from houndsight.jobs.tuning.plan import plan_of
from houndsight.jobs.tuning.states import Progress, TuningState

if TYPE_CHECKING:
    from houndsight.jobs.service import JobService
    from houndsight.jobs.tuning.driver import Driver

__all__ = ["TuningService"]

_LOG = logging.getLogger(__name__)
ACTIVE = ("InProgress", "Stopping")
WATCHING_INTERVAL_S = 1.0
"""How often running trials are looked at that may be stopped early, or by a deadline."""
RESTING_INTERVAL_S = 10.0
"""How often a tuning job is looked at of which nothing was heard."""
TROUBLES_BEFORE_FAILING = 5


class TuningService:
    """Creates, stops and moves on tuning jobs.

    Everything it knows it reads from the store, so that after a crash of the control plane
    `start` alone takes every tuning job up where it was.
    """

    def __init__(self, jobs: JobService) -> None:
        self._jobs, self._store = jobs, jobs.store
        self._drivers: dict[str, Driver] = {}
        self._due: dict[str, float] = {}
        self._troubles: dict[str, int] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take up the tuning jobs that had not ended."""
        self._jobs.add_listener(self._heard)
        token: str | None = None
        while True:
            page = self._store.list(Kind.TUNING_JOB, status=ACTIVE, token=token)
            for record in page.records:
                self._kick(record.name)
            token = page.next_token
            if token is None:
                break
        self._thread = threading.Thread(target=self._run, name="tuning", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop moving them on; `start` of another control plane goes on with them."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def create(
        self, name: str, arn: str, request: Mapping[str, Any], *, region: str = "us-east-1"
    ) -> Record:
        """Check and keep a tuning job; its trials start at once.

        Raises:
            BadRequestError: the request asks for what cannot be.
            ExistsError: there is one of that name.
        """
        created = time.time()
        check_parents(self._store, plan_of(name, arn, request, created=created, region=region))
        record = self._store.add(
            Record(
                kind=Kind.TUNING_JOB,
                name=name,
                arn=arn,
                status="InProgress",
                created=created,
                request=dict(request),
                detail=Progress().to_json(),
            )
        )
        self._kick(name)
        return record

    def stop(self, name: str) -> Record:
        """Ask a tuning job and its training jobs to stop.

        Raises:
            NotFoundError: there is none.
            StateError: it has ended, or is stopping already.
        """
        record = self._store.get(Kind.TUNING_JOB, name)
        progress = Progress.from_json(record.detail)
        stopping = Progress(**{**vars(progress), "state": TuningState.STOPPING})
        record = self._store.update(
            Kind.TUNING_JOB,
            name,
            status="Stopping",
            detail={**stopping.to_json(), "reason": "it was asked to stop"},
            expected="InProgress",
        )
        self._kick(name)
        return record

    # -- the thread -------------------------------------------------------------------------

    def _heard(self, record: Record) -> None:
        if record.kind == Kind.TRAINING_JOB and record.parent:
            self._kick(record.parent)

    def _kick(self, name: str) -> None:
        with self._wake:
            self._due[name] = 0.0
            self._wake.notify_all()

    def _run(self) -> None:
        while True:
            name = self._next()
            if name is None:
                return
            self._move_on(name)

    def _next(self) -> str | None:
        """The next tuning job whose time has come; None when closing."""
        with self._wake:
            while not self._closing:
                now = time.monotonic()
                name = min(self._due, key=self._due.__getitem__, default=None)
                if name is not None and self._due[name] <= now:
                    del self._due[name]
                    return name
                self._wake.wait(None if name is None else self._due[name] - now)
            return None

    def _move_on(self, name: str) -> None:
        try:
            driver = self._driver(name)
            ended = driver.step()
        except NotFoundError:
            self._forget(name)
            return
        except Exception as error:
            self._trouble(name, error)
            return
        self._troubles.pop(name, None)
        if ended:
            self._forget(name)
            return
        watching = driver.plan.watches_trials or driver.plan.max_runtime_s is not None
        self._later(name, WATCHING_INTERVAL_S if watching else RESTING_INTERVAL_S)

    def _driver(self, name: str) -> Driver:
        from houndsight.jobs.tuning.driver import Driver  # Optuna comes with the first tuning job

        if name not in self._drivers:
            record = self._store.get(Kind.TUNING_JOB, name)
            self._drivers[name] = Driver(self._jobs, stored_plan(record))
        return self._drivers[name]

    def _forget(self, name: str) -> None:
        self._drivers.pop(name, None)
        self._troubles.pop(name, None)

    def _later(self, name: str, seconds: float) -> None:
        with self._wake:
            self._due.setdefault(name, time.monotonic() + seconds)

    def _trouble(self, name: str, error: Exception) -> None:
        """Try again; a tuning job that cannot be moved on fails with the reason."""
        self._drivers.pop(name, None)
        count = self._troubles[name] = self._troubles.get(name, 0) + 1
        _LOG.warning("Tuning job %s could not be moved on: %s", name, error, exc_info=error)
        if count < TROUBLES_BEFORE_FAILING:
            self._later(name, WATCHING_INTERVAL_S)
            return
        self._troubles.pop(name, None)
        try:
            self._fail(name, error)
        except (NotFoundError, StateError):
            return

    def _fail(self, name: str, error: Exception) -> None:
        progress = Progress.from_json(self._store.get(Kind.TUNING_JOB, name).detail)
        reason = f"InternalServerError: the tuning job could not be moved on: {error}"[:1_024]
        failed = {"state": TuningState.FAILED, "failure_reason": reason, "ended": time.time()}
        detail = Progress(**{**vars(progress), **failed}).to_json()
        self._store.update(Kind.TUNING_JOB, name, status="Failed", detail=detail)
