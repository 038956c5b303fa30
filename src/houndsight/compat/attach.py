"""In a training job: watch scripts that say nothing of a hook, as SageMaker's containers do.

`begin` is called once PyTorch has been imported, by `sitecustomize` or by the launcher after its
fork. The model that an optimizer trains gets the hook that the job's configuration describes; a
hook that the script made without giving it a module gets the module.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["begin"]

RUN = "HOUNDSIGHT_JOB_RUN"
_begun: list[Any] = []


def begin() -> None:
    """Watch what this process trains, if it belongs to a job that is watched."""
    run = os.environ.get(RUN)
    if not run or _begun:
        return
    from houndsight.debugger.watch.orders import Orders, note

    try:
        _begun.append(_watcher(Orders(folder=str(_folder(Path(run))), rules="none")))
        _begun[0].begin()
    except Exception as error:
        note(run, "fault", text=f"{type(error).__name__}: {error}")


def _folder(run: Path) -> Path:
    """Of two hosts that each train by themselves, the second has a folder of its own."""
    host, hosts = os.environ.get("SM_CURRENT_HOST", ""), os.environ.get("SM_HOSTS", "")
    if "WORLD_SIZE" in os.environ or not host or hosts.startswith(f'["{host}"') or not hosts:
        return run
    folder = run / "hosts" / host
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return folder


def _watcher(orders: Any) -> Any:
    from smdebug.pytorch import Hook, get_hook

    from houndsight.debugger.watch.attach import Watcher

    class JobWatcher(Watcher):
        """Gives models SageMaker's hook."""

        def _attach(self, module: nn.Module, args: Any) -> None:
            self._args = args
            super()._attach(module, args)
            self._args = None

        def _hook(self, module: nn.Module, folder: Path) -> Any:
            hook = get_hook(create_if_not_exists=True)
            if hook is None or hook.has_registered_module or hook._engine is not None:
                hook = Hook.create_from_json_file()
            engine = hook.attach(module, folder)
            hook.begin_step(module, self._args)
            return engine

    return JobWatcher(orders)
