"""The rules, one a file, and how to choose among them.

A new rule joins by one line in `GROUPS`: the name of its module, which stands in this package
and has the rule's class in its `__all__`. It also needs recordings in `tests/conformance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from houndsight.debugger.rules.base import Parameter, Rule, UnsupportedRuleError
from houndsight.debugger.rules.unsupported import UNSUPPORTED
from houndsight.errors import SettingError

__all__ = ["GROUPS", "RULES", "Parameter", "Rule", "UnsupportedRuleError", "make_rules"]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "SageMaker Debugger's rules": (
        "vanishing_gradient",
        "exploding_tensor",
        "poor_weight_initialization",
        "saturated_activation",
        "dead_relu",
        "weight_update_ratio",
        "all_zero",
        "tensor_variance",
        "unchanged_tensor",
        "loss_not_decreasing",
        "overfit",
        "overtraining",
        "class_imbalance",
        "confusion",
        "check_input_images",
        "similar_across_runs",
        "stalled_training_rule",
    ),
    "Loss and learning rate": (
        "learning_rate_too_high",
        "learning_rate_too_low",
        "loss_not_finite",
        "loss_spike",
        "initial_loss",
        "gradient_noise",
        "softmax_twice",
        "wrong_loss",
        "loss_gradient",
        "label_smoothing_too_strong",
        "rate_decayed_early",
        "loss_weights",
        "logits_bounded",
        "logits_scaled",
        "targets_predicted",
    ),
    "Data and labels": (
        "head_size",
        "labels_shuffled",
        "labels_noisy",
        "class_collapse",
        "class_never_learnt",
        "preprocessing_differs",
        "inputs_not_normalised",
        "inputs_normalised_twice",
        "constant_inputs",
        "shared_examples",
        "repeated_batches",
        "data_partly_seen",
        "evaluation_too_small",
        "evaluation_unlike_training",
        "layout_differs",
        "classes_not_trained",
        "few_examples",
        "inputs_drift",
        "class_mislabelled",
        "mixed_without_labels",
        "baseline_not_reached",
    ),
    "Set-up of the training": (
        "parameters_not_in_optimizer",
        "parameters_not_registered",
        "parameters_not_updated",
        "backward_missing",
        "few_steps",
        "zero_grad_missing",
        "dropped_steps",
        "weight_decay_scale",
        "momentum_out_of_range",
        "epsilon_out_of_range",
        "gradient_clipping_too_tight",
        "mixed_precision_overflow",
        "backbone_frozen",
        "backbone_not_frozen",
        "train_mode_missing",
        "eval_mode_missing",
        "batchnorm_small_batch",
        "dropout_too_strong",
        "weights_overwritten",
        "weights_clamped",
        "evaluation_weights_lag",
        "statistics_overwritten",
        "shrinking_weights",
    ),
    "Inside the network": (
        "batchnorm_drift",
        "dead_features",
        "hidden_sigmoid",
        "initial_weights_scale",
        "layer_too_narrow",
        "own_backward",
    ),
    "Processes and time": (
        "ranks_disagree",
        "memory_growth",
        "slow_steps",
    ),
}
"""The modules of the rules, by what they are about."""


def _rules_of(module: str) -> list[type[Rule]]:
    loaded = import_module(f"{__name__}.{module}")
    members = [getattr(loaded, name) for name in loaded.__all__]
    return [m for m in members if isinstance(m, type) and issubclass(m, Rule)]


RULES: dict[str, type[Rule]] = {
    rule.name: rule for group in GROUPS.values() for module in group for rule in _rules_of(module)
}
"""Every rule that judges trainings of image networks, by its name."""

SIMPLE = ("VanishingGradient", "LossNotDecreasing", "WeightUpdateRatio")
"""SageMaker's preset of that name for PyTorch."""


def make_rules(which: str | Iterable[str | Rule] | Mapping[str, Mapping[str, Any]]) -> list[Rule]:
    """The rules of that choice, one of a name; where two are named alike, the later one.

    Args:
        which: names, as a list or with commas between, in either of SageMaker's spellings
            (`VanishingGradient`, `vanishing_gradient`), `default` for all of `RULES`, `simple`
            for SageMaker's preset, `none`; or finished rules among them; or a mapping from
            names to their parameters, which may all be strings.

    Raises:
        SettingError: a name or a parameter is unknown, or a value cannot be.
    """
    if isinstance(which, str):
        which = [name.strip() for name in which.split(",") if name.strip()]
    chosen: dict[str, Rule] = {}
    for item in which:
        parameters = which[item] if isinstance(which, Mapping) and isinstance(item, str) else {}
        for rule in [item] if isinstance(item, Rule) else _named(item, parameters):
            chosen[rule.name] = rule
    return list(chosen.values())


def _named(name: str, parameters: Mapping[str, Any]) -> list[Rule]:
    presets = {"default": tuple(RULES), "all": tuple(RULES), "simple": SIMPLE, "none": ()}
    if name in presets:
        if parameters:
            raise SettingError(f"{name!r} names several rules; give parameters to one by its name.")
        return [RULES[rule]() for rule in presets[name]]
    rules = {_plain(known): rule for known, rule in (RULES | UNSUPPORTED).items()}
    if _plain(name) not in rules:
        known = ", ".join([*presets, *RULES])
        raise SettingError(f"There is no rule {name!r}; there are {known}.")
    return [rules[_plain(name)](**parameters)]


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
