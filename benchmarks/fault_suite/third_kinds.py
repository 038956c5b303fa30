"""The kinds of the third unseen part.

Written down with the causes and the fixes before any of them was run, by someone who had not
seen the rules: from the taxonomies of faults in published projects, and from what people ask.
Three were then made stronger, since they did no harm where they were tried without the debugger:
`one_cycle_peak_high`, `class_weights_inverted`, and `backbone_rate_of_head`.
"""

from __future__ import annotations

from dataclasses import replace

from fault_suite.fault import (
    BATCHNORM,
    DIFFERS,
    NO_MATCH,
    NOT_HELD,
    SCRATCH,
    TOO_HIGH,
    TOO_LOW,
    TRANSFER,
    Fault,
    put,
    rate,
)
from fault_suite.spec import Spec

__all__ = ["THIRD"]

TURNED = ("galaxies", "roads", "segments")
"""Data sets where a photo that is turned or mirrored can be one of another class."""
SAME = {"evaluation.preprocessing": "as in training"}


def one_cycle(spec: Spec) -> Spec:
    """A cycle whose peak was meant as the divisor of its beginning."""
    return replace(rate(300, 300)(spec), warmup=45, schedule="cosine")


def rates_swapped(spec: Spec) -> Spec:
    """The small rate of a backbone given to the head, and a far larger one to the backbone."""
    return replace(rate(0.02, 0.02)(spec), backbone_factor=1e4)


