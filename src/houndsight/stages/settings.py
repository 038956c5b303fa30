"""Settings of the whole job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting

__all__ = ["RunSettings"]


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """How long a run may take and what it tries."""

    section: ClassVar[str] = "run"

    minutes: float = setting(10.0, minimum=0.1, maximum=100_000)
    """Wall time for the whole run, in minutes; the plan is cut to fit it."""
    backbone: str = setting("auto")
    """A pretrained network by name, a weights file, or `auto` to probe those at hand."""
    finetune: str = setting("auto", choices=("auto", "always", "never"))
    """Whether the last stage of the network is fine-tuned: `auto` where the time allows."""
    small: int = setting(1_000, minimum=0)
    """Below this many photos, and with no test split given, figures come from repeated k-fold."""
    graph: str = setting("openvino", choices=("openvino", "onnx", "none"))
    """The inference graph saved with the model."""
    pdf: bool = setting(True)
    """Whether the report is written as PDF too, beside HTML."""
    seed: int = setting(0, minimum=0)
    """Seed of the search and of the training; `data.seed` is that of the split."""
