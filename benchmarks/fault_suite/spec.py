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
    "algorithm",
    "dampening",
    "decay_every",
    "maximize",
    "reloaded",
    "gamma",
    "temperature",
    "features_gradient",
    "functional_dropout",
    "photo_dropout",
    "drop_path",
    "bottleneck",
    "registered",
    "buffers_copied",
    "mixup_reversed",
    "split",
    "schedule_factor",
    "schedule_start",
    "epoch_factor",
    "sweep",
    "stepped",
    "divided",
    "grad_scale",
    "unscaled",
    "restored",
    "evaluation_weights",
    "l1",
    "unfrozen_at",
    "head_remade",
    "skips",
    "normalisation",
    "running_statistics",
    "evaluation_batch",
    "cutmix",
    "subset",
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
    dampening: float = 0.0
    """Of SGD's momentum."""
    maximize: bool = False
    algorithm: str = "usual"
    """`usual`: what `optimizer` says; or `adadelta`, `adamw`, `nesterov`, `sgd`, `adam`,
    `rmsprop`."""
    schedule: str = "constant"
    """`constant`, `cosine`, `linear`, or `restarts`: a cosine every 50 steps."""
    schedule_factor: float = 1.0
    """What the schedule multiplies every learning rate by."""
    schedule_start: int = 0
    """Which step of a cosine the training begins with."""
    epoch_factor: float = 1.0
    """What the learning rate is multiplied by after every epoch."""
    sweep: int = 0
    """Over how many steps at the beginning the learning rate rises from 0.0001 to 10."""
    schedule_steps: int | None = None
    """After how many steps a linear schedule is at 0; None: at the end."""
    decay_every: int | None = None
    """After how many steps the learning rate is divided by 10, again and again."""
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
    divided: bool = True
    """Whether the loss is divided by the number of batches that are accumulated."""
    grad_scale: float = 1.0
    """What the loss is multiplied by for the backward pass, and its gradients divided by."""
    unscaled: str = "before clipping"
    """Or `after clipping`."""
    zero_grad: str = "before"
    """`before` the backward pass, `after` the step, `never`, `between` the two, or `each
    epoch` once."""
    held: str = "all"
    """What the optimizer holds: `all`, `head`, `backbone`, `all but one`, `biases`, a `stale`
    model, or with the backbone an `old head`."""
    rebuilt: bool = False
    """Whether the optimizer is made anew at every step."""
    stepped_every: int = 1
    """Of how many backward passes one is followed by a step; the others' gradients are lost."""
    stepped: str = "after backward"
    """Or `before backward`, or `each epoch` once."""
    backward: str = "loss"
    """From the `loss`, from a `copy` of its value, or `missing`."""
    weight_limit: float | None = None
    """What weights are clamped to after every step."""
    average: float | None = None
    """Given: the decay of a running average of the weights, which evaluations use."""
    restored: bool = True
    """Whether the training goes on with its own weights after that."""
    evaluation_weights: str = "own"
    """What is evaluated, if no average: the model's `own`, or those of the `start`."""
    evaluation_batch: int = 100
    reloaded: bool = False
    """Whether the weights of the start are loaded again at every epoch."""
    buffers_copied: bool = True
    """Whether evaluations have the running statistics of BatchNorm; else those of the start."""

    # -- the loss
    loss: str = "cross_entropy"
    """`cross_entropy`, `nll`, `mse`, `l1`, `bce`, `kl_div`, `focal`, or `index`: the squared
    error of one output as the class's number."""
    gamma: float = 2.0
    """Of the focal loss."""
    temperature: float = 1.0
    """What logits are divided by before the loss."""
    reduction: str = "mean"
    output: str = "none"
    """What the network applies to its logits: `softmax`, `sigmoid`, `relu`, `tanh`,
    `batch softmax`, `log softmax`."""
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
    l1: float = 0.0
    """Times the sum of all weights' absolute values, added to the loss."""

    # -- the network
    pretrained: bool = True
    """Whether the weights of a transfer are loaded."""
    frozen: str = "none"
    """`none`, `backbone` or `head`."""
    unfrozen_at: int | None = None
    """At which step what is frozen is freed."""
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
    head_remade: bool = False
    """Whether the head is made in the forward pass, anew each time."""
    skips: bool = True
    """Whether residual blocks have their shortcuts."""
    normalisation: str = "batchnorm"
    """Or `none`."""
    running_statistics: bool = True
    """Whether BatchNorm keeps them for evaluations."""
    batchnorm_momentum: float = 0.1
    head_outputs: int | None = None
    features_gradient: float = 1.0
    """What the gradient is multiplied by where it enters the features."""
    functional_dropout: float = 0.0
    """Of the features, and active in evaluations too."""
    photo_dropout: float = 0.0
    """Of the network's inputs."""
    drop_path: float = 0.0
    """How often a residual block's body is left out."""
    bottleneck: int | None = None
    """Given: the width of a linear layer between the features and the head."""
    registered: bool = True
    """Whether the features are a module of the network, and not in a list of its own."""

    # -- the data
    inputs: str = "normalised"
    evaluation_inputs: str = "same"
    labels: str = "true"
    evaluation_labels: str = "true"
    label_noise: float = 0.0
    order: str = "shuffled"
    """`shuffled`, `sorted`, `one batch`, `first tenth`, `first few`: a photo a class, `one
    class` a batch, or `mostly one class` in all."""
    augmentation: str = "none"
    mixup: bool = False
    mixup_labels: bool = True
    """Whether mixup mixes the labels too."""
    mixup_reversed: bool = False
    """Whether mixup weighs each photo's label by the other photo's share."""
    cutmix: str = "none"
    """`right`, or `labels kept`: a piece of another photo is pasted, and its label forgotten."""
    examples: int | None = None
    imbalance: float = 1.0
    missing_class: bool = False
    leak: bool = False
    split: str = "random"
    """`random`, or `sorted`: the last photos of a list sorted by class are held out."""
    subset: str = "all"
    """Which photos are trained on: the `first third` of a list sorted by class, or a `random
    third`."""
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
        """The head's learning rate at a step, without what epochs do to it."""
        share = self.schedule_factor * self.step_factor**step
        if self.warmup:
            share *= min(1.0, (step + 1) / self.warmup)
        if self.schedule == "cosine":
            reached = min(step + self.schedule_start, self.steps)
            share *= 0.5 * (1 + math.cos(math.pi * reached / self.steps))
        if self.schedule == "restarts":
            share *= 0.5 * (1 + math.cos(math.pi * (step % 50) / 50))
        if self.schedule == "linear":
            share *= max(1 - step / (self.schedule_steps or self.steps), 0.0)
        if self.decay_every is not None:
            share *= 0.1 ** (step // self.decay_every)
        middle = self.steps // 2
        rate = self.learning_rate * share * (self.bump if middle <= step < middle + 5 else 1.0)
        if step < self.sweep:
            rate = 1e-4 * 1e5 ** (step / max(self.sweep - 1, 1))
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