THIRD = (
    # -- the optimizer and what is done to the weights
    Fault(
        "one_cycle_peak_high",
        one_cycle,
        (TOO_HIGH, "exploding-gradient"),
        fix={"learning_rate_factor": 1 / 300},
    ),
    Fault(
        # A plateau scheduler told to wait for the loss to rise.
        "plateau_waits_for_maximum",
        put(decay_every=12),
        (TOO_LOW, "schedule-too-short"),
        fix={"schedule": "constant"},
    ),
    Fault(
        "optimizer_maximizes",
        put(maximize=True),
        ("loss-negated", "optimizer-maximizes", "wrong-loss"),
        fix={"optimizer.maximize": False},
    ),
    Fault(
        "dampening_of_one",
        put(dampening=1.0),
        ("momentum-wrong", TOO_LOW),
        optimizers=("sgd",),
        fix={"dampening": 0.0},
    ),
    Fault(
        "adadelta_with_rate_of_adam",
        put(algorithm="adadelta", learning_rate=1e-3),
        (TOO_LOW, "optimizer-unsuited"),
        optimizers=("sgd",),
        fix={"learning_rate": 1.0},
    ),
    Fault(
        # Groups with and without weight decay were made, and only the second was passed on.
        "optimizer_holds_biases_only",
        put(held="biases"),
        NOT_HELD,
        fix={"optimizer.parameters": "all"},
    ),
    Fault(
        "zero_grad_once_an_epoch",
        put(zero_grad="each epoch"),
        ("zero-grad-missing", "zero-grad-misplaced"),
        fix={"optimizer.zero_grad": "before backward"},
    ),
    Fault(
        "checkpoint_loaded_each_epoch",
        put(reloaded=True),
        ("weights-overwritten", "weights-redrawn"),
        fix={"checkpoint.load": "once"},
    ),
    Fault(
        "backbone_rate_of_head",
        rates_swapped,
        (TOO_HIGH, TOO_LOW, "rates-swapped"),
        starts=TRANSFER,
        fix={"learning_rate_factor": 50, "group_learning_rate_factor": 1.0},
    ),
    Fault(
        # `load_state_dict(strict=False)` with keys that do not match.
        "weights_not_loaded",
        put(pretrained=False),
        ("weights-not-loaded", "poor-initialisation"),
        starts=TRANSFER,
        fix={"pretrained": True},
    ),
    Fault(
        "gradient_reversed",
        put(features_gradient=-1.0),
        ("gradient-reversed", "loss-negated"),
        fix={"forward.gradient_factor": 1.0},
    ),
    # -- the loss
    Fault(
        "focal_gamma_of_50",
        put(loss="focal", gamma=50.0),
        ("wrong-loss", "focal-gamma"),
        fix={"loss": "cross_entropy"},
    ),
    Fault(
        "temperature_of_100",
        put(temperature=100.0),
        ("temperature-wrong", "wrong-loss", "logits-bounded"),
        fix={"loss.temperature": 1.0},
    ),
    Fault(
        "temperature_of_a_hundredth",
        put(temperature=0.01),
        ("temperature-wrong", "wrong-loss", TOO_HIGH, "exploding-gradient"),
        fix={"loss.temperature": 1.0},
    ),
    Fault(
        "class_weights_inverted",
        put(imbalance=12.0, balance="inverted weights"),
        ("class-imbalance", "wrong-loss"),
        fix={"balance": "weights"},
    ),
    Fault(
        "regression_on_class_number",
        put(loss="index", head_outputs=1),
        ("wrong-loss", "head-size-wrong"),
        fix={"loss": "cross_entropy", "head.out_features": None},
    ),
    Fault(
        # `criterion(output, output.argmax(1))`.
        "predictions_as_targets",
        put(labels="predicted"),
        ("targets-predicted", "wrong-loss", *NO_MATCH),
        fix={"loss.targets": "labels"},
    ),
    # -- labels
    Fault(
        "labels_of_previous_batch",
        put(labels="of previous batch"),
        NO_MATCH,
        fix={"labels.pairing": "by index"},
    ),
    Fault(
        "mixup_labels_reversed",
        put(mixup=True, mixup_reversed=True),
        ("mixup-labels", "labels-noisy", "labels-shuffled", "wrong-loss"),
        fix={"mixup.labels": "as the photos"},
    ),
    Fault(
        "evaluation_labels_in_other_order",
        put(evaluation_labels="shuffled"),
        (*NO_MATCH, *DIFFERS),
        fix={"evaluation.pairing": "by index"},
    ),
    Fault(
        "evaluation_folder_missing",
        put(evaluation_labels="folder missing"),
        (*NO_MATCH, *DIFFERS),
        fix={"evaluation.class_to_idx": "of training"},
    ),
    Fault(
        "split_of_sorted_list",
        put(split="sorted"),
        ("split-by-class", "class-imbalance", "class-mapping-differs"),
        fix={"split": "random"},
    ),
    # -- photos
    Fault(
        # `view(n, 3, h, w)` of photos whose channels come last, in training and evaluation.
        "inputs_viewed_not_permuted",
        put(inputs="reshaped"),
        ("inputs-layout-wrong",),
        fix={"inputs.layout": "permuted"},
    ),
    Fault(
        "inputs_cast_to_integers",
        put(inputs="cast"),
        ("inputs-cast", "constant-inputs", "inputs-not-normalised"),
        fix={"inputs.loading": "as floats"},
    ),
    Fault(
        "resized_to_four_pixels",
        put(inputs="four pixels"),
        ("resolution-too-low",),
        fix={"inputs.resolution": "full"},
    ),
    Fault(
        "class_stamped_on_photos",
        put(inputs="marked"),
        ("shortcut", "leakage", *DIFFERS),
        fix={"inputs.mark": "removed"},
    ),
    Fault(
        "brightness_wraps_around",
        put(augmentation="wrapping"),
        ("augmentation-too-strong", "inputs-overflow", *DIFFERS),
        fix={"augmentation": "none"},
    ),
    Fault(
        "blur_strong",
        put(augmentation="blur"),
        ("augmentation-too-strong", *DIFFERS),
        fix={"augmentation": "none"},
    ),
    Fault(
        "flips_change_class",
        put(augmentation="flips and turns"),
        ("augmentation-too-strong", "augmentation-changes-class", "labels-noisy"),
        data=TURNED,
        fix={"augmentation": "none"},
    ),
    Fault("evaluation_padded", put(evaluation_inputs="padded"), DIFFERS, fix=SAME),
    Fault("evaluation_transposed", put(evaluation_inputs="transposed"), DIFFERS, fix=SAME),
    # -- which photos, in which order
    Fault(
        "batches_of_one_class",
        put(order="one class"),
        ("batches-repeat", "not-shuffled"),
        fix={"shuffle": True},
    ),
    # -- the network
    Fault(
        # `F.dropout(x, 0.9)`, which does not know of `eval()`.
        "functional_dropout_always_on",
        put(functional_dropout=0.9),
        ("dropout-too-strong", "eval-mode-missing"),
        fix={"dropout.training": "self.training"},
    ),
    Fault(
        "dropout_on_photos",
        put(photo_dropout=0.9),
        ("dropout-too-strong",),
        fix={"remove": "Dropout"},
    ),
    Fault(
        # The share that is kept taken for the one that is dropped.
        "drop_path_of_keep_share",
        put(drop_path=0.95),
        ("dropout-too-strong", "drop-path"),
        networks=("wide", "swin", "poolformer"),
        fix={"drop_path": 0.0},
    ),
    Fault(
        "bottleneck_of_one_unit",
        put(bottleneck=1),
        ("layer-too-narrow",),
        fix={"layer.width": 32},
    ),
    Fault(
        "layers_in_plain_list",
        put(registered=False),
        ("parameters-not-registered", *NOT_HELD),
        starts=SCRATCH,
        fix={"model.modules": "registered"},
    ),
    Fault(
        "softmax_between_layers",
        put(activation="softmax"),
        ("saturated-activations", "vanishing-gradient-depth", "activation-wrong"),
        starts=SCRATCH,
        fix={"activation": "relu"},
    ),
    Fault(
        # Parameters copied into the model that is evaluated, and buffers forgotten.
        "batchnorm_statistics_not_copied",
        put(buffers_copied=False),
        ("batchnorm-statistics-lost", "batchnorm-momentum", "evaluation-weights-differ"),
        networks=BATCHNORM,
        fix={"evaluation.buffers": "copied"},
    ),
)
