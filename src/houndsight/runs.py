"""The run folder: what a training leaves behind, and how to read and write it safely.

A folder holds `run.json` (kind, parent, configuration, plan, environment, status), the tables
and logs named below, and the finished model and reports. One process writes it, under a lock
that its death releases; everything else reads. Every file is either replaced by rename or
appended line by line, so a reader, or a run that resumes, never meets half a record.
"""

from __future__ import annotations

import enum
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from houndsight.errors import RunError, RunLockedError
from houndsight.files import append_json_line, read_json_lines, write_atomic
from houndsight.findings import Finding, FindingLog, State, read_findings

__all__ = ["MetricsLog", "Run", "RunStatus"]

FORMAT_VERSION = 1
RECORD = ("kind", "created", "status", "config", "plan", "stages", "results", "environment")
"""What every `run.json` holds, from the first version on."""


class RunStatus(enum.StrEnum):
    """Where a run stands. `stopped` and `failed` runs can be resumed."""

    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    COMPLETED = "completed"


class Run:
    """A run folder. `Run.create` makes one, `Run.open` reads one; `lock` before writing."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self._record = record

    @classmethod
    def create(
        cls, folder: Path, *, kind: str, config: Mapping[str, Any], parent: str | None = None
    ) -> Run:
        """A new run in `folder`, which may exist but must not hold a run.

        Raises:
            RunError: the folder holds a run already, or cannot be written.
        """
        if (folder / "run.json").exists():
            raise RunError(f"{folder} holds a run already; resume it or name another folder.")
        record = {
            "v": FORMAT_VERSION,
            "kind": kind,
            "parent": parent,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": RunStatus.RUNNING,
            "config": dict(config),
            "plan": None,
            "stages": {},
            "seconds": 0.0,
            "unfinished": {},
            "results": {},
            "environment": _environment(),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run = cls(folder, record)
            run._save()
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error.strerror or error}.") from error
        return run

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """The run in `folder`.

        Raises:
            RunError: there is none, it is damaged, or a newer version wrote it.
        """
        folder = Path(folder)
        path = folder / "run.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{folder} is not a run folder: it has no run.json.") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        if not isinstance(record, dict) or not isinstance(record.get("v"), int):
            raise RunError(f"{path} is not a Houndsight run.")
        missing = [name for name in RECORD if name not in record]
        if record["v"] <= FORMAT_VERSION and (missing or record["status"] not in list(RunStatus)):
            what = f"it lacks {', '.join(missing)}" if missing else "its status is unknown"
            raise RunError(f"{path} is damaged: {what}; it cannot be read or resumed.")
        if record["v"] > FORMAT_VERSION:
            raise RunError(
                f"{path} has format {record['v']}, newer than this version reads "
                f"({FORMAT_VERSION}); upgrade houndsight."
            )
        return cls(folder, record)

    @contextmanager
    def lock(self) -> Iterator[Run]:
        """Hold the folder for writing; death of the process releases it.

        Raises:
            RunLockedError: another process holds it.
        """
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise RunLockedError(
                    f"{self.folder} is being written by process {owner}; wait or stop it."
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._record = Run.open(self.folder)._record
            yield self

    def begin_again(self, config: Mapping[str, Any]) -> None:
        """Forget a run that failed before it made anything, and give it other settings.

        Raises:
            RunLockedError: another process holds it.
        """
        with self.lock():
            for path in (self.photos, self.folder / "findings.jsonl"):
                path.unlink(missing_ok=True)
            self._record |= {"config": dict(config), "plan": None, "stages": {}, "results": {}}
            self._record |= {"seconds": 0.0, "unfinished": {}}
            self._record["environment"] = _environment()
            self._save()

    # -- run.json ---------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """`run`, `trial` or `job`."""
        return str(self._record["kind"])

    @property
    def created(self) -> str:
        """When it was made, ISO 8601 in UTC."""
        return str(self._record["created"])

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings it was started with, by section."""
        return dict(self._record["config"])

    @property
    def plan(self) -> Mapping[str, Any] | None:
        """What was fixed after the throughput measurement; a resumed run follows it."""
        plan = self._record["plan"]
        return None if plan is None else dict(plan)

    @property
    def environment(self) -> Mapping[str, Any]:
        """Machine, versions and command line."""
        return dict(self._record["environment"])

    @property
    def status(self) -> RunStatus:
        """Where it stands."""
        return RunStatus(self._record["status"])

    @property
    def reason(self) -> str:
        """Why it did not end well, as a sentence; empty when it did, or has not ended."""
        return str(self._record.get("reason") or "")

    @property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """The finished stages: `{name: {"seconds": …, "text": …, …}}`, in order."""
        return dict(self._record["stages"])

    @property
    def results(self) -> Mapping[str, Any]:
        """What came out: metrics by split, chosen parameters, and how they were obtained."""
        return dict(self._record["results"])

    @property
    def seconds(self) -> float:
        """Wall time spent on it so far by all processes that worked on it, as last noted."""
        stages = sum(float(stage.get("seconds", 0.0)) for stage in self.stages.values())
        return max(float(self._record.get("seconds", 0.0)), stages + sum(self.unfinished.values()))

    @property
    def unfinished(self) -> Mapping[str, float]:
        """Seconds already spent in stages that were begun and have not ended: `{name: seconds}`."""
        return dict(self._record.get("unfinished", {}))

    def note_time(self, seconds: float, *, unfinished: Mapping[str, float]) -> None:
        """Note the time spent in all, and in stages under way, so that a kill does not lose it."""
        stages = {name: round(spent, 3) for name, spent in unfinished.items()}
        self._record |= {"seconds": round(seconds, 3), "unfinished": {**self.unfinished, **stages}}
        self._save()

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        """Fix the plan."""
        self._record["plan"] = dict(plan)
        self._save()

    def set_status(self, status: RunStatus, reason: str = "") -> None:
        """Say where it stands, with a sentence when it did not end well."""
        self._record |= {"status": status, "reason": reason}
        self._save()

    def finish_stage(self, stage: str, *, seconds: float, **results: Any) -> None:
        """Record a stage as done; `seconds` are those of all its starts together."""
        self._record["stages"][stage] = {"seconds": round(seconds, 3), **results}
        self._record.get("unfinished", {}).pop(stage, None)
        self._save()

    def set_results(self, **results: Any) -> None:
        """Add to what came out."""
        self._record["results"] |= results
        self._save()

    def _save(self) -> None:
        text = json.dumps(self._record, indent=2, allow_nan=False, default=str)
        write_atomic(self.folder / "run.json", text.encode() + b"\n")

    # -- the files beside it ----------------------------------------------------------------

    @property
    def photos(self) -> Path:
        """The photos used: id, path, hash, label, split (Parquet)."""
        return self.folder / "photos.parquet"

    @property
    def predictions(self) -> Path:
        """Probabilities of the evaluated photos (Parquet)."""
        return self.folder / "predictions.parquet"

    @property
    def trials(self) -> Path:
        """The trials of the search, a JSON object a line."""
        return self.folder / "trials.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of the training."""
        return self._directory("checkpoints")

    @property
    def images(self) -> Path:
        """Thumbnails and Grad-CAM pictures."""
        return self._directory("images")

    @property
    def model(self) -> Path:
        """The finished model artifact."""
        return self.folder / "model"

    @property
    def metrics(self) -> MetricsLog:
        """The learning curves."""
        return MetricsLog(self.folder / "metrics.jsonl")

    def add_findings(self, findings: list[Finding]) -> None:
        """Append to `findings.jsonl`."""
        FindingLog(self.folder / "findings.jsonl").write(findings)

    def findings(self) -> list[Finding]:
        """All findings so far, folded by key, gravest first, with those of what was watched.

        Of those, `where` begins with the part's name: `fine-tuning: layer4.0.conv1`.
        """
        found = read_findings(self.folder / "findings.jsonl")
        for name, part in self.watched.items():
            found += [_within(name, finding) for finding in part.findings()]
        return sorted(found, key=lambda f: (f.state == State.RESOLVED, f.severity.rank))

    @property
    def watched(self) -> dict[str, Run]:
        """The parts of the run that were watched, each a run folder of its own, by name."""
        return {
            path.parent.name: Run.open(path.parent)
            for path in sorted(self.folder.glob("watched/*/run.json"))
        }

    def watched_folder(self, name: str) -> Path:
        """Where a watched part of the run is recorded."""
        return self.folder / "watched" / name

    def _directory(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path


class MetricsLog:
    """`metrics.jsonl`: one line a measurement, `{"step", "epoch", "split", "time", values…}`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, *, split: str, step: int, epoch: int, **values: float) -> None:
        """Append one measurement; a value that is not finite is kept as a string."""
        row: dict[str, Any] = {"split": split, "step": step, "epoch": epoch, "time": time.time()}
        row |= {k: v if abs(v) < float("inf") else str(v) for k, v in values.items()}
        append_json_line(self.path, row)

    def read(self, split: str | None = None) -> list[dict[str, Any]]:
        """The measurements, of one split or all, in order; values are numbers again."""
        rows = []
        for row in read_json_lines(self.path):
            for key, value in row.items():
                if value in ("nan", "inf", "-inf"):
                    row[key] = float(value)
            rows.append(row)
        return [row for row in rows if split is None or row.get("split") == split]


def _within(part: str, finding: Finding) -> Finding:
    return replace(finding, where=f"{part}: {finding.where}" if finding.where else part)


def _environment() -> dict[str, Any]:
    names = ("houndsight", "torch", "torchvision", "timm", "openvino", "pillow", "numpy")
    return {
        "command": list(sys.argv),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu_count": os.cpu_count(),
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
