"""JSON as SDKs write it, which is not always JSON."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["lenient_json"]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])|\b(?:True|False|None)\b', re.DOTALL)
_PYTHON = {"True": "true", "False": "false", "None": "null"}


def lenient_json(text: str) -> Any:
    """The value of `text`: commas before a closing bracket and Python's constants are let pass.

    `ProfilingParameters` of SDK 2 have both. Nothing is ever evaluated.

    Raises:
        ValueError: it is no JSON even so.
    """
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(_TOKEN.sub(_mended, text))


def _mended(found: re.Match[str]) -> str:
    token = found[0]
    if token.startswith('"'):
        return token
    return "" if token == "," else _PYTHON[token]
