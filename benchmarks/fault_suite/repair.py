"""Apply what a diagnosis proposes to the training it is about, and nothing else.

A key of `Cause.change` is a setting of a script; what has no place in these trainings, such as
the number of workers, changes nothing. The fault is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from fault_suite.plan import twin
from fault_suite.spec import Spec

__all__ = ["default_recipe", "repaired"]

MOST = 3
"""A change of more settings than this replaces the recipe and is no diagnosis."""
Change = Callable[[Spec, Any], Spec]


def _set(name: str) -> Change:
    return lambda spec, value: replace(spec, **{name: value})


def _constant(**values: Any) -> Change:
    return lambda spec, _: replace(spec, **values)


def _learning_rate(spec: Spec, rate: Any) -> Spec:
    """The largest rate of the schedule becomes this one: the rest is held under it, or raised."""
    rate, largest = float(rate), max(spec.rate_at(step) for step in range(spec.steps))
    if rate >= largest:
        return replace(spec, learning_rate=spec.learning_rate * rate / largest)
    if rate < spec.learning_rate:
        peaks = spec.bump > 1 or spec.sweep
        return replace(spec, learning_rate=rate, rate_limit=rate if peaks else None)
    return replace(spec, rate_limit=rate)


def _times(spec: Spec, factor: Any) -> Spec:
    return replace(spec, learning_rate=spec.learning_rate * float(factor))


def _group_rate(spec: Spec, factor: Any) -> Spec:
    """The group that stood still gets so much of the other's learning rate."""
    return replace(spec, backbone_factor=float(factor))


def _finite(spec: Spec, _: Any) -> Spec:
    """Photos with values that are not finite are left out."""
    return replace(spec, inputs="normalised") if spec.inputs == "not finite" else spec


def _backbone_rate(spec: Spec, rate: Any) -> Spec:
    return replace(spec, backbone_factor=float(rate) / spec.learning_rate)


def _betas(spec: Spec, betas: Any) -> Spec:
    return replace(spec, beta1=float(betas[0]), beta2=float(betas[1]))


def _remove(spec: Spec, name: Any) -> Spec:
    """A layer at the end of the network, by its kind, or one normalisation of two."""
    if "normalis" in str(name):
        if spec.evaluation_inputs == "twice":
            return replace(spec, evaluation_inputs="same")
        spec = _inputs("normalised in place")(spec, None)
        return replace(spec, inputs="normalised") if spec.inputs == "twice" else spec
    if str(name).lower() in ("dropout", "droppath"):
        return _dropout(spec, 0.0)
    if "revers" in str(name).lower():
        return replace(spec, features_gradient=1.0)
    there = spec.output.split()[-1]
    return replace(spec, output="none") if there in str(name).lower() else spec


def _zero_grad(spec: Spec, where: Any) -> Spec:
    return replace(spec, zero_grad="after" if where == "after step" else "before")


def _requires_grad(spec: Spec, wanted: Any) -> Spec:
    return replace(spec, frozen="none" if wanted else "backbone", misspelt=False)


def _initialised(spec: Spec, kind: Any) -> Spec:
    return replace(spec, initialisation=str(kind))


def _activated(spec: Spec, kind: Any) -> Spec:
    return replace(spec, activation=str(kind))


def _head_scale(spec: Spec, value: Any) -> Spec:
    """What logits are multiplied by."""
    return _new_head(replace(spec, temperature=1.0), value)


def _new_head(spec: Spec, _: Any) -> Spec:
    spec = replace(spec, cosine_head=False)
    return replace(spec, initialisation="default") if "head" in spec.initialisation else spec


def _trained(spec: Spec, _: Any) -> Spec:
    return replace(spec, mode="train")


DROPOUTS = ("output_dropout", "functional_dropout", "photo_dropout", "drop_path")


def _dropout(spec: Spec, share: Any) -> Spec:
    """The dropout that is there; that of the features comes last."""
    there = next((name for name in DROPOUTS if getattr(spec, name)), "dropout")
    return _set(there)(spec, float(share))


def _longer(spec: Spec, factor: Any) -> Spec:
    return replace(spec, steps=round(spec.steps * float(factor)))


def _blank_left_out(spec: Spec, _: Any) -> Spec:
    return replace(spec, inputs="blank left out") if spec.inputs == "blank" else spec


def _mapped(spec: Spec, _: Any) -> Spec:
    """Training labels from the mapping of the evaluation, which mends no label that is noise."""
    mended = spec.labels in ("two swapped", "merged", "constant", "from one", "clamped")
    return replace(spec, labels="true") if mended else spec


def _paired(spec: Spec, _: Any) -> Spec:
    """Labels and photos from one list again, which mends no label that is noise."""
    mended = spec.labels in ("shuffled", "of previous batch", "shifted")
    return replace(spec, labels="true") if mended else spec


def _targets(spec: Spec, _: Any) -> Spec:
    """The loss compares with the labels that there are."""
    return replace(spec, labels="true") if spec.labels == "predicted" else spec


