"""Training jobs from creation to end: the queue, the engine, and the store that everybody reads.

One background thread starts what may start and copies what the jobs' folders say into the store.
A control plane that was killed finds all of it again: a job with a handle is taken up by its
engine, one without waits in the queue as before, one that was just being started is started
again, which its engine makes harmless.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from houndsight.config import resolve
from houndsight.errors import HoundsightError
from houndsight.jobs.engine import Allotment, Engine, LogPage
from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.metrics import read_metrics
from houndsight.jobs.machine import Machine
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.request import check_name
from houndsight.jobs.scheduler import Scheduler
from houndsight.jobs.settings import JobsSettings
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.states import Kind, NotFoundError, StateError
from houndsight.jobs.status import JobState, JobStatus
from houndsight.jobs.store import JobStore, Record

__all__ = ["JobService"]

LOOK_SECONDS = 0.05
"""How often the folders of running jobs are looked at; a look at an unchanged one is a `stat`."""
QUEUE_LOOK_SECONDS = 1.0
AGAIN_SECONDS = 1.0
SAY_AFTER_SECONDS = 10.0
"""A job that waits longer than this says for what."""
LIVE = ("InProgress", "Stopping")
KEPT_DETAIL = ("spec", "hosts", "allotment", "stopping")
"""What stands in a record's detail beside the fields of `JobStatus`."""
Listener = Callable[[Record], None]

log = logging.getLogger(__name__)


