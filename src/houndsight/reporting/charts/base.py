"""What every chart starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

__all__ = ["chart_of"]


def chart_of(rows: Sequence[Mapping[str, Any]]) -> Any:
    """An empty chart of `rows`, which travel inside the specification as data."""
    return alt.Chart(alt.Data(values=list(rows)))  # type: ignore[no-untyped-call]
