"""The configuration files that the hook finds in `/opt/ml/input/config`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from houndsight.files import write_atomic
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import TrainingSpec

__all__ = ["profiling_parameters", "write_configs"]

TENSORS = "/opt/ml/output/tensors"
PROFILER = "/opt/ml/output/profiler"
COMMA = re.compile(r",\s*([}\]])")


def write_configs(spec: TrainingSpec, folder: JobFolder, copy: Path) -> None:
    """Write `debughookconfig.json` and `profilerconfig.json` for every host, as asked.

    The hook's stands at `copy` too, for jobs that have no `/opt/ml` of their own.
    """
    files: dict[str, dict[str, Any]] = {}
    if spec.debug_hook is not None:
        files["debughookconfig.json"] = {"LocalPath": TENSORS, **_without_none(spec.debug_hook)}
    if spec.profiler is not None:
        files["profilerconfig.json"] = {"ProfilingParameters": _profiler(spec.profiler)}
    for name, content in files.items():
        text = json.dumps(content, indent=1).encode()
        if name == "debughookconfig.json":
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(copy, text)
        for host in spec.hosts:
            place = folder.host(host).ml / "input" / "config"
            place.mkdir(parents=True, exist_ok=True)
            write_atomic(place / name, text)


def profiling_parameters(profiler: Mapping[str, Any]) -> dict[str, Any]:
    """`ProfilingParameters` with the texts in it read: JSON that may have a comma too many."""
    found: dict[str, Any] = {}
    for name, value in (profiler.get("ProfilingParameters") or {}).items():
        found[str(name)] = _lenient(value)
    return found


def _lenient(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(COMMA.sub(r"\1", value))
    except ValueError:
        return value


def _profiler(profiler: Mapping[str, Any]) -> dict[str, Any]:
    enabled = not profiler.get("DisableProfiler")
    given = dict(profiler.get("ProfilingParameters") or {})
    return {"ProfilerEnabled": enabled, "LocalPath": PROFILER, **given}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
