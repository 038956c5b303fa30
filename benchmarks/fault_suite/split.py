"""Which kinds of fault, networks and data sets are for tuning, and which stay unseen.

Written before any result of either part was looked at. Earlier recordings on which the rules'
authors tuned had these kinds of fault, on networks of these families and on data like these, so
all of them are in the tuning part. Rules may be changed by what the tuning part shows; the
headline is of runs whose kind, network and data set are all unseen. No run mixes the two.
"""

from __future__ import annotations

__all__ = [
    "TUNING_DATA",
    "TUNING_KINDS",
    "TUNING_NETWORKS",
    "UNSEEN_DATA",
    "UNSEEN_KINDS",
    "UNSEEN_NETWORKS",
]

TUNING_NETWORKS = ("plain", "batchnorm", "bias_batchnorm", "resnet", "depthwise", "vit")
UNSEEN_NETWORKS = ("convnext", "densenet", "groupnorm", "mixer", "squeeze", "inception")

TUNING_DATA = ("digits", "textures", "prototypes")
UNSEEN_DATA = ("elpv", "shapes", "glyphs", "spectra", "scenes")

TUNING_KINDS = (
    "learning_rate_high",
    "learning_rate_diverging",
    "learning_rate_low",
    "learning_rate_grows",
    "learning_rate_bump",
    "momentum_extreme",
    "epsilon_large",
    "weight_decay_large",
    "zero_grad_missing",
    "optimizer_holds_head_only",
    "optimizer_lacks_head",
    "optimizer_lacks_layer",
    "optimizer_of_other_model",
    "backbone_rate_zero",
    "clip_norm_tiny",
    "loss_scaled",
    "steps_dropped",
    "batch_of_two",
    "softmax_twice",
    "sigmoid_before_loss",
    "relu_on_logits",
    "nll_on_logits",
    "nll_on_probabilities",
    "mse_on_one_hot",
    "l1_on_one_hot",
    "head_too_wide",
    "class_weight_zero",
    "class_ignored",
    "labels_shuffled",
    "labels_half_random",
    "evaluation_labels_permuted",
    "evaluation_not_normalised",
    "evaluation_in_255",
    "evaluation_bgr",
    "evaluation_inverted",
    "inputs_in_255",
    "inputs_normalised_twice",
    "inputs_divided_twice",
    "inputs_constant",
    "input_not_finite",
    "validation_in_training",
    "order_sorted",
    "one_batch_repeated",
    "epoch_cut_short",
    "eval_mode_always",
    "train_mode_lost",
    "eval_mode_missing",
    "batchnorm_momentum_tiny",
    "batchnorm_momentum_one",
    "dropout_extreme",
    "relu_dead",
    "initialisation_large",
    "head_initialisation_large",
    "backbone_frozen_at_random",
    "freezing_misspelt",
)

UNSEEN_KINDS = (
    "loss_negated",
    "initialisation_constant",
    "initialisation_tiny",
    "activation_sigmoid",
    "activation_missing",
    "schedule_stepped_each_batch",
    "warmup_endless",
    "clip_value_tiny",
    "loss_of_one_example",
    "softmax_over_batch",
    "label_smoothing_extreme",
    "zero_grad_between",
    "features_detached",
    "head_frozen",
    "penalty_large",
    "training_set_tiny",
    "class_missing",
    "imbalance_extreme",
    "augmentation_destroys",
    "augmentation_accumulates",
    "classes_merged",
    "labels_constant",
    "evaluation_upside_down",
    "evaluation_reshaped",
    "evaluation_low_resolution",
    "weights_redrawn",
    "optimizer_rebuilt",
)
