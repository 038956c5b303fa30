"""Sampling the machine, and the profiler's rules over samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from houndsight.jobs.debugging.profiler.rules import RULES, View, judge
from houndsight.jobs.debugging.profiler.samples import Samples, read_samples
from houndsight.jobs.debugging.profiler.steps import Steps
from houndsight.jobs.debugging.sampler import SystemSampler

EMPTY = np.empty(0)


def _view(figures: dict[str, Any], count: int = 1200, steps: Any = EMPTY) -> View:
    host = Samples(
        node="algo-1",
        times=np.arange(count) / 2,
        figures={
            dimension: {name: np.broadcast_to(v, (count,)).astype(float) for name, v in of.items()}
            for dimension, of in figures.items()
        },
    )
    return View(hosts=[host], steps=Steps(np.asarray(steps), EMPTY), begin=0.0, cores=2)


def _gpu(use: Any, memory: Any = 10.0, cpu: Any = 20.0, wait: Any = 0.0) -> View:
    return _view(
        {
            "CPUUtilization": {"cpu0": cpu, "cpu1": cpu},
            "I/OWaitPercentage": {"cpu0": wait, "cpu1": wait},
            "GPUUtilization": {"gpu0": use},
            "GPUMemoryUtilization": {"gpu0": memory},
        }
    )


BUSY_THEN_IDLE = np.where(np.arange(1200) % 10 < 5, 100.0, 2.0)


@pytest.mark.parametrize(
    ("rule", "view", "fires"),
    [
        ("LowGPUUtilization", _gpu(40.0), True),
        ("LowGPUUtilization", _gpu(95.0), False),
        ("LowGPUUtilization", _gpu(BUSY_THEN_IDLE), True),
        ("BatchSize", _gpu(40.0), True),
        ("BatchSize", _gpu(40.0, memory=90.0), False),
        ("CPUBottleneck", _gpu(5.0, cpu=99.0), True),
        ("CPUBottleneck", _gpu(50.0, cpu=99.0), False),
        ("IOBottleneck", _gpu(5.0, wait=80.0), True),
        ("IOBottleneck", _gpu(5.0), False),
        ("GPUMemoryIncrease", _gpu(90.0, memory=np.linspace(10, 60, 1200)), True),
        ("GPUMemoryIncrease", _gpu(90.0, memory=50.0), False),
        ("StepOutlier", _view({}, steps=np.arange(500.0)), False),
    ],
)
def test_the_conditions(rule: str, view: View, fires: bool) -> None:
    judged = judge(rule, view, {})
    assert judged.fired is fires
    assert bool(judged.text) is fires
    record = judged.to_json()
    assert record["RuleTriggered"] == int(fires)
    json.dumps(record)


def test_gpus_used_differently() -> None:
    figures = {"GPUUtilization": {"gpu0": 95.0, "gpu1": 10.0}}
    assert judge("LoadBalancing", _view(figures), {}).fired
    figures["GPUUtilization"]["gpu1"] = 95.0
    assert not judge("LoadBalancing", _view(figures), {}).fired


def test_slow_steps_stand_out() -> None:
    gaps = np.full(600, 0.1)
    gaps[::40] = 5.0
    view = _view({}, steps=np.cumsum(gaps))
    judged = judge("StepOutlier", view, {})
    assert judged.fired
    assert judged.text.startswith("14 of 599 steps took far longer than the 0.1 s of most")


def test_parameters_as_texts() -> None:
    assert not judge("LowGPUUtilization", _gpu(40.0), {"threshold_p95": "30"}).fired
    assert judge("LowGPUUtilization", _gpu(40.0), {"threshold_p95": "much"}).fired
    few = judge("LowGPUUtilization", _gpu(40.0), {"patience": "5000"})
    assert few.text == "It judges from 5000 samples on; 1200 were taken."


@pytest.mark.parametrize("rule", list(RULES))
def test_nothing_to_judge_is_said(rule: str) -> None:
    empty = View(hosts=[], steps=Steps(EMPTY, EMPTY), begin=0.0, cores=2)
    judged = judge(rule, empty, {})
    assert not judged.fired
    assert judged.text
    without = _view({"CPUUtilization": {"cpu0": 50.0}, "Memory": {"MemoryUsedPercent": 30.0}})
    assert not judge(rule, without, {}).fired


def test_a_sample_of_this_machine(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path, interval_ms=1)
    assert sampler.interval_s == 0.1
    rows = list(sampler.sample())
    assert sum(dimension == "CPUUtilization" for _, _, dimension, _ in rows) == psutil.cpu_count()
    sampler.write(1_700_000_045.5, rows)
    sampler.write(1_700_000_046.0, list(sampler.sample()))
    (path,) = tmp_path.rglob("*.json")
    assert path.relative_to(tmp_path) == Path(
        "system/incremental/2023111422/1700000040.algo-1.json"
    )
    with path.open("a") as file:
        file.write('{"Type": "cpu", "Na')
    (host,) = read_samples(tmp_path)
    assert host.node == "algo-1"
    assert len(host) == 2
    assert host.cpu.shape == (2, psutil.cpu_count())
    assert ((host.cpu >= 0) & (host.cpu <= 100)).all()
    assert (host.memory > 0).all()


def test_the_sampler_runs_until_it_is_closed(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path, interval_ms=100)
    sampler.start()
    while not list(tmp_path.rglob("*.json")):
        pass
    sampler.close()
    assert not sampler._thread.is_alive()


def test_it_ends_when_the_job_has(tmp_path: Path) -> None:
    ended = tmp_path / "ended.json"
    ended.touch()
    sampler = SystemSampler(tmp_path, interval_ms=100, until=ended)
    sampler.start()
    sampler._thread.join(5)
    assert not sampler._thread.is_alive()
