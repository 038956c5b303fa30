"""Starts a worker."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from houndsight.files import write_atomic
from houndsight.jobs.endpoints.worker.causes import Trouble, trouble_of

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Serve as `WORKER.json` says; 1 when the model cannot be loaded, with the cause written."""
    told: dict[str, Any] = json.loads(Path(argv[0]).read_bytes())
    stage = "starting"
    try:
        serving = _serving(told)
        try:
            serving.load()
        finally:
            stage = serving.stage
    except SystemExit as error:
        trouble = Trouble("SystemExit", f"The script ended itself with exit code {error.code}.")
    except BaseException as error:
        trouble = trouble_of(error, Path(told["model_dir"]))
        trouble.print_trace(error)
    else:
        return int(serving.run())
    row = {**trouble.to_json(), "stage": stage}
    write_atomic(Path(told["failure"]), json.dumps(row).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that the script has started must not keep a worker that failed.
    os._exit(1)


def _serving(told: dict[str, Any]) -> Any:
    """What serves such a model: `load`, `run`, `stage`."""
    if told["kind"] == "artifact":
        from houndsight.jobs.endpoints.worker.artifact import ArtifactServing

        return ArtifactServing(told)
    from houndsight.jobs.endpoints.worker.serving import ScriptServing

    return ScriptServing(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