def _evaluation_classes(spec: Spec, _: Any) -> Spec:
    """Evaluation labels from the mapping of the training, which pairs no label anew."""
    if spec.labels == "from one":  # Then both begin with 1.
        return replace(spec, labels="true")
    return spec if spec.evaluation_labels == "shuffled" else replace(spec, evaluation_labels="true")


def _evaluation_paired(spec: Spec, _: Any) -> Spec:
    """Evaluation labels and photos from one list again."""
    return replace(spec, evaluation_labels="true") if spec.evaluation_labels == "shuffled" else spec


def _inputs(*kinds: str) -> Change:
    """Photos as they should be, if it is one of these that is wrong with them."""
    return lambda spec, _: replace(spec, inputs="normalised") if spec.inputs in kinds else spec


OTHER = ("reshaped", "four pixels", "marked", "cast", "random", "same names", "normalised in place")
"""What is wrong with photos, and not mended by normalising them."""


def _normalised(spec: Spec, _: Any) -> Spec:
    """Normalising, which mends neither what photos show nor how they are laid out."""
    return spec if spec.inputs in OTHER else replace(spec, inputs="normalised")


def _loss(spec: Spec, loss: Any) -> Spec:
    """Another loss; the head of a regression gets an output for each class with it."""
    outputs = None if spec.loss == "index" else spec.head_outputs
    return replace(spec, loss=str(loss), head_outputs=outputs)


def _unweighted(spec: Spec, _: Any) -> Spec:
    balance = "none" if spec.balance == "inverted weights" else spec.balance
    return replace(spec, zero_weight=False, first_weight=1.0, balance=balance)


def _algorithm(spec: Spec, name: Any) -> Spec:
    return replace(spec, algorithm=str(name).lower())


def _width(spec: Spec, width: Any) -> Spec:
    """Of the narrow layer that is there."""
    return spec if spec.bottleneck is None else replace(spec, bottleneck=int(width))


def _mixed_labels(spec: Spec, _: Any) -> Spec:
    """Labels mixed as the photos are."""
    cutmix = "right" if spec.cutmix == "labels kept" else spec.cutmix
    return replace(spec, mixup_reversed=False, mixup_labels=True, cutmix=cutmix)


def _penalty(spec: Spec, factor: Any) -> Spec:
    return replace(spec, penalty=spec.penalty * float(factor), l1=spec.l1 * float(factor))


def _sign(spec: Spec, _: Any) -> Spec:
    """The loss's sign, and not what it is scaled by."""
    factor = spec.loss_factor if 0 < spec.loss_factor < 1 else 1.0
    return replace(spec, loss_factor=factor, maximize=False)


def _batch_size(spec: Spec, size: Any) -> Spec:
    """Where the epochs are given and a batch is very large, smaller ones are more steps."""
    steps = round(spec.steps * spec.batch_size / int(size)) if spec.batch_size >= 512 else None
    return replace(spec, batch_size=int(size), steps=steps or spec.steps)


def _augmentation(spec: Spec, kind: Any) -> Spec:
    """Pieces of other photos are an augmentation too."""
    return replace(spec, augmentation=str(kind), cutmix="none")


def _as_in_training(spec: Spec, _: Any) -> Spec:
    """Evaluation photos as those of the training, which may always be grey."""
    grey = spec.augmentation == "grey"
    return replace(spec, evaluation_inputs="grey" if grey else "same")


def _balance(spec: Spec, way: Any) -> Spec:
    """In place of a sampler that prefers a class."""
    order = "shuffled" if spec.order == "mostly one class" else spec.order
    return replace(spec, balance=str(way), order=order)


def _split(spec: Spec, _: Any) -> Spec:
    """What is chosen of a list that is sorted by class is drawn from all of it."""
    subset = "random third" if spec.subset == "first third" else spec.subset
    return replace(spec, split="random", subset=subset)


def _all_classes(spec: Spec, _: Any) -> Spec:
    """Photos of every class in the training, with their own labels."""
    labels = "true" if spec.labels == "clamped" else spec.labels
    return replace(spec, missing_class=False, split="random", subset="all", labels=labels)


