"""Groups of photos that belong on one side of a split: one patient, camera or video.

A specification is `level:2` (a folder of the path), `column:patient` (a column of the label
table) or `pattern:(patient[0-9]+)_` (what a regular expression's one group matches in the file
name).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from houndsight.errors import DataError, SettingError

__all__ = ["GroupBy", "groups_of", "parse_group"]

_FORMS = "level:2, column:patient or pattern:(patient[0-9]+)_"
_CHUNK = 65_536


@dataclass(frozen=True)
class GroupBy:
    """A parsed specification: `kind` is `level`, `column` or `pattern`."""

    kind: str
    value: str

    @property
    def level(self) -> int:
        """Which folder of the path, 1 for the first below the root."""
        return int(self.value)


def parse_group(specification: str) -> GroupBy:
    """Read a specification such as `level:2`.

    Raises:
        SettingError: it has none of the three forms, or its value is not usable.
    """
    kind, _, value = specification.partition(":")
    if kind not in ("level", "column", "pattern") or not value:
        raise SettingError(f"data.group is {specification!r}; it must look like {_FORMS}.")
    if kind == "level" and not re.fullmatch(r"[1-9][0-9]{0,2}", value):
        raise SettingError(
            f"data.group is {specification!r}; the level must be a number from 1, "
            "which is the first folder below the root."
        )
    if kind == "pattern":
        _compile(specification, value)
    return GroupBy(kind, value)


def groups_of(paths: Any, by: GroupBy) -> Any:
    """The group of each path, null where it has none.

    Args:
        paths: Arrow string array (n,), relative to the root, with `/`.
        by: `level` or `pattern`; a column is read with its table.

    Returns:
        Arrow string array (n,).

    Raises:
        DataError: not one path has a group.
    """
    import pyarrow as pa  # late, because settings are read for every --help

    assert by.kind != "column", "a column is read with its table"
    find = _folder_finder(by.level) if by.kind == "level" else _pattern_finder(by.value)
    chunks = [
        pa.array([find(path) for path in paths.slice(start, _CHUNK).to_pylist()], pa.string())
        for start in range(0, len(paths), _CHUNK)
    ]
    groups = pa.chunked_array(chunks, pa.string()).combine_chunks()
    if len(paths) and groups.null_count == len(groups):
        raise DataError(
            f"data.group is {by.kind}:{by.value}, but no photo has such a group; the first path "
            f"is {paths[0].as_py()!r}. The group must look like {_FORMS}."
        )
    return groups


def _folder_finder(level: int) -> Any:
    def find(path: str) -> str | None:
        parts = path.split("/")
        return parts[level - 1] if level < len(parts) else None

    return find


def _pattern_finder(value: str) -> Any:
    pattern = re.compile(value)

    def find(path: str) -> str | None:
        match = pattern.search(path.rsplit("/", 1)[-1])
        return match.group(1) if match else None

    return find


def _compile(specification: str, value: str) -> None:
    try:
        groups = re.compile(value).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise SettingError(
            f"data.group is {specification!r}, which is not a regular expression: {error}."
        ) from error
    if groups != 1:
        raise SettingError(
            f"data.group is {specification!r}; the pattern must have exactly one pair of "
            f"capturing brackets around what names the group, it has {groups}."
        )
