"""Settings of the whole job."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from houndsight.config import Settings, setting
from houndsight.errors import SettingError

__all__ = ["RunSettings", "run_settings"]


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
    """Seed of the search and of the training, where `tuning.seed` and `training.seed` are 0;
    `data.seed` is that of the split."""


def run_settings(given: Mapping[str, Any]) -> RunSettings:
    """Settings from a call's keywords.

    Raises:
        SettingError: there is no such setting, or it has a value it cannot have.
    """
    known = [field.name for field in RunSettings.describe()]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}? There" if near else "there"
            raise SettingError(
                f"run() has no setting {name!r}; {meant} are {', '.join(known)}. "
                "Those of other sections, such as tuning.trials, go into a RunConfig."
            )
    return RunSettings(**given)
