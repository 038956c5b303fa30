"""Stage 2: choose the pretrained network, and fit its preprocessing to the photos.

PyTorch is imported when the stage has begun: a person sees what the seconds are spent on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.data.fit import fitted
from houndsight.data.folder import ImageFolder
from houndsight.errors import WeightsError
from houndsight.models.table import BACKBONES
from houndsight.stages.context import Context

if TYPE_CHECKING:
    from houndsight.models.backbone import Backbone

__all__ = ["choose", "require_known"]

PROBE_SHARE = 0.15
"""Of the time budget, at most this much goes into choosing."""


def choose(context: Context, photos: ImageFolder) -> Backbone:
    """The backbone the settings name, or the best of those at hand by a probe.

    Raises:
        WeightsError: no weights are at hand; the sentence lists how to get some.
    """
    done = context.done("backbone")
    if done is not None:
        return _load(context, str(done["name"]))
    with context.stage("backbone", "Choosing the backbone") as outcome:
        name = context.config.run.backbone
        outcome.text = f"Backbone {name}, as set"
        if name == "auto":
            name, outcome.text = _probe(context, photos)
        backbone = _load(context, name)
        outcome.values = {"name": name}
        context.run.set_results(
            backbone={
                "name": backbone.name,
                "weights_hash": backbone.weights_hash,
                "source": backbone.origin,
                "licence": backbone.licence,
            },
            preprocessing=backbone.preprocessing.to_json(),
        )
    return backbone


def require_known(name: str) -> None:
    """Stop before any work when no such backbone exists.

    Raises:
        WeightsError: the name is neither in the table nor a file.
    """
    if name != "auto" and name not in BACKBONES and not Path(name).is_file():
        raise WeightsError(
            f"There is no backbone {name!r}; there are auto, {', '.join(BACKBONES)}, "
            "or the path of a weights file."
        )


def _load(context: Context, name: str) -> Backbone:
    """A backbone that sees photos the way this run shows them."""
    from houndsight.models.backbone import load_backbone

    backbone = load_backbone(name)
    backbone.preprocessing = fitted(
        backbone.preprocessing,
        fit=str(context.run.stages["check"]["fit"]),
        size=context.config.data.size,
    )
    return backbone


def _probe(context: Context, photos: ImageFolder) -> tuple[str, str]:
    """The best backbone at hand by a probe, and a line that says by how much.

    Importing PyTorch counts into the probe's share of the time.
    """
    begun = time.monotonic()
    from houndsight.models.backbone import available_backbones
    from houndsight.models.choose import PASS_SECONDS_PER_PROBE_SECOND, choose_backbone

    share = context.config.run.minutes * 60 * PROBE_SHARE
    choice: Any = choose_backbone(
        available_backbones(),
        photos.split("train"),
        load=lambda name: _load(context, name),
        photos=len(photos),
        seconds=max(share - (time.monotonic() - begun), 1.0),
        pass_seconds=share * PASS_SECONDS_PER_PROBE_SECOND,
        cache=context.cache,
        runtime=context.config.models.runtime_name,
        workers=context.config.data.workers,
        max_pixels=context.config.data.max_pixels,
        listener=context.within("backbone"),
    )
    context.run.set_results(backbone_ranking=choice.to_json())
    return choice.name, choice.text
