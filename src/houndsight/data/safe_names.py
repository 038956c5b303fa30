"""Names from archives, buckets and tables that must not lead out of a folder."""

from __future__ import annotations

import re

__all__ = ["inside_parts"]

_DRIVE = re.compile(r"[A-Za-z]:")


def inside_parts(name: str) -> tuple[str, ...] | None:
    """The parts of a relative path, or None when the path leads out of its folder.

    Backslashes count as separators, as Windows writes them and as an attacker may.
    Empty parts and `.` are left out; no parts mean the folder itself.
    """
    name = name.replace("\\", "/")
    if name.startswith("/") or _DRIVE.match(name) or "\0" in name:
        return None
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    return None if ".." in parts else parts
