"""Writing files so that a process killed at any moment leaves nothing half."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["append_json_line", "read_json_lines", "write_atomic"]


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that a reader sees the old or the new, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def append_json_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON object as a line; a torn last line of a killed writer is ended first."""
    line = json.dumps(row, allow_nan=False, default=str).encode() + b"\n"
    with path.open("ab+") as file:
        if _ends_torn(file):
            file.write(b"\n")
        file.write(line)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a JSON-lines file; lines a killed writer tore are left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _ends_torn(file: IO[bytes]) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"
