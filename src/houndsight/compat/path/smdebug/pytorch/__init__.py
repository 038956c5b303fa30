"""The hook for PyTorch. `import smdebug.pytorch as smd`."""

from __future__ import annotations

from .. import ReductionConfig, SaveConfig, SaveConfigMode, modes
from ..core.collection import CollectionKeys
from ..trials import create_trial
from .collection import Collection, CollectionManager
from .hook import Hook
from .singleton_utils import del_hook, get_hook, set_hook

__all__ = [
    "Collection",
    "CollectionKeys",
    "CollectionManager",
    "Hook",
    "ReductionConfig",
    "SaveConfig",
    "SaveConfigMode",
    "create_trial",
    "del_hook",
    "get_collection",
    "get_collections",
    "get_hook",
    "modes",
    "set_hook",
]


def get_collection(name: str) -> Collection:
    """A collection of the process's hook.

    Raises:
        RuntimeError: there is no hook.
    """
    return _hook().get_collection(name)


def get_collections() -> dict[str, Collection]:
    """All collections of the process's hook.

    Raises:
        RuntimeError: there is no hook.
    """
    return _hook().get_collections()


def _hook() -> Hook:
    found: Hook | None = get_hook()
    if found is None:
        raise RuntimeError("There is no hook yet: make one by smd.Hook(…) first.")
    return found
