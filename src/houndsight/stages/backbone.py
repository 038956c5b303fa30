"""Stage 2: choose the pretrained network."""

from __future__ import annotations

from houndsight.data.folder import ImageFolder
from houndsight.models.backbone import Backbone, load_backbone
from houndsight.stages.context import Context

__all__ = ["choose"]

PROBE_SHARE = 0.15
"""Of the time budget, at most this much goes into choosing."""


def choose(context: Context, photos: ImageFolder) -> Backbone:
    """The backbone the settings name, or the best of those at hand by a probe.

    Raises:
        WeightsError: no weights are at hand; the sentence lists how to get some.
    """
    from houndsight.models.backbone import available_backbones
    from houndsight.models.choose import choose_backbone

    name = context.config.run.backbone
    done = context.done("backbone")
    if done is not None:
        name = str(done["name"])
    elif name == "auto":
        candidates = available_backbones()
        with context.stage("backbone", "Choosing the backbone") as outcome:
            choice = choose_backbone(
                candidates,
                photos.split("train"),
                seconds=context.config.run.minutes * 60 * PROBE_SHARE,
                cache=context.cache,
                listener=context.within("backbone"),
            )
            name = choice.name
            outcome.values = {"name": name}
            outcome.text = choice.text
            context.run.set_results(backbone_ranking=choice.to_json())
    backbone = load_backbone(name)
    return backbone
