"""The kinds of fault: how each is injected, and which causes are right answers to it.

From the list of debug-rules' measurements, from the public benchmarks of AutoTrainer,
DeepDiagnosis, DEFault, TrainCheck and TheDeepChecker, and from what goes wrong in the scripts
that people publish. The accepted causes were written before anything was tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fault_suite.spec import Spec

__all__ = ["BATCHNORM", "COLOURED", "FAULTS", "RELU", "Fault"]

BATCHNORM = (
    "batchnorm",
    "bias_batchnorm",
    "resnet",
    "depthwise",
    "densenet",
    "squeeze",
    "inception",
    "inverted",
    "grouped",
    "vgg",
)
RELU = (*BATCHNORM, "plain", "groupnorm")
COLOURED = ("textures", "shapes", "glyphs", "scenes", "flags")
OPTIMIZERS, STARTS = ("sgd", "adam"), ("scratch", "transfer")
TOO_HIGH, TOO_LOW = "learning-rate-too-high", "learning-rate-too-low"


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    inject: Callable[[Spec], Spec]
    causes: tuple[str, ...]
    """Names of causes that are right answers."""
    optimizers: tuple[str, ...] = OPTIMIZERS
    starts: tuple[str, ...] = STARTS
    networks: tuple[str, ...] = ()
    """Where it can be injected; none: everywhere."""
    data: tuple[str, ...] = ()
    fix: Mapping[str, Any] = field(default_factory=dict)
    """A change that a person can make who knows the cause, in the words of `Cause.change`; empty
    where there is none but to collect or label photos anew. The earlier parts have it not."""

    def fits(self, spec: Spec) -> bool:
        """Whether it can be injected into that training."""
        return (
            spec.optimizer in self.optimizers
            and spec.start in self.starts
            and (not self.networks or spec.network in self.networks)
            and (not self.data or spec.data in self.data)
        )


def put(**values: Any) -> Callable[[Spec], Spec]:
    """Set fields of the spec."""
    return lambda spec: replace(spec, **values)


def rate(sgd: float, adam: float) -> Callable[[Spec], Spec]:
    """Multiply the learning rate."""
    return lambda spec: replace(
        spec, learning_rate=spec.learning_rate * (sgd if spec.optimizer == "sgd" else adam)
    )


def extreme_momentum(spec: Spec) -> Spec:
    """0.999 for SGD; Adam's two betas exchanged."""
    if spec.optimizer == "sgd":
        return replace(spec, momentum=0.999)
    return replace(spec, beta1=0.999, beta2=0.9)


def large_decay(spec: Spec) -> Spec:
    """So that decay alone outweighs the gradients."""
    return replace(spec, weight_decay=0.5 if spec.optimizer == "sgd" else 0.3)


SCRATCH, TRANSFER = ("scratch",), ("transfer",)
DIFFERS = ("preprocessing-differs",)
NO_MATCH = ("labels-shuffled", "class-mapping-differs", "labels-noisy")
WRONG_LOSS = ("wrong-loss", "softmax-before-loss")
INITIAL = ("poor-initialisation",)
NOT_HELD = ("parameters-not-in-optimizer", "backbone-frozen")