CHANGES: Mapping[str, Change] = {
    "learning_rate": _learning_rate,
    "learning_rate_factor": _times,
    "group_learning_rate_factor": _group_rate,
    "backbone.learning_rate": _backbone_rate,
    "backbone.requires_grad": _requires_grad,
    "freeze": _constant(frozen="backbone", misspelt=False),
    "momentum": _set("momentum"),
    "betas": _betas,
    "eps": _set("eps"),
    "weight_decay": _set("weight_decay"),
    "clip_norm": _set("clip_norm"),
    "gradient_clipping": _set("clip_norm"),
    "clip_value": _set("clip_value"),
    "batch_size": _batch_size,
    "schedule": _constant(
        schedule="constant",
        step_factor=1.0,
        schedule_steps=None,
        decay_every=None,
        schedule_factor=1.0,
        schedule_start=0,
        epoch_factor=1.0,
        sweep=0,
    ),
    "warmup": _set("warmup"),
    "optimizer.zero_grad": _zero_grad,
    "optimizer.step": _constant(stepped_every=1, stepped="after backward"),
    "optimizer.parameters": _constant(held="all", registered=True),
    "loss": _loss,
    "loss.weight": _unweighted,
    "loss.reduction": _set("reduction"),
    "loss.ignore_index": _constant(ignored_class=None),
    "loss.sign": _sign,
    "label_smoothing": _set("label_smoothing"),
    "remove": _remove,
    "balance": _balance,
    "patience": _set("patience"),
    "head.out_features": _set("head_outputs"),
    "head": _new_head,
    "initialisation": _initialised,
    "activation": _activated,
    "dropout": _dropout,
    "batchnorm.momentum": _set("batchnorm_momentum"),
    "batchnorm.train": _trained,
    "model.train": _trained,
    "model.eval": _constant(evaluation_mode="eval"),
    "inputs.normalise": _normalised,
    "inputs.finite": _finite,
    "normalise": _normalised,
    "evaluation.preprocessing": _as_in_training,
    "evaluation.class_to_idx": _evaluation_classes,
    "shuffle": _constant(order="shuffled"),
    "pretrained": _set("pretrained"),
    "augmentation": _augmentation,
    "backward": _constant(backward="loss"),
    "weights.clamp": _set("weight_limit"),
    "average.decay": _set("average"),
    "steps_factor": _longer,
    "labels.mapping": _mapped,
    "mixup": lambda spec, wanted: replace(spec, mixup=wanted, cutmix="none"),
    "inputs.blank": _blank_left_out,
    "forward.reshape": _constant(mixes=False),
    "head.scale": _head_scale,
    "loss.examples": _constant(loss_examples=None),
    "loss.factor": _constant(loss_factor=1.0, divided=True, grad_scale=1.0),
    "loss.penalty_factor": _penalty,
    "model.made": _constant(redrawn=False, head_remade=False),
    "weights.overwritten": _constant(
        weight_limit=None,
        redrawn=False,
        reloaded=False,
        restored=True,
        evaluation_weights="own",
    ),
    "labels.classes": _all_classes,
    "labels.pairing": _paired,
    "examples": _constant(examples=None, subset="all"),
    "forward.detached": _constant(detached=False),
    "inputs.loading": _inputs("constant", "cast", "random", "same names", "normalised in place"),
    "inputs.cast": _inputs("cast"),
    "inputs.layout": _inputs("reshaped"),
    "inputs.resolution": _inputs("four pixels"),
    "inputs.mark": _inputs("marked"),
    "optimizer": _algorithm,
    "optimizer.maximize": _constant(maximize=False),
    "dampening": _set("dampening"),
    "checkpoint.load": _constant(reloaded=False, evaluation_weights="own"),
    "forward.gradient_factor": _set("features_gradient"),
    "loss.gamma": _set("gamma"),
    "loss.temperature": _set("temperature"),
    "loss.targets": _targets,
    "mixup.labels": _mixed_labels,
    "evaluation.pairing": _evaluation_paired,
    "evaluation.buffers": _constant(buffers_copied=True),
    "split": _split,
    "dropout.training": _constant(functional_dropout=0.0),
    "drop_path": _set("drop_path"),
    "layer.width": _width,
    "head.hidden_features": _width,
    "model.modules": _constant(registered=True, head_remade=False),
    "model.skips": _constant(skips=True),
    "model.normalisation": _set("normalisation"),
    "batchnorm.track_running_stats": _constant(running_statistics=True),
    "accumulation.divided": _constant(divided=True),
    "average.restored": _constant(restored=True),
    "evaluation.weights": _constant(evaluation_weights="own"),
}


def repaired(spec: Spec, change: Mapping[str, Any]) -> Spec | None:
    """The training with the change made; None where it proposes none, or a whole recipe."""
    if not change or len(change) > MOST:
        return None
    for key, value in change.items():
        if key in CHANGES:
            spec = CHANGES[key](spec, value)
    return spec


RECIPE = (
    "learning_rate",
    "steps",
    "batch_size",
    "momentum",
    "dampening",
    "algorithm",
    "beta1",
    "beta2",
    "eps",
    "weight_decay",
    "schedule",
    "warmup",
    "step_factor",
    "decay_every",
    "schedule_factor",
    "schedule_start",
    "epoch_factor",
    "sweep",
    "bump",
    "backbone_factor",
    "clip_norm",
    "clip_value",
    "accumulation",
    "divided",
    "label_smoothing",
    "dropout",
)
"""What a recipe says: the optimizer's settings and the regularisation."""


def default_recipe(spec: Spec) -> Spec:
    """The training with the default recipe in place of its own, all else as it was."""
    assert set(RECIPE) <= {field.name for field in fields(spec)}
    default = twin(spec)
    return replace(spec, **{name: getattr(default, name) for name in RECIPE})
