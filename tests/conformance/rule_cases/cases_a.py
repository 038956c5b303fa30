from __future__ import annotations

from houndsight.debugger.testing import Case

CASES: dict[str, tuple[list[Case], list[Case]]] = {}
