"""The one hook of a process that trains with PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import singleton_utils
from ..core.singleton_utils import del_hook, set_hook

if TYPE_CHECKING:
    from .hook import Hook

__all__ = ["del_hook", "get_hook", "set_hook"]


def get_hook(
    json_config_path: str | None = None, create_if_not_exists: bool = False
) -> Hook | None:
    """The hook; without one None, or one made as the job's configuration says."""
    from .hook import Hook

    found: Hook | None = singleton_utils.get_hook(
        json_config_path=json_config_path,
        hook_class=Hook,
        create_if_not_exists=create_if_not_exists,
    )
    return found
