"""Healthy trainings: the usual recipe of each network, and the same made hard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fault_suite.spec import Spec

__all__ = ["FOURTH_VARIANTS", "MORE_VARIANTS", "THIRD_VARIANTS", "VARIANTS", "recipe", "variant"]

CAREFUL = (
    "plain",
    "vit",
    "mixer",
    "convnext",
    "mlp",
    "cct",
    "poolformer",
    "nin",
    "gru",
    "selu",
)
"""Networks without BatchNorm, which take smaller steps with SGD."""

VARIANTS: dict[str, dict[str, Any]] = {
    "small data": {"examples": 80, "batch_size": 16},
    "strong augmentation": {"augmentation": "strong", "steps": 200},
    "label noise 10 %": {"label_noise": 0.1},
    "warm-up": {"warmup": 40},
    "label smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixup": True, "steps": 200},
    "accumulation": {"accumulation": 4, "batch_size": 8, "steps": 80},
    "dropout": {"dropout": 0.3},
    "cosine": {"schedule": "cosine"},
    "batch of 8": {"batch_size": 8, "steps": 300},
    "batch of 128": {"batch_size": 128, "steps": 60},
    "imbalance 5:1": {"imbalance": 5.0},
    "gradient clipping": {"clip_norm": 1.0},
    "few steps": {"steps": 40},
    "many steps": {"steps": 300, "schedule": "cosine"},
    "frozen backbone": {"frozen": "backbone"},
}
"""What changes in each kind of hard but healthy training."""

MORE_VARIANTS: dict[str, dict[str, Any]] = VARIANTS | {
    "one cycle": {"warmup": 45, "schedule": "cosine"},
    "linear to zero": {"schedule": "linear"},
    "averaged weights": {"average": 0.9},
    "balanced 5:1": {"imbalance": 5.0, "balance": "weights"},
    "sampled 5:1": {"imbalance": 5.0, "balance": "sampling"},
    "weight decay": {"weight_decay": 2e-3},
    "slow and steady": {"steps": 250},
}
"""With those that came with the second unseen part."""

THIRD_VARIANTS: dict[str, dict[str, Any]] = MORE_VARIANTS | {
    "jitter": {"augmentation": "jitter"},
    "adamw": {"algorithm": "adamw", "weight_decay": 0.05},
    "nesterov": {"algorithm": "nesterov", "weight_decay": 5e-4},
    "exponential decay": {"step_factor": 0.985},
}
"""With those that came with the third."""


FOURTH_VARIANTS: dict[str, dict[str, Any]] = THIRD_VARIANTS | {
    "log softmax and nll": {"output": "log softmax", "loss": "nll"},
    "cutmix": {"cutmix": "right", "steps": 200},
    "loss scaling": {"grad_scale": 1024.0, "clip_norm": 1.0},
    "normalised by a half": {"inputs": "half"},
    "warm restarts": {"schedule": "restarts"},
    "all together": {
        "warmup": 15,
        "schedule": "cosine",
        "label_smoothing": 0.1,
        "mixup": True,
        "average": 0.9,
        "steps": 220,
    },
    "small backbone rate": {"backbone_factor": 0.1},
    "rmsprop": {"algorithm": "rmsprop", "weight_decay": 0.0},
    "padded crop": {"augmentation": "padded crop"},
    "unfrozen later": {"frozen": "backbone", "unfrozen_at": 40},
}
"""With those that came with the fourth."""


def recipe(network: str, data: str, optimizer: str, start: str, seed: int) -> Spec:
    """The healthy training of a cell."""
    careful = network in CAREFUL
    rates = {"sgd": 0.02 if careful else 0.05, "adam": 2e-3}
    rate = rates[optimizer] * (0.4 if start == "transfer" else 1.0)
    return Spec(
        network=network,
        data=data,
        optimizer=optimizer,
        start=start,
        seed=seed,
        learning_rate=rate,
        weight_decay=5e-4 if optimizer == "sgd" else 0.0,
    )


def variant(spec: Spec, name: str) -> Spec:
    """`spec` made hard; smaller batches go with smaller steps, larger ones with larger."""
    changed = replace(spec, **FOURTH_VARIANTS[name])
    if name in ("adamw", "nesterov"):
        usual = recipe(*spec.cell[:2], "adam" if name == "adamw" else "sgd", spec.start, spec.seed)
        return replace(changed, learning_rate=usual.learning_rate)
    if name == "rmsprop":
        usual = recipe(*spec.cell[:2], "adam", spec.start, spec.seed)
        return replace(changed, learning_rate=usual.learning_rate / 2)
    if name in ("small backbone rate", "unfrozen later"):
        rate = recipe(*spec.cell[:3], "transfer", spec.seed).learning_rate
        return replace(changed, start="transfer", learning_rate=rate)
    if name == "frozen backbone":
        return replace(changed, start="transfer", learning_rate=spec.learning_rate * 2.5)
    if name == "slow and steady":
        return replace(changed, learning_rate=spec.learning_rate * 0.3)
    if name == "batch of 8":
        return replace(changed, learning_rate=spec.learning_rate * 0.4)
    return changed
