"""The hyperparameters of a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting
from houndsight.training.heads.balance import BALANCES
from houndsight.training.heads.normalisation import NORMALISATIONS

__all__ = ["HeadParameters"]


@dataclass(frozen=True, kw_only=True)
class HeadParameters(Settings):
    """The hyperparameters of one head."""

    section: ClassVar[str] = "head"

    weight_decay: float = setting(1e-4, minimum=0.0)
    """Factor of half the squared weights, beside the mean loss of a photo."""
    label_smoothing: float = setting(0.0, minimum=0.0, maximum=0.9)
    """Share of a label's probability that is spread over all classes."""
    shrinkage: float = setting(1.0, minimum=0.0, maximum=1.0)
    """At 1 the weight decay holds for all directions of the features alike; the smaller, the
    more it bears on those along which photos of one class differ."""
    balance: str = setting("none", choices=BALANCES)
    """How class imbalance is treated."""
    balance_strength: float = setting(1.0, minimum=0.0, maximum=2.0)
    """How strongly: 0 not at all, 1 in full."""
    normalise: str = setting("none", choices=NORMALISATIONS)
    """What happens to a photo's features before the linear layer."""
