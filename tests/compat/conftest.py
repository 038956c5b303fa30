"""smdebug as scripts and notebooks in Houndsight's environment find it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import houndsight

sys.path.insert(0, str(Path(__file__).parent))
PATH = Path(houndsight.__file__).parent / "compat" / "path"


@pytest.fixture(autouse=True)
def smdebug_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(PATH))
    for name in ("TRAINING_JOB_NAME", "HOUNDSIGHT_JOB_RUN", "SMDEBUG_CONFIG_FILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield PATH
    singleton = sys.modules.get("smdebug.core.singleton_utils")
    if singleton is not None:
        hook = singleton.get_hook()
        if hook is not None:
            hook.close()
        singleton.del_hook()
    logging.getLogger("smdebug").handlers.clear()


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes this process one of a training job with that hook configuration."""

    def make(parameters: Mapping[str, str] | None = None, collections: Sequence[Any] = ()) -> Path:
        from houndsight.runs import Run

        run = tmp_path / "run"
        Run.create(run, kind="job", config={})
        (run / "logs").mkdir()
        config = tmp_path / "debughookconfig.json"
        record = {
            "S3OutputPath": "s3://bucket/out",
            "LocalPath": "/opt/ml/output/tensors",
            "HookParameters": dict(parameters or {}),
            "CollectionConfigurations": list(collections),
        }
        config.write_text(json.dumps(record))
        monkeypatch.setenv("HOUNDSIGHT_JOB_RUN", str(run))
        monkeypatch.setenv("HOUNDSIGHT_JOB_HOOK", str(config))
        monkeypatch.setenv("TRAINING_JOB_NAME", "job-1")
        return run

    return make
