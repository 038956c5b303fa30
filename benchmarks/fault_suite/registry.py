"""The kinds of fault: how each is injected, and which causes are right answers to it.

From the list of debug-rules' measurements, from the public benchmarks of AutoTrainer,
DeepDiagnosis, DEFault, TrainCheck and TheDeepChecker, and from what goes wrong in the scripts
that people publish. The accepted causes were written before anything was tuned.
"""

from __future__ import annotations

from dataclasses import replace

from fault_suite.fault import (
    BATCHNORM,
    COLOURED,
    DIFFERS,
    INITIAL,
    NO_MATCH,
    NOT_HELD,
    RELU,
    SCRATCH,
    TOO_HIGH,
    TOO_LOW,
    TRANSFER,
    WRONG_LOSS,
    Fault,
    put,
    rate,
)
from fault_suite.fourth_kinds import FOURTH
from fault_suite.second_kinds import SECOND
from fault_suite.spec import Spec
from fault_suite.third_kinds import THIRD

__all__ = ["FAULTS"]


def extreme_momentum(spec: Spec) -> Spec:
    """0.999 for SGD; Adam's two betas exchanged."""
    if spec.optimizer == "sgd":
        return replace(spec, momentum=0.999)
    return replace(spec, beta1=0.999, beta2=0.9)


def large_decay(spec: Spec) -> Spec:
    """So that decay alone outweighs the gradients."""
    return replace(spec, weight_decay=0.5 if spec.optimizer == "sgd" else 0.3)


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
        *SECOND,
        *THIRD,
        *FOURTH,
    )
}
"""Every kind by its name."""
