"""SageMaker's profiler rules, over samples of the system and the times of steps.

The conditions are those of the rules' public code, from the history of SageMaker Debugger's
repository until 2020-12-03; the thresholds are the documented defaults of smdebug-rulesconfig.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.jobs.debugging.profiler.samples import Samples
from houndsight.jobs.debugging.profiler.steps import Steps

__all__ = ["RULES", "Judged", "View", "judge"]

Floats = npt.NDArray[np.float64]
NO_GPU = "This machine has no GPU that can be read, so there is no use of one to judge."


@dataclass(frozen=True, kw_only=True)
class View:
    """What the rules look at."""

    hosts: Sequence[Samples]
    steps: Steps
    begin: float
    """When the script was started, seconds since the epoch."""
    cores: int


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What became of a rule."""

    rule: str
    fired: bool = False
    text: str = ""
    """What was found, or why nothing could be judged, as sentences."""
    violations: int = 0
    datapoints: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As SageMaker's rules write their report."""
        return {
            "RuleTriggered": int(self.fired),
            "Violations": self.violations,
            "Details": dict(self.details),
            "Datapoints": self.datapoints,
            "RuleParameters": "\n".join(f"{k}:{v:g}" for k, v in self.parameters.items()),
            "Text": self.text,
        }


@dataclass(frozen=True)
class Rule:
    """A rule: its defaults, and what it says of a view."""

    look: Callable[[View, Mapping[str, float]], dict[str, Any]]
    defaults: Mapping[str, float] = field(default_factory=dict)
    needs_gpu: bool = False


def judge(name: str, view: View, given: Mapping[str, str]) -> Judged:
    """Let a rule judge; parameters that are no numbers are left at their defaults."""
    rule = RULES[name]
    parameters = {k: _number(given.get(k), v) for k, v in rule.defaults.items()}
    points = sum(len(host) for host in view.hosts)
    common: dict[str, Any] = {"rule": name, "parameters": parameters, "datapoints": points}
    if not points:
        return Judged(**common, text="No samples of the system were taken.")
    if rule.needs_gpu and not any(host.gpu.shape[1] for host in view.hosts):
        return Judged(**common, text=NO_GPU)
    patience = parameters.get("patience", 0)
    if points <= patience:
        return Judged(
            **common, text=f"It judges from {patience:g} samples on; {points} were taken."
        )
    return Judged(**{**common, **rule.look(view, parameters)})


def _number(given: str | None, default: float) -> float:
    try:
        return default if given is None else float(given)
    except ValueError:
        return default


def _spread(values: Floats) -> dict[str, float]:
    found = values[np.isfinite(values)]
    if not len(found):
        return {}
    p50, p95, p99 = (float(p) for p in np.percentile(found, (50, 95, 99)))
    figures = {"max": float(found.max()), "p99": p99, "p95": p95, "p50": p50}
    return {k: round(v, 2) for k, v in (figures | {"min": float(found.min())}).items()}


# -- one rule after the other ---------------------------------------------------------------


