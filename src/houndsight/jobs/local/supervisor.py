"""A job's supervisor: makes it ready, has its scripts started, follows its files, ends it.

    python -m houndsight.jobs.local.supervisor JOB_FOLDER
    python -m houndsight.jobs.local.supervisor --spare IDLE_SECONDS     folder from stdin

It runs in a session of its own and outlives the control plane, which replaces it if it dies. What
it decides stands in a file before it acts on it, so that another can take over at any moment: the
state in `status.json`, the commands in `launch.json`, an early end in `ending.json`. A script is
started only by a stub that has claimed its host, and no host is claimed twice.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path

from houndsight.errors import HoundsightError
from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.local.attendance import Attendance
from houndsight.jobs.local.ending import Why, read_ending
from houndsight.jobs.local.following import note_growth
from houndsight.jobs.local.grant import Grant
from houndsight.jobs.local.launching import launch_file, read_launch, write_launch
from houndsight.jobs.local.outcome import Outcome, outcome_of
from houndsight.jobs.local.preparation import stoppable
from houndsight.jobs.local.processes import write_identity
from houndsight.jobs.local.statusfile import StatusFile
from houndsight.jobs.local.training import Training
from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import JobState

__all__ = ["Supervisor", "main"]

LOCK_SECONDS = 5.0
BEFORE_TRAINING = (JobState.PENDING, JobState.STARTING, JobState.DOWNLOADING)
ENDED_MESSAGES = {
    JobState.COMPLETED: "Training job completed",
    JobState.FAILED: "Training job failed",
    JobState.STOPPED: "Training job stopped",
    JobState.MAX_RUNTIME_EXCEEDED: "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


class Supervisor:
    """One job, from its specification to its end; begins wherever the files say it stands."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.home = PlatformHome(folder.path.parent.parent)
        self.status = StatusFile(folder, say)
        self.spec = TrainingSpec.read(folder.spec)
        self.grant = Grant.read(folder.allotment)
        self.objects = ObjectStore(self.home.objects)
        self.attendance = Attendance(self.spec, self.folder, self.objects)

    def run(self) -> None:
        """Until the job has ended."""
        if self.status.state.ended:
            return
        self.status.make_room_for_the_end()
        try:
            if self.status.state != JobState.UPLOADING:
                self._train()
            if self.status.state == JobState.UPLOADING:
                self._upload()
        except HoundsightError as error:
            self._fail(str(error))
        except Exception as error:
            traceback.print_exc()
            self._fail(f"InternalServerError: the platform failed: {type(error).__name__}: {error}")

    def _train(self) -> None:
        if read_launch(self.folder) is None:
            if self.status.state == JobState.STOPPING:
                self._end(Outcome(JobState.STOPPED, "", None))
                return
            self._prepare()
        if self.folder.stop.exists() and not self._has_begun():
            self.status.move(JobState.STOPPING, "Stopping the training job")
            self._end(Outcome(JobState.STOPPED, "", None))
            return
        if self.status.state in BEFORE_TRAINING:
            self.status.move(
                JobState.TRAINING,
                "Training image download completed. Training in progress.",
                training_started=time.time(),
            )
        self.attendance.start()
        training = Training(
            self.home, self.folder, self.spec, self.grant, self.status, self.attendance, say
        )
        training.run()
        outcome = outcome_of(self.spec, self.folder, training.exits)
        self.status.move(
            JobState.UPLOADING,
            "Uploading generated training model",
            training_ended=time.time(),
            exit_code=outcome.exit_code,
            failure_reason=outcome.reason,
        )

    def _has_begun(self) -> bool:
        return any(self.folder.host(name).process.exists() for name in self.spec.hosts)

    def _prepare(self) -> None:
        from houndsight.jobs.container.prepare import prepare

        if self.status.state == JobState.PENDING:
            self.status.move(JobState.STARTING, "Preparing the instances for training")
        with stoppable(self.folder, self.status):
            say_once(self.folder, self.spec, self.grant.advice)
            commands = prepare(
                self.spec, self.folder, self.objects, self.grant.allotment, report=self._busy_with
            )
            extra = self.attendance.environment()
            write_launch(self.folder, [command.with_environment(extra) for command in commands])

    def _busy_with(self, what: str) -> None:
        say(what)
        if self.status.state == JobState.STARTING and what.startswith("Downloading"):
            self.status.move(JobState.DOWNLOADING, what)

    def _upload(self) -> None:
        from houndsight.jobs.container.finish import upload_results

        ending = read_ending(self.folder)
        succeeded = not self.status.now.failure_reason and ending is None
        rules = self.attendance.finish(succeeded=succeeded, stopped=ending is not None)
        if rules is not None:
            self.status.note(rules=dict(rules[0]), profiler_rules=dict(rules[1]))
        try:
            model, output = upload_results(
                self.spec, self.folder, self.objects, succeeded=succeeded
            )
        except (HoundsightError, OSError) as error:
            traceback.print_exc()
            model = output = ""
            reason = f"ClientError: what the script left could not be uploaded: {error}"
            self.status.note(failure_reason=self.status.now.failure_reason or reason)
        self.status.note(model_artifact=model, output_artifact=output)
        state = JobState.COMPLETED
        if self.status.now.failure_reason:
            state = JobState.FAILED
        elif ending is not None and ending.why == Why.MAX_RUNTIME:
            state = JobState.MAX_RUNTIME_EXCEEDED
        elif ending is not None:
            state = JobState.STOPPED
        self._end(Outcome(state, self.status.now.failure_reason, self.status.now.exit_code))
        self._clean_up()

    def _clean_up(self) -> None:
        """Nobody reads the channels' views any more, nor the environment with its secrets."""
        from houndsight.jobs.container.finish import clean_up

        try:
            clean_up(self.spec, self.folder)
            launch_file(self.folder).unlink(missing_ok=True)
        except OSError:
            traceback.print_exc()

    def _fail(self, reason: str) -> None:
        self._end(Outcome(JobState.FAILED, reason, self.status.now.exit_code))

    def _end(self, outcome: Outcome) -> None:
        for name in self.spec.hosts:
            note_growth(self.folder.host(name))
        self.status.move(
            outcome.state,
            ENDED_MESSAGES[outcome.state],
            failure_reason=outcome.reason,
            exit_code=outcome.exit_code,
            training_ended=self.status.now.training_ended or time.time(),
        )