MORE = (
    # -- the second unseen part: the optimizer and what is done to the weights
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
"""Written down with the fixes before any of them was run, after the first unseen part was seen."""

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        # -- the learning rate and the optimizer
        Fault("learning_rate_high", rate(40, 40), (TOO_HIGH,)),
        Fault("learning_rate_diverging", rate(1000, 1000), (TOO_HIGH,)),
        Fault("learning_rate_low", rate(1e-3, 1e-3), (TOO_LOW,)),
        Fault("learning_rate_grows", put(step_factor=1.03), (TOO_HIGH,)),
        Fault("learning_rate_bump", put(bump=300.0), (TOO_HIGH, "exploding-gradient")),
        Fault("schedule_stepped_each_batch", put(step_factor=0.7), (TOO_LOW,)),
        Fault("warmup_endless", put(warmup=100_000), (TOO_LOW,)),
        Fault("momentum_extreme", extreme_momentum, ("momentum-wrong", TOO_HIGH)),
        Fault("epsilon_large", put(eps=1.0), ("epsilon-wrong", TOO_LOW), optimizers=("adam",)),
        Fault("weight_decay_large", large_decay, ("weight-decay-wrong",)),
        Fault("zero_grad_missing", put(zero_grad="never"), ("zero-grad-missing",)),
        Fault(
            "zero_grad_between",
            put(zero_grad="between"),
            ("zero-grad-misplaced", "parameters-not-used", "detached"),
        ),
        Fault("optimizer_holds_head_only", put(held="head"), NOT_HELD, starts=SCRATCH),
        Fault("optimizer_lacks_head", put(held="backbone"), NOT_HELD[:1]),
        Fault("optimizer_lacks_layer", put(held="all but one"), NOT_HELD[:1]),
        Fault("optimizer_of_other_model", put(held="stale"), NOT_HELD[:1]),
        Fault("optimizer_rebuilt", put(rebuilt=True), ("momentum-wrong", "optimizer-rebuilt")),
        Fault("backbone_rate_zero", put(backbone_factor=0.0), (TOO_LOW, *NOT_HELD)),
        Fault("clip_norm_tiny", put(clip_norm=1e-3), ("gradient-clipping-wrong", TOO_LOW)),
        Fault("clip_value_tiny", put(clip_value=1e-7), ("gradient-clipping-wrong", TOO_LOW)),
        Fault(
            "steps_dropped",
            put(stepped_every=8),
            ("zero-grad-misplaced", "mixed-precision-overflow", "backward-missing"),
        ),
        Fault("batch_of_two", put(batch_size=2), ("batchnorm-small-batch",), networks=BATCHNORM),
        # -- the loss
        Fault(
            "loss_scaled", put(loss_factor=1000.0), (TOO_HIGH, "exploding-gradient", "wrong-loss")
        ),
        Fault("loss_negated", put(loss_factor=-1.0), ("wrong-loss", "loss-negated")),
        Fault("loss_of_one_example", put(loss_examples=1), ("batch-too-small", "data-cut-short")),
        Fault("softmax_twice", put(output="softmax"), ("softmax-before-loss",)),
        Fault("sigmoid_before_loss", put(output="sigmoid"), WRONG_LOSS),
        Fault("relu_on_logits", put(output="relu"), (*WRONG_LOSS, "dead-units")),
        Fault("softmax_over_batch", put(output="batch softmax"), WRONG_LOSS),
        Fault("nll_on_logits", put(loss="nll"), ("wrong-loss",)),
        Fault("nll_on_probabilities", put(loss="nll", output="softmax"), WRONG_LOSS),
        Fault("mse_on_one_hot", put(loss="mse"), ("wrong-loss",)),
        Fault("l1_on_one_hot", put(loss="l1"), ("wrong-loss",)),
        Fault(
            "label_smoothing_extreme", put(label_smoothing=0.98), ("wrong-loss", "label-smoothing")
        ),
        Fault("penalty_large", put(penalty=0.3), ("weight-decay-wrong", "wrong-loss")),
        Fault("class_weight_zero", put(zero_weight=True), ("wrong-loss", "class-imbalance")),
        Fault("class_ignored", put(ignored_class=0), ("wrong-loss", "class-imbalance")),
        Fault("head_too_wide", put(head_outputs=1000), ("head-size-wrong",)),
        # -- labels
        Fault("labels_shuffled", put(labels="shuffled"), NO_MATCH),
        Fault("labels_half_random", put(label_noise=0.5), NO_MATCH),
        Fault("labels_constant", put(labels="constant"), ("class-imbalance", *NO_MATCH)),
        Fault("classes_merged", put(labels="merged"), ("class-imbalance", *NO_MATCH)),
        Fault(
            "evaluation_labels_permuted", put(evaluation_labels="permuted"), (*NO_MATCH, *DIFFERS)
        ),
        Fault("class_missing", put(missing_class=True), ("class-imbalance", *NO_MATCH)),
        Fault("imbalance_extreme", put(imbalance=100.0), ("class-imbalance",)),
        # -- photos
        Fault("evaluation_not_normalised", put(evaluation_inputs="unit"), DIFFERS),
        Fault("evaluation_in_255", put(evaluation_inputs="255"), DIFFERS),
        Fault("evaluation_bgr", put(evaluation_inputs="bgr"), DIFFERS, data=COLOURED),
        Fault("evaluation_inverted", put(evaluation_inputs="inverted"), DIFFERS),
        Fault("evaluation_upside_down", put(evaluation_inputs="upside down"), DIFFERS),
        Fault("evaluation_reshaped", put(evaluation_inputs="reshaped"), DIFFERS),
        Fault("evaluation_low_resolution", put(evaluation_inputs="low resolution"), DIFFERS),
        Fault("inputs_in_255", put(inputs="255"), ("inputs-not-normalised",)),
        Fault("inputs_normalised_twice", put(inputs="twice"), ("inputs-normalised-twice",)),
        Fault(
            "inputs_divided_twice",
            put(inputs="divided twice"),
            ("inputs-normalised-twice", "inputs-not-normalised", "constant-inputs"),
        ),
        Fault("inputs_constant", put(inputs="constant"), ("constant-inputs",)),
        Fault("input_not_finite", put(inputs="not finite"), ("non-finite-input",)),
        Fault(
            "augmentation_destroys",
            put(augmentation="destroying"),
            ("augmentation-too-strong", "preprocessing-differs"),
        ),
        Fault(
            "augmentation_accumulates",
            put(augmentation="accumulating"),
            ("augmentation-too-strong", "preprocessing-differs"),
        ),
        # -- which photos, in which order
        Fault("training_set_tiny", put(examples=12), ("small-data", "overfitting")),
        Fault("validation_in_training", put(leak=True), ("leakage",)),
        Fault("order_sorted", put(order="sorted"), ("batches-repeat", "not-shuffled")),
        Fault("one_batch_repeated", put(order="one batch"), ("batches-repeat", "small-data")),
        Fault(
            "epoch_cut_short",
            put(order="first tenth"),
            ("data-cut-short", "small-data", "overfitting"),
        ),
        # -- modes and the network
        Fault("eval_mode_always", put(mode="eval"), ("train-mode-missing",), networks=BATCHNORM),
        Fault("train_mode_lost", put(mode="lost"), ("train-mode-missing",), networks=BATCHNORM),
        Fault(
            "eval_mode_missing",
            put(evaluation_mode="train"),
            ("eval-mode-missing",),
            networks=BATCHNORM,
        ),
        Fault(
            "batchnorm_momentum_tiny",
            put(batchnorm_momentum=1e-4),
            ("batchnorm-momentum",),
            networks=BATCHNORM,
        ),
        Fault(
            "batchnorm_momentum_one",
            put(batchnorm_momentum=1.0),
            ("batchnorm-momentum",),
            networks=BATCHNORM,
        ),
        Fault("dropout_extreme", put(dropout=0.98), ("dropout-too-strong",)),
        Fault(
            "relu_dead",
            put(initialisation="dead"),
            (*INITIAL, "dead-units"),
            starts=SCRATCH,
            networks=RELU,
        ),
        Fault("initialisation_large", put(initialisation="large"), INITIAL, starts=SCRATCH),
        Fault("initialisation_constant", put(initialisation="constant"), INITIAL, starts=SCRATCH),
        Fault(
            "initialisation_tiny",
            put(initialisation="tiny"),
            (*INITIAL, "vanishing-gradient-depth"),
            starts=SCRATCH,
        ),
        Fault("head_initialisation_large", put(initialisation="large head"), INITIAL),
        Fault(
            "activation_sigmoid",
            put(activation="sigmoid"),
            ("saturated-activations", "vanishing-gradient-depth"),
            starts=SCRATCH,
        ),
        Fault(
            "activation_missing", put(activation="none"), ("activation-missing",), starts=SCRATCH
        ),
        Fault(
            "features_detached",
            put(detached=True),
            ("backbone-frozen", "detached", "parameters-not-used", "unused-module"),
        ),
        Fault("head_frozen", put(frozen="head"), ("head-frozen", "backbone-frozen")),
        Fault(
            "backbone_frozen_at_random",
            put(frozen="backbone", pretrained=False),
            ("backbone-frozen", "weights-not-loaded"),
            starts=TRANSFER,
        ),
        Fault(
            "freezing_misspelt",
            lambda spec: replace(rate(20, 20)(spec), frozen="backbone", misspelt=True),
            ("backbone-not-frozen", TOO_HIGH),
            starts=TRANSFER,
        ),
        Fault("weights_redrawn", put(redrawn=True), ("weights-redrawn", "poor-initialisation")),
        *MORE,
    )
}
"""Every kind by its name."""
