"""Which kinds of fault, networks and data sets are for tuning, and which stay unseen.

Each part was written before any result of it was looked at. Rules may be changed by what the
tuning part shows; the headline is of runs whose kind, network and data set are all unseen. No
run mixes the two.

The tuning part has two groups: what the rules' authors first tuned on, and what was unseen until
its results were read (71.9 % detected, the first fix working in 8.8 %, alarms in 12.5 % of healthy
trainings). From then on that group was for tuning too, and a new unseen part was written first.

What is unseen is how it comes out. Its kinds were written by those who then mended the rules, so
they knew them by name; what the hook records of some of them was tried on digits and looked at
before any rule was mended, and no judgement of the recordings was read until the tuning was over.
"""

from __future__ import annotations

__all__ = [
    "SEEN_DATA",
    "SEEN_KINDS",
    "SEEN_NETWORKS",
    "TUNING_DATA",
    "TUNING_KINDS",
    "TUNING_NETWORKS",
    "UNSEEN_DATA",
    "UNSEEN_KINDS",
    "UNSEEN_NETWORKS",
]

TUNING_NETWORKS = ("plain", "batchnorm", "bias_batchnorm", "resnet", "depthwise", "vit")
SEEN_NETWORKS = ("convnext", "densenet", "groupnorm", "mixer", "squeeze", "inception")
UNSEEN_NETWORKS = ("lenet", "mlp", "inverted", "grouped", "cct", "vgg")

TUNING_DATA = ("digits", "textures", "prototypes")
SEEN_DATA = ("elpv", "shapes", "glyphs", "spectra", "scenes")
UNSEEN_DATA = ("arrows", "flags", "dots", "weaves", "tissue")

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

SEEN_KINDS = (
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

UNSEEN_KINDS = (
    "schedule_ends_early",
    "rate_and_decay_swapped",
    "step_missing",
    "backward_missing",
    "loss_rewrapped",
    "weights_clamped",
    "average_too_slow",
    "one_batch_an_epoch",
    "loss_summed",
    "kl_div_on_logits",
    "bce_on_one_hot",
    "tanh_on_logits",
    "cosine_head_unscaled",
    "first_class_weighs_1000",
    "dropout_on_logits",
    "two_classes_swapped",
    "one_class_mislabelled",
    "mixup_without_labels",
    "crop_tiny",
    "transforms_swapped",
    "evaluation_grey",
    "evaluation_divided_twice",
    "evaluation_zoomed",
    "normalised_by_mean_of_255",
    "photos_blank",
    "sampler_of_class_weights",
    "initialisation_uniform",
    "initialisation_zero",
    "reshape_mixes_examples",
)
