"""What a job's supervisor does for debugger and profiler.

Its life: `environment` once the hosts' folders are there, `start` before the script starts,
`poll` and `upload` again and again, `finish` after the script's end. A supervisor that takes a
job over begins with `start` and goes on from what lies in the job's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.errors import HoundsightError
from houndsight.files import read_json_lines, write_atomic
from houndsight.jobs.debugging.actions import Carrier
from houndsight.jobs.debugging.asked import read_debug_rules, read_profiler_rules
from houndsight.jobs.debugging.hook_config import write_configs
from houndsight.jobs.debugging.output import write_rule_output
from houndsight.jobs.debugging.places import Places, model_folders, s3_prefix
from houndsight.jobs.debugging.sampler import DEFAULT_INTERVAL_MS, SystemSampler
from houndsight.jobs.debugging.uploads import Mirror
from houndsight.jobs.debugging.verdicts import Outcome, Verdicts
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import RuleStatus
from houndsight.runs import Run, RunStatus

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["Attendant", "Statuses"]

COMPAT = Path(__file__).parents[2] / "compat" / "path"
WATCH = "houndsight.compat.attach:begin"
UPLOAD_SECONDS = 10.0
AWAIT_SECONDS = 60.0
"""How long the last look of the rules, and the report, may take."""
LEAVE_SECONDS = 5.0
Statuses = tuple[dict[str, RuleStatus], dict[str, RuleStatus]]


class Attendant:
    """Debugger and profiler of one job, seen from its supervisor.

    Args:
        spec: the job.
        folder: its folder.
        objects: where tensors and rule output go.
    """

    def __init__(self, spec: TrainingSpec, folder: JobFolder, objects: ObjectStore) -> None:
        self.spec, self.folder, self.objects = spec, folder, objects
        self.places = Places(folder)
        self.rules = read_debug_rules(spec.debug_rules)
        self.profiler_rules = read_profiler_rules(spec.profiler_rules)
        self.verdicts = Verdicts(self.places, self.rules, self.profiler_rules)
        self._carrier = Carrier(self.rules, folder, job=spec.name)
        self._judge: subprocess.Popen[bytes] | None = None
        self._sampler: SystemSampler | None = None
        self._profiler: Mapping[str, Any] | None = spec.profiler
        self._updated = 0.0
        self._uploaded = 0.0
        self._mirrors = list(self._mirrors_for())

    @property
    def hooked(self) -> bool:
        """Whether the script is to be watched."""
        return self.spec.debug_hook is not None

    # -- before the script ------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """What every host's environment gets; writes the hook's configuration files too.

        `PYTHONPATH` is one entry to be joined with others.
        """
        write_configs(self.spec, self.folder, self.places.hook_config)
        found = {"PYTHONPATH": str(COMPAT), "HOUNDSIGHT_JOB_HOOK": str(self.places.hook_config)}
        if self.hooked:
            found |= {"HOUNDSIGHT_JOB_RUN": str(self.places.run), "HOUNDSIGHT_JOB_WATCH": WATCH}
        return found

    def start(self) -> None:
        """Begin to sample the machine and to judge."""
        self.places.root.mkdir(parents=True, exist_ok=True)
        self.places.ended.unlink(missing_ok=True)
        self.places.judged.unlink(missing_ok=True)
        self._make_run()
        self._sample()
        if self.hooked or self.rules or self.profiler_rules:
            self._judge = self._start_judge()

    def _make_run(self) -> None:
        run = self.places.run
        if not (run / "run.json").exists():
            config = {"job": {"name": self.spec.name, "image": self.spec.image}}
            Run.create(run, kind="job", config=config)
        (run / "logs").mkdir(exist_ok=True)

    def _sample(self) -> None:
        """Sample as the profiler's configuration says now."""
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
        profiler = self._profiler
        if profiler is None or profiler.get("DisableProfiler"):
            return
        interval = profiler.get("ProfilingIntervalInMilliseconds") or DEFAULT_INTERVAL_MS
        self._sampler = SystemSampler(
            self.places.samples,
            interval_ms=int(interval),
            node=self.spec.hosts[0],
            until=self.places.ended,
        )
        self._sampler.start()

    def _start_judge(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "houndsight.jobs.debugging.judging"]
        command += [str(self.folder.path), "--parent", str(os.getpid())]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with self.places.judge_log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | threads,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.places.judge_pid.write_text(str(process.pid))
        return process

    # -- while it runs ----------------------------------------------------------------------

    def poll(self) -> Statuses:
        """How the rules stand; carries out what they ask for."""
        self._follow_update()
        rules = self.verdicts.debugger()
        self._carrier.carry_out(rules)
        return rules, self.verdicts.profiler()

    def _follow_update(self) -> None:
        """UpdateTrainingJob has changed the profiler."""
        try:
            changed = self.places.profiler_update.stat().st_mtime
            if changed == self._updated:
                return
            record = json.loads(self.places.profiler_update.read_bytes())
        except (OSError, ValueError):
            return
        self._updated = changed
        if isinstance(record, dict):
            self._profiler = {**(self._profiler or {}), **record}
            self._sample()

    def upload(self) -> None:
        """Put what is new where the client looks for it; not more often than every 10 s."""
        if time.monotonic() - self._uploaded >= UPLOAD_SECONDS:
            self._upload(settled_only=True)

    def _upload(self, *, settled_only: bool) -> list[str]:
        self._uploaded = time.monotonic()
        failed = []
        for mirror in self._mirrors:
            try:
                mirror.sync(settled_only=settled_only)
            except (HoundsightError, OSError) as error:
                failed.append(f"{mirror.s3_uri}: {error}")
        return failed

    def _mirrors_for(self) -> list[Mirror]:
        found = []
        hook, profiler = self.spec.debug_hook or {}, self.spec.profiler or {}
        if hook.get("S3OutputPath"):
            prefix = s3_prefix(str(hook["S3OutputPath"]), self.spec, "debug-output")
            for folder, where in (
                (self.places.run / "tensors", prefix),
                (self.places.run / "watched", f"{prefix}/watched"),
                (self.places.run / "hosts", f"{prefix}/hosts"),
                (self.places.root / "marker", prefix),
            ):
                found.append(Mirror(self.objects, folder, where))
        if profiler.get("S3OutputPath"):
            prefix = s3_prefix(str(profiler["S3OutputPath"]), self.spec, "profiler-output")
            found.append(Mirror(self.objects, self.places.samples, prefix))
        for asked in (*self.rules, *self.profiler_rules):
            base = asked.s3_uri or self.spec.output_s3_uri
            if base:
                prefix = s3_prefix(base, self.spec, f"rule-output/{asked.configuration}")
                place = self.places.rule_output / asked.configuration
                found.append(Mirror(self.objects, place, prefix))
        return found

    # -- after it ---------------------------------------------------------------------------

    def finish(self, *, succeeded: bool = True, stopped: bool = False) -> Statuses:
        """Let the rules look once more, write what they say, upload all; the last statuses."""
        if self._sampler is not None:
            self._sampler.close()
        watched = bool(model_folders(self.places.run))
        self._end_run(succeeded=succeeded, stopped=stopped)
        self.places.root.mkdir(parents=True, exist_ok=True)
        write_atomic(self.places.ended, b"{}\n")
        started = (self.places.run / "run.json").exists()
        if started and (watched or self.rules or self.profiler_rules):
            self._await_judge()
        elif self._judge is not None:
            self._judge.kill()
            self._judge.wait()
        outcome = Outcome(stopped=stopped, watched=watched, why_not=self._why_not(started=started))
        rules, profiler = self.verdicts.debugger(outcome), self.verdicts.profiler(outcome)
        write_rule_output(self.places, self.rules, rules, self.verdicts)
        self._mark_end()
        self._upload(settled_only=False)
        return rules, profiler

    def _end_run(self, *, succeeded: bool, stopped: bool) -> None:
        """The script's own hook says so too, unless the script was killed."""
        for folder in {self.places.run, *model_folders(self.places.run)}:
            with contextlib.suppress(HoundsightError, OSError):
                run = Run.open(folder)
                if stopped:
                    run.set_status(RunStatus.STOPPED, "The training job was stopped.")
                elif not succeeded:
                    run.set_status(RunStatus.FAILED, "The training job's script failed.")
                else:
                    run.set_status(RunStatus.COMPLETED)

    def _await_judge(self) -> None:
        """Wait until the judge has looked once more; one that has died is replaced once."""
        end, replaced = time.monotonic() + AWAIT_SECONDS, False
        while not self.places.judged.exists() and time.monotonic() < end:
            if not self._judge_lives():
                if replaced:
                    break
                replaced, self._judge = True, self._start_judge()
            time.sleep(0.05)
        if self._judge is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._judge.wait(LEAVE_SECONDS)

    def _judge_lives(self) -> bool:
        """Whether there is a judge, which another instance of this class may have started."""
        if self._judge is not None:
            return self._judge.poll() is None
        try:
            process = int(self.places.judge_pid.read_text())
            os.kill(process, 0)
            # On Linux one that has ended and waits for its parent is there, without a command.
            command = Path(f"/proc/{process}/cmdline")
            return b"judging" in command.read_bytes() if Path("/proc/self").exists() else True
        except (OSError, ValueError):
            return False

    def _mark_end(self) -> None:
        """`training_job_end.ts`: whoever waits for tensors need wait no longer."""
        marker = self.places.root / "marker"
        marker.mkdir(exist_ok=True)
        (marker / "training_job_end.ts").write_text("")

    def _why_not(self, *, started: bool) -> str:
        """Why no model was watched, in the words of whoever tried."""
        if not started:
            return "the script was never started."
        if not self.hooked:
            return "the job has no debugger hook configured (debugger_hook_config=False)."
        told = {
            row.get("kind"): row for row in read_json_lines(self.places.run / "logs/watch.jsonl")
        }
        if "fault" in told:
            return f"the hook failed: {told['fault'].get('text')}."
        if "torch" not in told:
            return "no process of the job imported PyTorch."
        return "no module was called whose parameters an optimizer holds."
