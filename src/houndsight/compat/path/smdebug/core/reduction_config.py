"""Which figures of tensors are saved instead of, or beside, the tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..exceptions import SMDebugValueError
from .utils import parse_bool, split

__all__ = ["ALLOWED_NORMS", "ALLOWED_REDUCTIONS", "ReductionConfig"]

ALLOWED_REDUCTIONS = ["min", "max", "mean", "std", "variance", "sum", "prod"]
ALLOWED_NORMS = ["l1", "l2"]


class ReductionConfig:
    """Reductions and norms, of the values or of their magnitudes.

    Raises:
        SMDebugValueError: there is no such reduction.
    """

    def __init__(
        self,
        reductions: Sequence[str] | None = None,
        abs_reductions: Sequence[str] | None = None,
        norms: Sequence[str] | None = None,
        abs_norms: Sequence[str] | None = None,
        save_raw_tensor: bool = False,
        save_shape: bool = False,
    ) -> None:
        self.reductions = list(reductions or ())
        self.abs_reductions = list(abs_reductions or ())
        self.norms = list(norms or ())
        self.abs_norms = list(abs_norms or ())
        self.save_raw_tensor = save_raw_tensor
        self.save_shape = save_shape
        self._check()

    def _check(self) -> None:
        for what, allowed in (
            ("reductions", ALLOWED_REDUCTIONS),
            ("abs_reductions", ALLOWED_REDUCTIONS),
            ("norms", ALLOWED_NORMS),
            ("abs_norms", ALLOWED_NORMS),
        ):
            unknown = [name for name in getattr(self, what) if name not in allowed]
            if unknown:
                raise SMDebugValueError(
                    f"{what} can only be one of {','.join(allowed)}, not {unknown[0]}"
                )
        for what in ("save_raw_tensor", "save_shape"):
            if not isinstance(getattr(self, what), bool):
                raise SMDebugValueError(f"{what}={getattr(self, what)} must be a boolean")

    @property
    def kinds(self) -> tuple[str, ...]:
        """All of them, as Houndsight names them: `mean`, `abs_max`, `l2`, `abs_l1` …"""
        plain = [*self.reductions, *self.norms]
        return (*plain, *(f"abs_{name}" for name in [*self.abs_reductions, *self.abs_norms]))

    @classmethod
    def from_dict(cls, params: Mapping[str, Any] | None) -> ReductionConfig | None:
        """From JSON: `reductions` is a text such as `mean,abs_max,l2_norm,abs_l1_norm`.

        The norms may also stand in it as the guide lists them, `l1` and `l2`.
        """
        if params is None:
            return None
        if not isinstance(params, Mapping):
            raise SMDebugValueError(f"params={params} must be dict")
        found: dict[str, list[str]] = {
            name: [] for name in ("reductions", "abs_reductions", "norms", "abs_norms")
        }
        for name in split(params.get("reductions", "")):
            plain = name.removeprefix("abs_").removesuffix("_norm")
            kind = "norms" if plain in ALLOWED_NORMS else "reductions"
            found["abs_" * name.startswith("abs_") + kind].append(plain)
        return cls(
            **found,
            save_raw_tensor=parse_bool(params.get("save_raw_tensor")),
            save_shape=parse_bool(params.get("save_shape")),
        )

    @classmethod
    def from_json(cls, json_str: str) -> ReductionConfig | None:
        """From text."""
        return cls.from_dict(json.loads(json_str))

    def to_json_dict(self) -> dict[str, Any]:
        """As `from_dict` takes it."""
        names = [*self.reductions, *(f"{n}_norm" for n in self.norms)]
        names += [f"abs_{n}" for n in self.abs_reductions]
        names += [f"abs_{n}_norm" for n in self.abs_norms]
        return {
            "save_raw_tensor": self.save_raw_tensor,
            "reductions": ",".join(names),
            "save_shape": self.save_shape,
        }

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_json_dict())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReductionConfig):
            return NotImplemented
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<class ReductionConfig: {self.to_json_dict()}>"
