"""Makes a variant ready: archive, code, requirements, and what its workers will execute."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.files import write_atomic
from houndsight.jobs.container.command import merged_environment
from houndsight.jobs.container.entry import check_program
from houndsight.jobs.container.environment import COMPAT_PATH, base_environment
from houndsight.jobs.container.image import framework_of, says_what_runs
from houndsight.jobs.container.namespace import ENTER, isolation
from houndsight.jobs.container.private import site_overlays
from houndsight.jobs.container.requirements import (
    install_requirements,
    read_requirements,
    write_constraints,
)
from houndsight.jobs.container.weights import make_torch_home
from houndsight.jobs.endpoints.archive import fetch_code, fetch_model
from houndsight.jobs.endpoints.spec import EndpointSpec, VariantSpec
from houndsight.jobs.layout import VariantFolder

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["ATTEMPT_MARK", "DEFAULT_PROGRAM", "Prepared", "prepare_variant", "write_attempt"]

ATTEMPT_MARK = "HOUNDSIGHT_JOB_WORKER"
"""A variable of every process that a worker starts: its attempt's folder."""
DEFAULT_PROGRAM = "inference.py"
ARTIFACT = ("model.json", "model.safetensors")
"""What a folder holds that Houndsight itself saved."""
ARTIFACT_CONCURRENCY = 16
"""Requests that our own handler takes at once, to make batches of them."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the workers of a variant execute."""

    kind: str
    """`script`, `default` (no code in the archive) or `artifact` (what Houndsight itself saved)."""
    program: str
    ml: str
    """Where the workers see `/opt/ml`."""
    namespace: str
    overlay: bool
    environment: Mapping[str, str]

    @property
    def concurrency(self) -> int:
        """How many requests a worker takes at once: a script's functions run one after another."""
        return ARTIFACT_CONCURRENCY if self.kind == "artifact" else 1

    @classmethod
    def read(cls, folder: VariantFolder) -> Prepared | None:
        """What an earlier supervisor has prepared."""
        try:
            return cls(**json.loads(folder.prepared.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def prepare_variant(
    endpoint: EndpointSpec,
    variant: VariantSpec,
    folder: VariantFolder,
    objects: ObjectStore,
    *,
    cores: int,
    say: Callable[[str], None],
) -> Prepared:
    """Bring all that the variant needs; `cores` is for each worker, `say` writes into its log.

    Raises:
        ContainerError: it cannot be served; the sentence says why.
    """
    model = variant.model
    folder.path.mkdir(parents=True, exist_ok=True)
    for line in filter(None, [says_what_runs(model.image).replace("training image", "image")]):
        say(line)
    fetch_model(model, folder, objects)
    fetch_code(model, folder, objects)
    kind, program = _what_serves(variant, folder)
    site = _install(folder, say) if kind == "script" else None
    private = isolation(folder.path)
    prepared = Prepared(
        kind=kind,
        program=program,
        ml=private.ml_root or str(folder.ml),
        namespace=private.kind,
        overlay=private.overlay,
        environment=_environment(endpoint, variant, folder, site, cores, private.ml_root),
    )
    write_atomic(folder.prepared, json.dumps(dataclasses.asdict(prepared)).encode())
    return prepared


def write_attempt(
    prepared: Prepared, folder: VariantFolder, attempt: Path, settings: Mapping[str, Any]
) -> None:
    """Write what one start of one worker executes: `worker.json`, `plan.json`, `launch.json`.

    Args:
        settings: for `worker.json`, beside what is prepared.
    """
    attempt.mkdir(parents=True, exist_ok=True)
    model = f"{prepared.ml}/model"
    told = {
        "kind": prepared.kind,
        "program": prepared.program,
        "model_dir": model,
        "socket": str(attempt / "socket"),
        "failure": str(attempt / "failure.json"),
        **settings,
    }
    write_atomic(attempt / "worker.json", json.dumps(told).encode())
    plan: dict[str, Any] = {"cwd": model}
    if prepared.namespace:
        plan |= {"namespace": prepared.namespace, "ml": str(folder.ml), "overlays": []}
        if prepared.overlay:
            plan["overlays"] = site_overlays(attempt / "written")
    write_atomic(attempt / "plan.json", json.dumps(plan).encode())
    argv = [sys.executable, "-I", "-S", str(ENTER), str(attempt / "plan.json"), "--"]
    argv += [sys.executable, "-P", "-m", "houndsight.jobs.endpoints.worker"]
    host = {
        "argv": [*argv, str(attempt / "worker.json")],
        "environment": {**prepared.environment, ATTEMPT_MARK: str(attempt)},
        "cwd": str(folder.model),
    }
    write_atomic(attempt / "launch.json", json.dumps({"hosts": {"worker": host}}).encode())


def _what_serves(variant: VariantSpec, folder: VariantFolder) -> tuple[str, str]:
    """Who answers, and the script's name."""
    named = variant.model.environment.get("SAGEMAKER_PROGRAM", "")
    program = named or DEFAULT_PROGRAM
    if (folder.code / program).is_file() and ".." not in Path(program).parts:
        return "script", program
    if _artifact_below(folder.model):
        return "artifact", ""
    if named:
        check_program(named, folder.code)
    return "default", ""


def _artifact_below(model: Path) -> bool:
    places = (model, model / "model")
    return any(all((place / name).is_file() for name in ARTIFACT) for place in places)


def _install(folder: VariantFolder, say: Callable[[str], None]) -> Path | None:
    file = folder.code / "requirements.txt"
    if not file.is_file():
        return None
    requirements = read_requirements(file, folder.code)
    for note in requirements.notes:
        say(note)
    if not requirements.packages:
        return None
    return install_requirements(requirements, folder.code, say=say, compat=COMPAT_PATH)


def _environment(
    endpoint: EndpointSpec,
    variant: VariantSpec,
    folder: VariantFolder,
    site: Path | None,
    cores: int,
    ml_root: str,
) -> dict[str, str]:
    inherited = base_environment(os.environ)
    path = [str(Path(sys.executable).parent), *([str(site / "bin")] if site else [])]
    asked = framework_of(variant.model.image)
    own = {k: v for k, v in variant.model.environment.items() if _valid(k, v)}
    ours = {
        **inherited,
        **dict.fromkeys(_THREADS, str(cores)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "UTF-8",
        "PYTHONPATH": os.pathsep.join([*([str(site)] if site else []), str(COMPAT_PATH)]),
        "PATH": os.pathsep.join([*path, inherited.get("PATH", os.defpath)]),
        "PIP_CONSTRAINT": write_constraints(folder.path / "constraints.txt").as_uri(),
        "TORCH_HOME": str(make_torch_home(folder.path / "torch")),
        "AWS_REGION": endpoint.region,
        "AWS_DEFAULT_REGION": endpoint.region,
        "SAGEMAKER_REGION": endpoint.region,
        "SAGEMAKER_BASE_DIR": ml_root or str(folder.ml),
        "HOUNDSIGHT_JOB_SAID": str(folder.path / "said"),
        "HOUNDSIGHT_JOB_LEGACY": asked.version if asked.name == "pytorch" else "current",
    }
    return merged_environment(ours, own)


def _valid(name: str, value: str) -> bool:
    return bool(name) and "=" not in name and "\0" not in name + value
