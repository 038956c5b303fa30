"""Reductions of arrays that were saved whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from .reduction_config import ALLOWED_NORMS, ALLOWED_REDUCTIONS

__all__ = ["get_numpy_reduction"]


def get_numpy_reduction(reduction_name: str, numpy_data: Any, abs: bool = False) -> Any:
    """One figure of an array.

    Raises:
        ValueError: there is no such reduction.
    """
    data = np.abs(numpy_data) if abs else np.asarray(numpy_data)
    plain = reduction_name.removesuffix("_norm")
    if plain in ALLOWED_NORMS:
        return np.linalg.norm(data.reshape(-1), ord=int(plain[1]))
    if plain not in [*ALLOWED_REDUCTIONS, "median"]:
        raise ValueError(
            f"There is no reduction {reduction_name!r}; there are "
            f"{', '.join([*ALLOWED_REDUCTIONS, 'median', *ALLOWED_NORMS])}."
        )
    return getattr(np, {"variance": "var"}.get(plain, plain))(data)
