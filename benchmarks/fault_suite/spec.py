"""A training in plain values: what faults change, and what a proposed fix may change back."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

__all__ = ["Spec"]

LATER = (
    "rate_limit",
    "schedule_steps",
    "backward",
    "weight_limit",
    "average",
    "reduction",
    "first_weight",
    "output_dropout",
    "cosine_head",
    "mixes",
    "mixup_labels",
)
"""Settings that the first recordings did not have."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Everything that decides a training; the defaults are a healthy one."""

    network: str
    data: str
    optimizer: str
    """`sgd` or `adam`."""
    start: str
    """`scratch`, or `transfer`: from weights trained on other classes."""
    seed: int
    learning_rate: float
    steps: int = 150
    batch_size: int = 32

    # -- the optimizer
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 5e-4
    schedule: str = "constant"
    """`constant`, `cosine`, or `linear`."""
    schedule_steps: int | None = None
    """After how many steps a linear schedule is at 0; None: at the end."""
    warmup: int = 0
    """Steps over which the learning rate rises."""
    step_factor: float = 1.0
    """What the learning rate is multiplied by after every step."""
    bump: float = 1.0
    """What the learning rate is multiplied by for five steps in the middle."""
    rate_limit: float | None = None
    """What the schedule's learning rate is held at or under."""
    backbone_factor: float = 1.0
    """The backbone's learning rate, as a multiple of the head's."""
    clip_norm: float | None = None
    clip_value: float | None = None
    accumulation: int = 1
    zero_grad: str = "before"
    """`before` the backward pass, `after` the step, `never`, or `between` the two."""
    held: str = "all"
    """What the optimizer holds: `all`, `head`, `backbone`, `all but one`, or a `stale` model."""
    rebuilt: bool = False
    """Whether the optimizer is made anew at every step."""
    stepped_every: int = 1
    """Of how many backward passes one is followed by a step; the others' gradients are lost."""
    backward: str = "loss"
    """From the `loss`, from a `copy` of its value, or `missing`."""
    weight_limit: float | None = None
    """What weights are clamped to after every step."""
    average: float | None = None
    """Given: the decay of a running average of the weights, which evaluations use."""

    # -- the loss
    loss: str = "cross_entropy"
    """`cross_entropy`, `nll`, `mse`, `l1`, `bce` or `kl_div`."""
    reduction: str = "mean"
    output: str = "none"
    """What the network applies to its logits: `softmax`, `sigmoid`, `relu`, `tanh`,
    `batch softmax`."""
    loss_factor: float = 1.0
    loss_examples: int | None = None
    """How many examples of a batch the loss is taken of; None: all."""
    label_smoothing: float = 0.0
    zero_weight: bool = False
    """Whether the first two classes have the weight 0."""
    first_weight: float = 1.0
    """The first class's weight."""
    ignored_class: int | None = None
    penalty: float = 0.0
    """Times the sum of all squared weights, added to the loss."""

    # -- the network
    pretrained: bool = True
    """Whether the weights of a transfer are loaded."""
    frozen: str = "none"
    """`none`, `backbone` or `head`."""
    misspelt: bool = False
    """Whether freezing sets `require_grad`."""
    detached: bool = False
    """Whether the features are computed under `no_grad`."""
    redrawn: bool = False
    """Whether the weights are drawn anew at every epoch."""
    mode: str = "train"
    """`train`, `eval`, or `lost`: `train()` is not called again after an evaluation."""
    evaluation_mode: str = "eval"
    initialisation: str = "default"
    activation: str = "default"
    dropout: float = 0.0
    output_dropout: float = 0.0
    """Of the logits."""
    cosine_head: bool = False
    """Whether the logits are cosines, between -1 and 1."""
    mixes: bool = False
    """Whether a reshape in the forward pass mixes the examples of a batch."""
    batchnorm_momentum: float = 0.1
    head_outputs: int | None = None

    # -- the data
    inputs: str = "normalised"
    evaluation_inputs: str = "same"
    labels: str = "true"
    evaluation_labels: str = "true"
    label_noise: float = 0.0
    order: str = "shuffled"
    """`shuffled`, `sorted`, `one batch`, `first tenth`, or `first few`: a photo a class."""
    augmentation: str = "none"
    mixup: bool = False
    mixup_labels: bool = True
    """Whether mixup mixes the labels too."""
    examples: int | None = None
    imbalance: float = 1.0
    missing_class: bool = False
    leak: bool = False
    balance: str = "none"
    patience: int | None = None
    """Given: the best evaluation counts and not the last."""

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that name this training."""
        values = asdict(self)
        for field in fields(self):
            # They came later, and no recording should be lost for them.
            if field.name in LATER and values[field.name] == field.default:
                del values[field.name]
        text = json.dumps(values, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def rate_at(self, step: int) -> float:
        """The head's learning rate at a step."""
        share = self.step_factor**step
        if self.warmup:
            share *= min(1.0, (step + 1) / self.warmup)
        if self.schedule == "cosine":
            share *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        if self.schedule == "linear":
            share *= max(1 - step / (self.schedule_steps or self.steps), 0.0)
        middle = self.steps // 2
        rate = self.learning_rate * share * (self.bump if middle <= step < middle + 5 else 1.0)
        return rate if self.rate_limit is None else min(rate, self.rate_limit)

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """Network, data, optimizer and start: what a fault and its healthy twin share."""
        return (self.network, self.data, self.optimizer, self.start)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The spec of these values."""
        return cls(**record)