def say(text: str) -> None:
    """A line of `supervisor.log`."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def say_once(folder: JobFolder, spec: TrainingSpec, text: str) -> None:
    """The first line of the first host's log."""
    log = folder.host(spec.hosts[0]).log
    log.parent.mkdir(parents=True, exist_ok=True)
    if text and not (log.exists() and log.stat().st_size):
        with log.open("ab") as file:
            file.write(f"{text}\n".encode())


def main(argv: list[str]) -> int:
    """Supervise the job in a folder, unless somebody does already."""
    path = _wait_for_work(float(argv[1])) if argv[0] == "--spare" else argv[0]
    if not path:
        return 0
    folder = JobFolder(Path(path))
    lock = os.open(folder.lock, os.O_CREAT | os.O_RDWR, 0o600)
    if not _take(lock):
        return 0
    write_identity(folder.supervisor)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Supervisor(folder).run()
    return 0


def _wait_for_work(idle_s: float) -> str:
    """Be ready, and learn from stdin for which folder; "" if nobody needs this process."""
    for name in ("prepare", "finish"):
        importlib.import_module(f"houndsight.jobs.container.{name}")
    if not select.select([sys.stdin], [], [], idle_s)[0]:
        return ""
    path = os.fsdecode(sys.stdin.buffer.readline().rstrip(b"\n"))
    if path:
        messages = os.open(JobFolder(Path(path)).messages, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, target in ((null, 0), (messages, 1), (messages, 2)):
            os.dup2(descriptor, target)
        os.chdir(path)
    return path


def _take(lock: int) -> bool:
    """Whether this is the only supervisor; one that was killed has let go at once."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
