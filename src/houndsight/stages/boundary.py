"""What fine-tuning reads: cached activations at the boundary, or photos where those will not do."""

from __future__ import annotations

from houndsight.data.folder import ImageFolder, Split
from houndsight.models.backbone import Backbone
from houndsight.models.features import CachedFeatures
from houndsight.stages.context import Context
from houndsight.training.batches import ActivationBatches, Batches
from houndsight.training.images import ImageBatches
from houndsight.training.recipe import Recipe

__all__ = ["evaluation_batches", "training_batches"]


def training_batches(
    context: Context, photos: ImageFolder, backbone: Backbone, recipe: Recipe
) -> tuple[Batches, Batches]:
    """Cached activations at the boundary; photos when pixels change, or the cache is too small."""
    train, valid = photos.split("train"), photos.split("valid")
    if not _from_boundary(context, photos, backbone, recipe):
        workers, limit = context.config.data.workers, context.config.data.max_pixels
        preprocessing = backbone.preprocessing
        return (
            ImageBatches(train, preprocessing, recipe=recipe, workers=workers, max_pixels=limit),
            ImageBatches(valid, preprocessing, workers=workers, max_pixels=limit),
        )
    # Mirrored first: the plain view comes out of the same decoding.
    turned = None
    if recipe.flip:
        turned = _activations(context, backbone, train, "train", mirrored=True)
    plain = _activations(context, backbone, train, "train")
    batches = ActivationBatches(
        plain.array,
        train.labels,
        train.ids,
        recipe=recipe,
        mirrored=None if turned is None else turned.array,
        valid=plain.valid,
    )
    return batches, evaluation_batches(context, photos, backbone, "valid", stage="train")


def evaluation_batches(
    context: Context, photos: ImageFolder, backbone: Backbone, split: str, *, stage: str
) -> Batches:
    """A split to evaluate a fine-tuned network on, by the same way that it was trained.

    The trunk is as it was, so its activations come from the quick runtime and the cache.
    """
    chosen, recipe = photos.split(split), context.config.training
    if not _from_boundary(context, photos, backbone, recipe):
        return ImageBatches(
            chosen,
            backbone.preprocessing,
            workers=context.config.data.workers,
            max_pixels=context.config.data.max_pixels,
        )
    found = _activations(context, backbone, chosen, stage)
    return ActivationBatches(found.array, chosen.labels, chosen.ids, valid=found.valid)


def _from_boundary(
    context: Context, photos: ImageFolder, backbone: Backbone, recipe: Recipe
) -> bool:
    """Whether the last stage can be trained on cached activations."""
    rows = len(photos) + (len(photos.split("train")) if recipe.flip else 0)
    fits = context.cache.fits(backbone, rows)
    return fits and not recipe.randaugment and recipe.trainable != "all"


def _activations(
    context: Context, backbone: Backbone, split: Split, stage: str, *, mirrored: bool = False
) -> CachedFeatures:
    return context.cache.features(
        backbone,
        split,
        cut="boundary",
        mirrored=mirrored,
        runtime=context.config.models.runtime_name,
        workers=context.config.data.workers,
        max_pixels=context.config.data.max_pixels,
        listener=context.within(stage),
        stage=stage,
    )
