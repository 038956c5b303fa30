"""What is recorded of a training, row by row.

A row holds one statistic of a whole group of tensors at one step: `values[i]` belongs to the
group's i-th name. The same row type travels from the hook to the log on disk and to the rules.

| group | names | statistics |
|---|---|---|
| `parameters` | parameter names | norm, exact, every step; the sampled ones; norm at the first \
forward of an evaluation |
| `gradients` | parameter names | as parameters; after unscaling and clipping, before the step |
| `updates` | parameter names | `ratio`: length of the step over length of the weights, sampled; \
`between`: the same of what changed the weights since the step before |
| `activations` | module names | sampled; `inactive`: share of units never active in a block; \
`saturated`: share of units in the flat part of a sigmoid or tanh |
| `batchnorm` | module names | `drift`, `variance_ratio`: running against the batch's own figures |
| `optimizer` | parameter names | `second_moment`: median of Adam's, sampled |
| `inputs` | channel numbers | mean, std, min, max of the root module's first input |
| `inputs` | `image` | `roughness`, `colour`, `tilt`, `lean`, of photos |
| `examples` | none | `fingerprint`, whole numbers, one an example of the batch |
| `labels`, `predictions` | none | `value`, whole numbers, one an example |
| `losses` | none | `value`, one an example, where the loss can be split |
| `logits` | none | `minimum`, `maximum`, `row_sum_mean`, `row_sum_std`, `entropy` |
| `scalars` | see `SCALARS` | `value` |
| `flags` | see `FLAGS` | `value` |

A tensor that was not there, such as a gradient that is None, is left out of the row's names; a
value that is not finite was measured.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["FLAGS", "SAMPLED", "SCALARS", "Group", "Mode", "Row", "Statistic"]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Mode(enum.StrEnum):
    """What a forward was for: with gradients, or one of the kinds without."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "predict"


class Group(enum.StrEnum):
    """Tensors that are recorded together; see the module's docstring."""

    PARAMETERS = "parameters"
    GRADIENTS = "gradients"
    UPDATES = "updates"
    ACTIVATIONS = "activations"
    BATCHNORM = "batchnorm"
    OPTIMIZER = "optimizer"
    INPUTS = "inputs"
    EXAMPLES = "examples"
    LABELS = "labels"
    PREDICTIONS = "predictions"
    LOSSES = "losses"
    LOGITS = "logits"
    SCALARS = "scalars"
    FLAGS = "flags"


class Statistic(enum.StrEnum):
    """What was computed of each tensor."""

    NORM = "norm"
    """Euclidean length; not finite when any element is not."""
    MEAN = "mean"
    MEAN_ABSOLUTE = "mean_absolute"
    STD = "std"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    P05 = "p05"
    P25 = "p25"
    MEDIAN = "median"
    P75 = "p75"
    P95 = "p95"
    ZEROS = "zeros"
    """Share of elements that are exactly 0."""
    RATIO = "ratio"
    BETWEEN = "between"
    """Length of what changed since the step before was done, over that of the weights."""
    INACTIVE = "inactive"
    SATURATED = "saturated"
    DRIFT = "drift"
    """|running mean - batch mean| / running standard deviation, averaged over channels."""
    VARIANCE_RATIO = "variance_ratio"
    """Geometric mean over channels of batch variance / running variance."""
    SECOND_MOMENT = "second_moment"
    FINGERPRINT = "fingerprint"
    VALUE = "value"
    ROW_SUM_MEAN = "row_sum_mean"
    ROW_SUM_STD = "row_sum_std"
    ENTROPY = "entropy"
    ROUGHNESS = "roughness"
    """Mean square of the difference of neighbouring pixels over twice the variance: 0 is smooth,
    1 is noise."""
    COLOUR = "colour"
    """The same of two channels of one pixel: 0 is grey."""
    TILT = "tilt"
    """Correlation of brightness with the place from top to bottom."""
    LEAN = "lean"
    """The same from left to right."""


SAMPLED = (
    Statistic.MEAN,
    Statistic.MEAN_ABSOLUTE,
    Statistic.STD,
    Statistic.MINIMUM,
    Statistic.MAXIMUM,
    Statistic.P05,
    Statistic.P25,
    Statistic.MEDIAN,
    Statistic.P75,
    Statistic.P95,
    Statistic.ZEROS,
)
"""What is taken from a strided sample of every parameter, gradient and activation."""

SCALARS = (
    "loss",
    "accuracy",
    "learning_rate",
    "gradient_norm",
    "micro_batches",
    "batch_size",
    "memory_bytes",
    "loss_scale",
    "gradient_rows",
    "gradient_scale",
    "gradient_alignment",
    "linear_accuracy",
    "neighbour_accuracy",
)
"""`loss` is the mean over the step's micro-batches as the criterion returned it; `accuracy` of
the batch, where labels are class indices; `learning_rate` of the group with most parameters
(others follow as `learning_rate/1` …); `gradient_norm` as the optimizer saw it;
`micro_batches` backward passes since the last step; `memory_bytes` resident, or on the GPU. Of the
gradient that came back to the model's output: `gradient_rows` share of the examples that got any;
`gradient_scale` how many times that of the mean cross-entropy it is (1; -1 of a negated loss) and
`gradient_alignment` the cosine of the two. Of the same photos as an evaluation's forward:
`linear_accuracy` what linear discriminant analysis of thumbnails gets right, and
`neighbour_accuracy` what the nearest thumbnail does, among the training photos before."""

FLAGS = (
    "training",
    "batchnorm_training",
    "dropout_training",
    "gradients_enabled",
    "stale_gradients",
    "targets_probabilities",
    "inputs_softmaxed",
    "kept_gradients",
    "stepped",
    "statistics_written",
)
"""Of one forward: the root's `training`; the share of BatchNorm and of Dropout modules in
training mode (NaN where there is none); whether gradients were enabled; whether gradients of an
earlier step were still there when the backward pass began; whether the loss got rows of
probabilities as targets; whether what it took for logits was probabilities already; from the
second micro-batch of a step on, whether the gradients of those before were still there; whether
an optimizer stepped after a forward with gradients that no backward pass had reached; whether
something else than a training forward wrote into BatchNorm's running figures before an
evaluation."""


@dataclass(frozen=True)
class Row:
    """One statistic of one group at one forward or step."""

    step: int
    """Optimizer steps so far; a training forward has the number of the step it leads to, less 1."""
    forward: int
    """Calls of the root module in this mode so far, this one left out."""
    mode: Mode
    group: Group
    statistic: Statistic
    names: tuple[str, ...]
    """What the values belong to; empty for groups that have one value an example."""
    values: Floats
    """(names,) or (examples,); empty where `integers` holds the values."""
    exact: bool = True
    """False for a figure from a sample."""
    integers: Integers | None = None
    """Labels, predictions and fingerprints."""
    time: float = 0.0
    """Seconds since the epoch."""