class JobService:
    """Creates, stops and follows training jobs; safe to use from several threads."""

    def __init__(
        self,
        home: PlatformHome,
        store: JobStore,
        objects: ObjectStore,
        engine: Engine,
        *,
        machine: Machine | None = None,
    ) -> None:
        self.home, self.store, self.objects, self.engine = home, store, objects, engine
        self._scheduler = Scheduler(machine or Machine.here(resolve(JobsSettings).value))
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closed = False
        self._listeners: list[Listener] = []
        self._live: dict[str, Record] = {}
        self._trouble: dict[str, str] = {}
        self._again: dict[str, tuple[Allotment, float]] = {}
        """Jobs whose start has to be tried again, and from when on (monotonic seconds)."""
        self._thread: threading.Thread | None = None

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up what an earlier control plane left, and begin to work."""
        failed = []
        with self._lock:
            for record in list(self._all_live()):
                try:
                    self._take_up(record)
                except Exception as error:
                    log.exception("Training job %s could not be taken up", record.name)
                    if record.handle is None:
                        failed.append(self._fail_to_start(record, error))
        self._tell(failed)
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following and let go of both databases; the jobs go on."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        self.engine.close()
        self.objects.close()
        self.store.close()

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called with the record after every change of a job's state."""
        self._listeners.append(listener)

    # -- what a person asks for ---------------------------------------------------------------

    def create_training_job(self, spec: TrainingSpec, request: Mapping[str, Any]) -> Record:
        """Put a new job into the queue.

        Raises:
            BadRequestError: the name could not stand in a path.
            ExistsError: there is a training job of that name.
        """
        check_name(spec.name)
        now = time.time()
        status = JobStatus().moved(JobState.PENDING, "Waiting for the machine", now)
        record = Record(
            kind=Kind.TRAINING_JOB,
            name=spec.name,
            arn=spec.arn,
            status=status.state.primary,
            created=now,
            request=request,
            detail={**status.to_json(), "spec": spec.to_json(), "hosts": list(spec.hosts)},
            parent=spec.tuning_job,
        )
        with self._lock:
            self._set_aside_foreign_folder(spec.name)
            record = self.store.add(record)
            self._live[spec.name] = record
            self._scheduler.add(spec.name, spec)
        self._tell([record])
        self._wake.set()
        return record

    def stop_training_job(self, name: str) -> Record:
        """Ask a job to stop; one that waits is stopped at once.

        Raises:
            NotFoundError: there is none of that name.
            StateError: it has ended, or is stopping already.
        """
        with self._lock:
            record = self._live.get(name) or self.store.get(Kind.TRAINING_JOB, name)
            if record.status != "InProgress":
                raise StateError(
                    f"The training job {name} is {record.status}: it cannot be stopped."
                )
            now, status = time.time(), _status(record)
            status = status.moved(JobState.STOPPING, "Stopping the training job", now)
            if name in self._scheduler.queued:
                status = status.moved(JobState.STOPPED, "Training job stopped", now, waiting_for="")
            record = self._write(record, status, stopping=True)
            if record.handle is not None:
                self.engine.stop(record.handle)
        self._tell([record])
        self._wake.set()
        return record

    def training_status(self, name: str) -> JobStatus:
        """Where a job stands.

        Raises:
            NotFoundError: there is none of that name.
        """
        return _status(self.store.get(Kind.TRAINING_JOB, name))

    def logs(self, name: str, host: str, offset: int = 0, limit: int = 1_000) -> LogPage:
        """Lines of a host's log from a byte offset on; none for a job that waits.

        Raises:
            NotFoundError: there is no such job, or it has no such host.
        """
        record = self.store.get(Kind.TRAINING_JOB, name)
        if record.handle is None:
            return LogPage([], offset)
        if host not in record.detail["hosts"]:
            raise NotFoundError(f"Training job {name} has no host {host!r}.")
        return self.engine.logs(record.handle, host, offset=offset, limit=limit)

    def hosts(self, name: str) -> tuple[str, ...]:
        """The names of a job's hosts."""
        return tuple(self.store.get(Kind.TRAINING_JOB, name).detail["hosts"])

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """Every value read from the log so far: `name`, `value`, `time`, `host`.

        Raises:
            NotFoundError: there is no such job.
        """
        self.store.get(Kind.TRAINING_JOB, name)
        return read_metrics(self.home.training_job(name).metrics)

    def reserve_memory(self, owner: str, memory_bytes: int) -> None:
        """Memory that an endpoint holds; 0 gives it back. It takes no slot."""
        with self._lock:
            self._scheduler.reserve(owner, memory_bytes)
        self._wake.set()

    # -- the background thread ----------------------------------------------------------------

    def _work(self) -> None:
        while not self._closed:
            self._wake.clear()
            try:
                self._tell(self._step())
            except Exception:
                log.exception("The jobs could not be looked after just now")
            with self._lock:
                running, queued = bool(self._scheduler.running), bool(self._scheduler.queued)
            wait_s = LOOK_SECONDS if running else QUEUE_LOOK_SECONDS if queued else None
            self._wake.wait(wait_s)

    def _step(self) -> list[Record]:
        """One look at every job; what goes wrong with one is that one's alone."""
        changed = [record for name in self._running() if (record := self._look_at(name))]
        with self._lock:
            starting = [*self._due_again(), *self._scheduler.startable()]
        for name, allotment in starting:
            record = self._start(name, allotment)
            changed += [record] if record else []
        try:
            return [*changed, *self._say_what_is_waited_for()]
        except Exception:
            log.exception("It could not be said what jobs wait for")
            return changed

    def _running(self) -> list[str]:
        with self._lock:
            return [name for name, r in self._live.items() if r.handle is not None]

    def _look_at(self, name: str) -> Record | None:
        try:
            return self._follow(name)
        except Exception as error:
            self._say_trouble(name, str(error) or repr(error), error)
            return None

    def _follow(self, name: str) -> Record | None:
        """Copy what the job's folder says; the record if the state changed."""
        with self._lock:
            record = self._live[name]
        assert record.handle is not None
        status = self.engine.status(record.handle)
        known = _status(record)
        if status.modified <= known.modified or not status.transitions:
            return None
        with self._lock:
            record = self._live[name]
            if record.detail.get("stopping") and not status.state.ended:
                status = _shown_as_stopping(status, _status(record))
            before = known.state
            record = self._write(record, status)
        return record if before != status.state else None

    def _say_trouble(self, name: str, text: str, error: Exception) -> None:
        """Once, not at every look."""
        if self._trouble.get(name) != text:
            self._trouble[name] = text
            foreseen = isinstance(error, HoundsightError | OSError)
            log.error("Training job %s: %s", name, text, exc_info=None if foreseen else error)

    def _start(self, name: str, allotment: Allotment) -> Record | None:
        """Start a job that may start; one that cannot be written down now is tried again."""
        try:
            return self._try_to_start(name, allotment)
        except Exception as error:
            # Whatever the store holds of it, it keeps its slot: it may run already.
            self._say_trouble(name, f"its start is tried again: {error}", error)
            with self._lock:
                if name in self._live:
                    self._again[name] = (allotment, time.monotonic() + AGAIN_SECONDS)
            return None

    def _due_again(self) -> list[tuple[str, Allotment]]:
        now = time.monotonic()
        due = [(name, row[0]) for name, row in self._again.items() if now >= row[1]]
        for name, _ in due:
            del self._again[name]
        return due

    def _try_to_start(self, name: str, allotment: Allotment) -> Record | None:
        """What is intended is stored first; an engine starts the same job twice without harm."""
        with self._lock:
            record = self._live.get(name)
            if record is None:
                return None
            record = self._write(
                record, replace(_status(record), waiting_for=""), allotment=asdict(allotment)
            )
        try:
            spec = TrainingSpec.from_json(record.detail["spec"])
            handle = self.engine.start(spec, self.home.training_job(name), allotment)
        except Exception as error:
            # Whatever it was, the slot must not stay taken by a job that does not run.
            log.exception("Training job %s could not be started", name)
            return self._fail_to_start(self._live[name], error)
        with self._lock:
            record = self._live[name]
            detail = {k: v for k, v in record.detail.items() if k != "spec"}
            record = self.store.update(Kind.TRAINING_JOB, name, handle=handle, detail=detail)
            self._live[name] = record
            if record.detail.get("stopping"):
                self.engine.stop(handle)
        return None

    def _fail_to_start(self, record: Record, error: Exception) -> Record:
        """The record of a job that failed before it began."""
        what = error if isinstance(error, HoundsightError) else repr(error)
        reason = f"InternalServerError: the job could not be started: {what}"
        with self._lock:
            failed = _status(record).moved(
                JobState.FAILED, "Training job failed", time.time(), failure_reason=reason
            )
            return self._write(record, failed)

    def _say_what_is_waited_for(self) -> list[Record]:
        changed = []
        with self._lock:
            for name in self._scheduler.queued:
                record = self._live[name]
                if time.time() - record.created < SAY_AFTER_SECONDS:
                    continue
                text, status = self._scheduler.waits_for(name), _status(record)
                if text == status.waiting_for:
                    continue
                log.info("Training job %s: %s", name, text)
                last = replace(status.transitions[-1], message=text)
                status = replace(
                    status,
                    waiting_for=text,
                    transitions=(*status.transitions[:-1], last),
                    modified=time.time(),
                )
                changed.append(self._write(record, status))
        return changed

    # -- keeping store, queue and memory together (under the lock) ----------------------------

    def _take_up(self, record: Record) -> None:
        self._live[record.name] = record
        allotment = record.detail.get("allotment")
        if record.handle is not None:
            self._scheduler.hold(record.name, _allotment(allotment))
            if record.detail.get("stopping"):
                self.engine.stop(record.handle)
            self.engine.attach(record.handle)
            return
        spec = TrainingSpec.from_json(record.detail["spec"])
        if allotment is not None:
            # It was just being started.
            self._scheduler.hold(record.name, _allotment(allotment))
            self._start(record.name, _allotment(allotment))
        else:
            self._scheduler.add(record.name, spec)

    def _write(self, record: Record, status: JobStatus, **more: Any) -> Record:
        extra = {k: v for k, v in record.detail.items() if k in KEPT_DETAIL}
        detail = {**extra, **status.to_json(), **more}
        primary = status.state.primary
        if detail.get("stopping") and not status.state.ended:
            primary = "Stopping"
        record = self.store.update(Kind.TRAINING_JOB, record.name, status=primary, detail=detail)
        if status.state.ended:
            self._live.pop(record.name, None)
            self._scheduler.release(record.name)
        else:
            self._live[record.name] = record
        return record

    def _all_live(self) -> Iterator[Record]:
        token: str | None = None
        while True:
            page = self.store.list(Kind.TRAINING_JOB, status=LIVE, limit=100, token=token)
            yield from page.records
            token = page.next_token
            if token is None:
                return

    def _set_aside_foreign_folder(self, name: str) -> None:
        """A folder without a record is of a store that was lost: nothing of it is taken over."""
        folder = self.home.training_job(name).path
        if not folder.exists():
            return
        try:
            self.store.get(Kind.TRAINING_JOB, name)
        except NotFoundError:
            aside = folder.with_name(f".{name}.{time.time_ns()}")
            folder.rename(aside)
            log.warning("%s was of no known job; it is %s now", folder, aside)

    def _tell(self, records: list[Record]) -> None:
        for record in records:
            for listener in list(self._listeners):
                try:
                    listener(record)
                except Exception:
                    log.exception("A listener failed on training job %s", record.name)


def _status(record: Record) -> JobStatus:
    return JobStatus.from_json(dict(record.detail))


def _allotment(row: Mapping[str, Any] | None) -> Allotment:
    row = row or {"cores": 1}
    return Allotment(**{**row, "gpus": tuple(row.get("gpus", ()))})


def _shown_as_stopping(status: JobStatus, known: JobStatus) -> JobStatus:
    """Until the supervisor has seen the request, the job is stopping nevertheless."""
    if status.state in (JobState.STOPPING, JobState.UPLOADING):
        return status
    return replace(status, state=JobState.STOPPING, transitions=known.transitions)
