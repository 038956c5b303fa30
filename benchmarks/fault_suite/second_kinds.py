"""The kinds of the second unseen part, which has been for tuning since it was looked at.

Written down with the fixes before any of them was run, after the first unseen part was seen.
"""

from __future__ import annotations

from dataclasses import replace

from fault_suite.fault import (
    COLOURED,
    DIFFERS,
    INITIAL,
    NO_MATCH,
    SCRATCH,
    TOO_HIGH,
    TOO_LOW,
    WRONG_LOSS,
    Fault,
    put,
)

__all__ = ["SECOND"]

SECOND = (
    # -- the optimizer and what is done to the weights
    Fault(
        "schedule_ends_early",
        put(schedule="linear", schedule_steps=12),
        (TOO_LOW, "schedule-too-short"),
        fix={"schedule": "constant"},
    ),
    Fault(
        "rate_and_decay_swapped",
        lambda spec: replace(spec, learning_rate=5e-4, weight_decay=0.05),
        (TOO_LOW, "weight-decay-wrong"),
        optimizers=("sgd",),
        fix={"learning_rate": 0.05, "weight_decay": 5e-4},
    ),
    Fault(
        "step_missing",
        put(stepped_every=10**9),
        ("step-missing", "zero-grad-misplaced", "parameters-not-in-optimizer"),
        fix={"optimizer.step": True},
    ),
    Fault(
        "backward_missing",
        put(backward="missing"),
        ("backward-missing", "detached", "parameters-not-used"),
        fix={"backward": "loss"},
    ),
    Fault(
        "loss_rewrapped",
        put(backward="copy"),
        ("detached", "parameters-not-used", "backward-missing"),
        fix={"backward": "loss"},
    ),
    Fault(
        "weights_clamped",
        put(weight_limit=0.01),
        ("weights-clamped", "weight-decay-wrong", "poor-initialisation"),
        fix={"weights.clamp": None},
    ),
    Fault(
        "average_too_slow",
        put(average=0.9999),
        ("average-too-slow", "evaluation-weights-differ"),
        fix={"average.decay": 0.9},
    ),
    Fault(
        "one_batch_an_epoch",
        put(steps=6),
        ("training-too-short", "data-cut-short", TOO_LOW),
        fix={"steps_factor": 20},
    ),
    # -- the loss
    Fault(
        "loss_summed",
        put(reduction="sum"),
        ("loss-summed", TOO_HIGH, "exploding-gradient", "wrong-loss"),
        fix={"loss.reduction": "mean"},
    ),
    Fault(
        "kl_div_on_logits",
        put(loss="kl_div"),
        ("wrong-loss", "loss-negated"),
        fix={"loss": "cross_entropy"},
    ),
    Fault("bce_on_one_hot", put(loss="bce"), ("wrong-loss",), fix={"loss": "cross_entropy"}),
    Fault(
        "tanh_on_logits",
        put(output="tanh"),
        (*WRONG_LOSS, "saturated-activations", "logits-bounded"),
        fix={"remove": "Tanh"},
    ),
    Fault(
        "cosine_head_unscaled",
        put(cosine_head=True),
        (*WRONG_LOSS, "logits-bounded"),
        fix={"head": "linear"},
    ),
    Fault(
        "first_class_weighs_1000",
        put(first_weight=1000.0),
        ("wrong-loss", "class-imbalance"),
        fix={"loss.weight": None},
    ),
    Fault(
        "dropout_on_logits",
        put(output_dropout=0.8),
        ("dropout-too-strong", "wrong-loss"),
        fix={"remove": "Dropout"},
    ),
    # -- labels
    Fault("two_classes_swapped", put(labels="two swapped"), NO_MATCH, fix={"labels.mapping": 1}),
    Fault("one_class_mislabelled", put(labels="one mislabelled"), (*NO_MATCH, "class-imbalance")),
    Fault(
        "mixup_without_labels",
        put(mixup=True, mixup_labels=False),
        ("labels-noisy", "wrong-loss", "augmentation-too-strong", "mixup-labels"),
        fix={"mixup": False},
    ),
    # -- photos
    Fault(
        "crop_tiny",
        put(augmentation="tiny crop"),
        ("augmentation-too-strong", "preprocessing-differs"),
        fix={"augmentation": "none"},
    ),
    Fault(
        "transforms_swapped",
        put(evaluation_inputs="augmented"),
        (*DIFFERS, "augmentation-too-strong"),
        fix={"evaluation.preprocessing": "as in training"},
    ),
    Fault(
        "evaluation_grey",
        put(evaluation_inputs="grey"),
        DIFFERS,
        data=COLOURED,
        fix={"evaluation.preprocessing": "as in training"},
    ),
    Fault(
        "evaluation_divided_twice",
        put(evaluation_inputs="divided twice"),
        DIFFERS,
        fix={"evaluation.preprocessing": "as in training"},
    ),
    Fault(
        "evaluation_zoomed",
        put(evaluation_inputs="zoomed"),
        DIFFERS,
        fix={"evaluation.preprocessing": "as in training"},
    ),
    Fault(
        "normalised_by_mean_of_255",
        put(inputs="mean of 255"),
        ("inputs-not-normalised", "constant-inputs", "inputs-normalised-twice"),
        fix={"inputs.normalise": True},
    ),
    Fault(
        "photos_blank",
        put(inputs="blank"),
        ("constant-inputs", "photos-missing"),
        fix={"inputs.blank": "left out"},
    ),
    Fault(
        "sampler_of_class_weights",
        put(order="first few"),
        ("small-data", "overfitting", "batches-repeat", "data-cut-short", "class-imbalance"),
        fix={"shuffle": True},
    ),
    # -- the network
    Fault(
        "initialisation_uniform",
        put(initialisation="uniform"),
        (*INITIAL, "exploding-gradient"),
        starts=SCRATCH,
        fix={"initialisation": "kaiming"},
    ),
    Fault(
        "initialisation_zero",
        put(initialisation="zero"),
        (*INITIAL, "dead-units"),
        starts=SCRATCH,
        fix={"initialisation": "kaiming"},
    ),
    Fault(
        "reshape_mixes_examples",
        put(mixes=True),
        ("examples-mixed", "labels-shuffled"),
        fix={"forward.reshape": "transposed"},
    ),
)
