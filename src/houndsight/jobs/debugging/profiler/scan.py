"""One look of the profiler's rules: verdicts, their JSON files, and at the end the report."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from houndsight.files import write_atomic
from houndsight.jobs.debugging.asked import PROFILER_RULES, Asked
from houndsight.jobs.debugging.places import Places, model_folders
from houndsight.jobs.debugging.profiler.rules import Judged, View, judge
from houndsight.jobs.debugging.profiler.samples import read_samples
from houndsight.jobs.debugging.profiler.steps import Steps, read_steps
from houndsight.jobs.spec import TrainingSpec

__all__ = ["scan"]


def scan(
    spec: TrainingSpec, places: Places, asked: Sequence[Asked], *, begin: float, last: bool
) -> None:
    """Judge, and replace `profiler.json`; `last` writes reports and the steps' timeline too."""
    view = _view(places, begin)
    verdicts: dict[str, dict[str, Any]] = {}
    for one in asked:
        if one.refusal:
            continue
        if one.rule == "ProfilerReport":
            verdicts[one.configuration] = _report(spec, places, one, view, last=last)
        else:
            found = judge(one.rule, view, one.parameters)
            verdicts[one.configuration] = {"fired": found.fired, "text": found.text}
            _write(places.rule_output / one.configuration / f"{one.rule}.json", found.to_json())
    write_atomic(places.profiler_verdicts, json.dumps(verdicts).encode())
    if last:
        _write_timeline(places.samples, view.steps)


def _view(places: Places, begin: float) -> View:
    folders = model_folders(places.run)
    steps = read_steps(folders[0] if folders else places.run)
    hosts = read_samples(places.samples)
    first = min((float(h.times[0]) for h in hosts if len(h)), default=begin)
    return View(hosts=hosts, steps=steps, begin=min(begin, first), cores=os.cpu_count() or 1)


def _report(
    spec: TrainingSpec, places: Places, asked: Asked, view: View, *, last: bool
) -> dict[str, Any]:
    """ProfilerReport: every rule, with the parameters given as `<Rule>_<parameter>`."""
    judged = [judge(rule, view, _own(asked.parameters, rule)) for rule in PROFILER_RULES]
    place = places.rule_output / asked.configuration / "profiler-output"
    for one in judged:
        _write(place / "profiler-reports" / f"{one.rule}.json", one.to_json())
    fired = [one for one in judged if one.fired]
    verdict: dict[str, Any] = {"fired": bool(fired), "text": _sentence(judged, fired)}
    if last:
        from houndsight.jobs.debugging.profiler.notebook import write_notebook
        from houndsight.jobs.debugging.profiler.report import write_html

        write_notebook(place / "profiler-report.ipynb", spec, judged)
        try:
            write_html(place / "profiler-report.html", spec, places, view, judged)
        except Exception as error:
            traceback.print_exc()
            told = f"The report could not be written: {type(error).__name__}: {error}"
            verdict |= {"text": told, "error": True}
    return verdict


def _own(parameters: Mapping[str, str], rule: str) -> dict[str, str]:
    mark = f"{rule.lower()}_"
    return {k[len(mark) :].lower(): v for k, v in parameters.items() if k.lower().startswith(mark)}


def _sentence(judged: Sequence[Judged], fired: Sequence[Judged]) -> str:
    if fired:
        return " ".join(f"{one.rule}: {one.text}" for one in fired)
    silent = [one.rule for one in judged if one.text]
    return f"Could not judge: {', '.join(silent)}; the report says why." if silent else ""


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(record, indent=1, default=str).encode())


def _write_timeline(folder: Path, steps: Steps) -> None:
    """The steps as SageMaker's framework events, a Chrome trace: one file, at the end."""
    if not len(steps.train):
        return
    end = float(steps.train[-1])
    begins = [*steps.train[:1], *steps.train[:-1]]
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 0, "args": {"name": "Step:ModeKeys.TRAIN"}}
    ]
    events += [
        {
            "name": "Step:ModeKeys.TRAIN",
            "ph": "X",
            "pid": 0,
            "tid": 0,
            "ts": int(begin * 1e6),
            "dur": int((at - begin) * 1e6),
            "args": {"step_num": str(number)},
        }
        for number, (begin, at) in enumerate(zip(begins, steps.train, strict=True))
    ]
    hour = time.strftime("%Y%m%d%H", time.gmtime(end))
    place = folder / "framework" / "pevents" / hour
    place.mkdir(parents=True, exist_ok=True)
    name = f"{int(end * 1e6)}_0000-algo-1_pythontimeline.json"
    write_atomic(place / name, json.dumps(events).encode())
