"""The one hook of a process."""

from __future__ import annotations

from typing import Any

__all__ = ["del_hook", "get_hook", "set_hook"]

_hook: Any = None


def get_hook(
    *,
    json_config_path: str | None = None,
    hook_class: Any = None,
    create_if_not_exists: bool = False,
) -> Any:
    """The hook; without one None, or one made as the configuration says where there is one."""
    if _hook is None and create_if_not_exists:
        if hook_class is None:
            raise ValueError("Cannot create hook because hook_class is None")
        try:
            set_hook(hook_class.create_from_json_file(json_file_path=json_config_path))
        except FileNotFoundError:
            return None
    return _hook


def set_hook(custom_hook: Any) -> None:
    """Make `custom_hook` the one."""
    global _hook
    _hook = custom_hook


def del_hook() -> None:
    """Have none."""
    global _hook
    _hook = None
