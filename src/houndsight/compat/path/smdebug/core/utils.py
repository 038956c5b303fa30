"""Small helpers that scripts and notebooks import from here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["FRAMEWORK", "ensure_dir", "flatten", "is_s3", "match_inc", "split", "step_in_range"]


class FRAMEWORK(Enum):
    """Frameworks by their names in file names."""

    TENSORFLOW = 0
    PYTORCH = 1
    MXNET = 2
    XGBOOST = 3


def is_s3(path: Any) -> tuple[bool, str | None, str | None]:
    """Whether `path` is an S3 URI, with its bucket and prefix."""
    found = re.match(r"s3://([^/]+)/?(.*)$", str(path), re.IGNORECASE)
    return (True, found.group(1), found.group(2)) if found else (False, None, None)


def split(comma_separated_string: Any) -> list[str]:
    """`"a, b"` → `["a", "b"]`; commas in brackets do not separate."""
    if comma_separated_string is None:
        return []
    parts, depth = [""], 0
    for letter in str(comma_separated_string):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def flatten(lis: Iterable[Any]) -> list[Any]:
    """Lists in lists as one."""
    found: list[Any] = []
    for item in lis:
        found += flatten(item) if isinstance(item, list | tuple | set) else [item]
    return found


def match_inc(tname: str, include: Iterable[str] | str | None) -> bool:
    """Whether one of the expressions is found in the name."""
    patterns = [include] if isinstance(include, str) else list(include or ())
    return any(re.search(pattern, tname) for pattern in patterns)


def step_in_range(range_steps: tuple[int | None, int | None], step: int) -> bool:
    """Whether first <= step < end."""
    first, end = range_steps
    return (first is None or step >= first) and (end is None or step < end)


def parse_bool(value: Any, default: bool = False) -> bool:
    """`"True"`, `"true"`, `1` → True."""
    if value is None:
        return default
    return value if isinstance(value, bool) else str(value).strip().lower() in ("true", "1", "yes")


def ensure_dir(file_path: str, is_file: bool = True) -> None:
    """Make the folder of a file, or the folder itself."""
    folder = Path(file_path).parent if is_file else Path(file_path)
    folder.mkdir(parents=True, exist_ok=True)


def get_node_id() -> str:
    """This process and host, as file names have it."""
    return f"{os.getpid()}-{os.environ.get('SM_CURRENT_HOST', 'algo-1')}"
