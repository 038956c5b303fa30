"""Where the debugger's files of a job lie, in its folder and in S3."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import TrainingSpec

__all__ = ["Places", "model_folders", "s3_prefix"]


@dataclass(frozen=True)
class Places:
    """Of one job."""

    folder: JobFolder

    @property
    def run(self) -> Path:
        """The run folder: the hook's log, findings, verdicts of the rules."""
        return self.folder.run

    @property
    def root(self) -> Path:
        """What belongs to the debugger alone."""
        return self.folder.path / "debugging"

    @property
    def hook_config(self) -> Path:
        """A copy of `debughookconfig.json` for jobs that have no `/opt/ml` of their own."""
        return self.root / "debughookconfig.json"

    @property
    def samples(self) -> Path:
        """What S3 has as `profiler-output`."""
        return self.root / "profiler-output"

    @property
    def rule_output(self) -> Path:
        """What S3 has as `rule-output`: a folder for each rule configuration."""
        return self.root / "rule-output"

    @property
    def profiler_verdicts(self) -> Path:
        """What the profiler's rules say, by rule configuration; replaced by rename."""
        return self.root / "profiler.json"

    @property
    def refused(self) -> Path:
        """Rule configurations that the judge cannot judge, with the reason."""
        return self.root / "refused.json"

    @property
    def ended(self) -> Path:
        """Written when the script has ended: the judge looks once more and leaves."""
        return self.root / "ended.json"

    @property
    def judged(self) -> Path:
        """Written by the judge when it has looked once more after the script's end."""
        return self.root / "judged.json"

    @property
    def judge_pid(self) -> Path:
        """The judge's process."""
        return self.root / "judge.pid"

    @property
    def judge_lock(self) -> Path:
        """Held (`flock`) by the judge: there are never two."""
        return self.root / "judge.lock"

    @property
    def profiler_update(self) -> Path:
        """Written by the control plane for UpdateTrainingJob: a new `ProfilerConfig`."""
        return self.root / "profiler-update.json"

    @property
    def judge_log(self) -> Path:
        """What the judge has to say."""
        return self.run / "logs" / "judge.log"


def model_folders(run: Path) -> list[Path]:
    """The run folders of the models that were watched: the run's own first."""
    others = [*sorted(run.glob("watched/*/")), *sorted(run.glob("hosts/*/"))]
    return [f for f in [run, *others] if (f / "tensors" / "rank-0" / "log.json").exists()]


def s3_prefix(base: str, spec: TrainingSpec, what: str) -> str:
    """The URI that the client computes: `{base}/{job}/{what}`."""
    return f"{base.rstrip('/')}/{spec.name}/{what}"