def _batch_size(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    window, found, details = int(p["window"]), [], {}
    for host in view.hosts:
        last = slice(-window, None)
        cpu = _p(host.cpu[last].mean(axis=1), 95)
        for number, name in enumerate(host.names("GPUUtilization")):
            used, memory = _p(host.gpu[last, number], 95), _p(host.gpu_memory[last, number], 95)
            details[f"{host.node} {name}"] = {"gpu": used, "memory": memory, "cpu": cpu}
            low = used < p["gpu_threshold_p95"] and memory < p["gpu_memory_threshold_p95"]
            if low and cpu < p["cpu_threshold_p95"]:
                found.append(
                    f"{name} of {host.node} is at {used:.0f} % with {memory:.0f} % of its memory"
                )
    return _told(found, details, "The batch is small for this machine: {}. Make it larger.")


def _low_gpu(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    window, found, details = int(p["window"]), [], {}
    for host in view.hosts:
        for number, name in enumerate(host.names("GPUUtilization")):
            used = host.gpu[-window:, number]
            p95, p5 = _p(used, 95), _p(used, 5)
            details[f"{host.node} {name}"] = {"p95": p95, "p5": p5}
            if p95 < p["threshold_p95"]:
                found.append(f"{name} of {host.node} is used by {p95:.0f} % (95th percentile)")
            elif p5 < p["threshold_p5"]:
                found.append(f"{name} of {host.node} goes between {p5:.0f} and {p95:.0f} %")
    advice = "{}. Load data in more workers, or make the batch larger."
    return _told(found, details, advice)


def _bottleneck(kind: str) -> Callable[[View, Mapping[str, float]], dict[str, Any]]:
    def look(view: View, p: Mapping[str, float]) -> dict[str, Any]:
        found, details = [], {}
        for host in view.hosts:
            if not host.gpu.shape[1]:
                continue
            values = host.cpu if kind == "cpu" else host.io_wait
            busy = (values > p[f"{kind}_threshold"]).any(axis=1)
            idle = (host.gpu < p["gpu_threshold"]).any(axis=1)
            share = 100 * float((busy & idle).mean())
            details[host.node] = {"share": round(share, 2)}
            if share > p["threshold"]:
                what = "the CPU is busy" if kind == "cpu" else "input or output is waited for"
                found.append(
                    f"on {host.node} {what} while a GPU idles in {share:.0f} % of the time"
                )
        return _told(
            found, details, "{}. The GPU waits for its data: prepare less, or in parallel."
        )

    return look


def _memory_increase(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    window, found, details = int(p["window"]), [], {}
    for host in view.hosts:
        for number, name in enumerate(host.names("GPUMemoryUtilization")):
            values = host.gpu_memory[:, number]
            if len(values) < 2 * window:
                continue
            # A slow leak is to be seen as well: the last window against the first.
            grown = float(np.nanmean(values[-window:]) - np.nanmean(values[:window]))
            details[f"{host.node} {name}"] = {"increase": round(grown, 2)}
            if grown > p["increase"]:
                found.append(f"{name} of {host.node} takes {grown:.0f} points more of its memory")
    return _told(found, details, "{}. Is the loss kept with its graph, or a list of tensors?")


def _load_balancing(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    found, details = [], {}
    for host in view.hosts:
        shares = [np.histogram(column, np.arange(0, 102, 2))[0] for column in host.gpu.T]
        for i in range(len(shares)):
            for j in range(i):
                distance = _distance(shares[i], shares[j])
                details[f"{host.node} gpu{j} gpu{i}"] = {"distance": round(distance, 3)}
                if distance > p["threshold"]:
                    found.append(f"gpu{j} and gpu{i} of {host.node} are used differently")
    return _told(found, details, "{}. Use DistributedDataParallel, with batches of one size.")


def _step_outlier(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    durations = view.steps.durations
    if len(durations) <= 100:
        return {"text": f"It judges from 100 steps on; {len(durations)} were seen."}
    mean, spread = float(durations.mean()), float(durations.std())
    outliers = int((durations > mean + p["stddev"] * spread).sum())
    details = {"step_duration_s": _spread(durations), "outliers": outliers}
    usual = float(np.median(durations))
    slow = f"{outliers} of {len(durations)} steps took far longer than the {usual:.3g} s of most"
    found = [slow] if outliers > p["n_outliers"] else []
    return _told(found, details, "{}. Look what is done in them: saving, evaluating, swapping?")


def _initialization(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    begin = view.steps.begin
    if begin is None:
        return {"text": "No step was seen."}
    minutes = (begin - view.begin) / 60
    found = [f"The first step came after {minutes:.1f} minutes"] if minutes > p["threshold"] else []
    details = {"initialization_minutes": round(minutes, 3)}
    return _told(found, details, "{}. What is loaded or computed before could be kept.")


def _dataloader(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    del p
    return {
        "text": "Data loaders' workers are not counted yet, so nothing was judged.",
        "details": {"cores": view.cores},
    }


def _overall_system(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    del p
    details: dict[str, dict[str, dict[str, float]]] = {}
    for host in view.hosts:
        for what, values in (
            ("CPU", _mean(host.cpu)),
            ("GPU", _mean(host.gpu)),
            ("CPU memory", host.memory),
            ("GPU memory", _mean(host.gpu_memory)),
            ("I/O", _mean(host.io_wait)),
            ("Network", host.of("Algorithm").sum(axis=1)),
        ):
            figures = _spread(values)
            if figures:
                details.setdefault(what, {})[host.node] = figures
    return {"details": details}


def _overall_framework(view: View, p: Mapping[str, float]) -> dict[str, Any]:
    del p
    durations = view.steps.durations
    return {
        "details": {
            "steps": len(view.steps.train),
            "evaluations": len(view.steps.evaluation),
            "step_duration_s": _spread(durations) if len(durations) else {},
        }
    }


# -- helpers --------------------------------------------------------------------------------


def _mean(values: Floats) -> Floats:
    """(n,) over the columns; nothing where there are none."""
    return np.asarray(values.mean(axis=1)) if values.shape[1] else np.empty(0)


def _p(values: Floats, percent: float) -> float:
    found = values[np.isfinite(values)]
    return round(float(np.percentile(found, percent)), 2) if len(found) else 0.0


def _distance(one: Any, other: Any) -> float:
    """Jensen-Shannon distance of two histograms: the root of the mean divergence to their mean."""
    p, q = one / max(one.sum(), 1), other / max(other.sum(), 1)
    middle = (p + q) / 2

    def divergence(a: Floats) -> float:
        there = a > 0
        return float((a[there] * np.log(a[there] / middle[there])).sum())

    return float(np.sqrt((divergence(p) + divergence(q)) / 2))


def _told(found: Sequence[str], details: Mapping[str, Any], sentence: str) -> dict[str, Any]:
    text = sentence.format("; ".join(found)) if found else ""
    return {
        "fired": bool(found),
        "violations": len(found),
        "details": dict(details),
        "text": text[:1].upper() + text[1:],
    }


RULES: Mapping[str, Rule] = {
    "StepOutlier": Rule(_step_outlier, {"stddev": 3, "n_outliers": 10}),
    "OverallSystemUsage": Rule(_overall_system),
    "OverallFrameworkMetrics": Rule(_overall_framework),
    "MaxInitializationTime": Rule(_initialization, {"threshold": 20}),
    "LowGPUUtilization": Rule(
        _low_gpu,
        {"threshold_p95": 70, "threshold_p5": 10, "window": 500, "patience": 1000},
        needs_gpu=True,
    ),
    "LoadBalancing": Rule(_load_balancing, {"threshold": 0.5, "patience": 1000}, needs_gpu=True),
    "IOBottleneck": Rule(
        _bottleneck("io"),
        {"threshold": 50, "io_threshold": 50, "gpu_threshold": 10, "patience": 1000},
        needs_gpu=True,
    ),
    "GPUMemoryIncrease": Rule(
        _memory_increase, {"increase": 5, "patience": 1000, "window": 10}, needs_gpu=True
    ),
    "Dataloader": Rule(_dataloader, {"min_threshold": 70, "max_threshold": 200}),
    "CPUBottleneck": Rule(
        _bottleneck("cpu"),
        {"threshold": 50, "cpu_threshold": 90, "gpu_threshold": 10, "patience": 1000},
        needs_gpu=True,
    ),
    "BatchSize": Rule(
        _batch_size,
        {
            "cpu_threshold_p95": 70,
            "gpu_threshold_p95": 70,
            "gpu_memory_threshold_p95": 70,
            "patience": 1000,
            "window": 500,
        },
        needs_gpu=True,
    ),
}
"""Every rule that ProfilerReport consists of."""
