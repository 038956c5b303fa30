"""Trainings on disk: each is run once, kept small, and read again as often as rules change."""

from __future__ import annotations

import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_suite.spec import Spec
from fault_suite.training import Outcome, train
from houndsight.debugger.history import History
from houndsight.debugger.judge import judge
from houndsight.debugger.rules import make_rules
from houndsight.debugger.tensor_log import TensorLog
from houndsight.files import write_atomic
from houndsight.findings import Finding

__all__ = ["Recorded", "Recordings"]


@dataclass(frozen=True)
class Recorded:
    """A training that was run."""

    spec: Spec
    accuracy: float
    seconds: float
    archive: Path | None
    """Its tensor log; None where only the accuracy was wanted."""
    live_equal: bool | None = None
    """Whether the hook's own findings, live, were those of the recording; None: not compared."""

    def history(self) -> History:
        """What the rules see of it."""
        assert self.archive is not None, "only trainings with a log are judged"
        with tempfile.TemporaryDirectory(prefix="houndsight-faults-") as name:
            with tarfile.open(self.archive) as packed:
                packed.extractall(name, filter="data")
            return TensorLog(Path(name)).history()


class Recordings:
    """A folder of trainings.

    Args:
        folder: where they are kept; a training that is there is not run again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = folder / "weights"
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, spec: Spec, *, log: bool) -> Recorded | None:
        """A training that was run before, with its log where one is asked for."""
        path = self.folder / f"{spec.key}.json"
        if not path.exists():
            return None
        record: dict[str, Any] = json.loads(path.read_text())
        archive = self.folder / f"{spec.key}.tar.xz"
        if log and not archive.exists():
            return None
        return Recorded(
            Spec.from_json(record["spec"]),
            record["accuracy"],
            record["seconds"],
            archive if archive.exists() else None,
            record.get("live_equal"),
        )

    def record(self, spec: Spec) -> Recorded:
        """A training with its log, run now unless it was before."""
        known = self.get(spec, log=True)
        if known is not None:
            return known
        with tempfile.TemporaryDirectory(prefix="houndsight-faults-") as name:
            run = Path(name) / "run"
            outcome = train(spec, self.weights, run)
            log = TensorLog(run)
            aside = self.folder / f".{spec.key}.aside"
            with tarfile.open(aside, "w:xz", preset=1) as packed:
                packed.add(log.folder, arcname=".")
            replayed = judge(make_rules("default"), log.history()).findings
            equal = _said(replayed) == _said(outcome.findings)
        aside.replace(self.folder / f"{spec.key}.tar.xz")
        self._write(spec, outcome.accuracy, outcome.seconds, equal)
        found = self.get(spec, log=True)
        assert found is not None, "it was written just now"
        return found

    def accuracy(self, spec: Spec) -> float:
        """What a training reaches, run now unless it was before; 0 when it breaks off."""
        known = self.get(spec, log=False)
        if known is None:
            try:
                outcome = train(spec, self.weights)
            except (IndexError, RuntimeError, ValueError):
                # A fix after which the script does not run is no fix.
                outcome = Outcome(0.0, 0.0, [])
            self._write(spec, outcome.accuracy, outcome.seconds, None)
            return outcome.accuracy
        return known.accuracy

    def _write(self, spec: Spec, accuracy: float, seconds: float, equal: bool | None) -> None:
        record = {
            "spec": spec.to_json(),
            "accuracy": accuracy,
            "seconds": seconds,
            "live_equal": equal,
        }
        write_atomic(self.folder / f"{spec.key}.json", json.dumps(record).encode())

    def remembered(self, name: str) -> dict[str, Any] | None:
        """What was kept under a name."""
        path = self.folder / "judged" / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def remember(self, name: str, record: dict[str, Any]) -> None:
        """Keep something under a name."""
        (self.folder / "judged").mkdir(exist_ok=True)
        write_atomic(self.folder / "judged" / f"{name}.json", json.dumps(record).encode())

    def clear_unfinished(self) -> None:
        """Remove what a kill left."""
        for path in self.folder.glob(".*.aside"):
            path.unlink()


def _said(findings: list[Finding]) -> set[tuple[str, str, str]]:
    return {(f.rule, f.where, f.severity.value) for f in findings}
