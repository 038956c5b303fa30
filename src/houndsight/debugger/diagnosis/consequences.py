"""Which symptoms a cause brings about: what it explains beyond the finding that names it.

A training with one fault shows many symptoms; a person wants the fault. Each row says which
rules may speak *because* of a cause, so that their findings count for it and not for causes of
their own. Written from what each fault does to a training, before any was measured.
"""

from __future__ import annotations

__all__ = ["CONSEQUENCES", "POINTS_AT_ITSELF"]

_NO_LEARNING = ("LossNotDecreasing", "ClassCollapse", "ClassNeverLearnt", "UnchangedTensor")
_BLOWN_UP = (
    "ExplodingTensor",
    "LossNotFinite",
    "LossSpike",
    "DeadRelu",
    "DeadFeatures",
    "SaturatedActivation",
    "WeightUpdateRatio",
    "PoorWeightInitialization",
    "GradientNoise",
)

_RATE = ("LearningRateTooHigh", "LearningRateTooLow", "Overtraining")
_OTHER_CLASSES = (
    "ClassCollapse",
    "ClassNeverLearnt",
    "Confusion",
    "PreprocessingDiffers",
    "EvaluationUnlikeTraining",
    "Overfit",
    "LabelsNoisy",
)

CONSEQUENCES: dict[str, tuple[str, ...]] = {
    "learning-rate-too-high": (*_BLOWN_UP, *_NO_LEARNING, "InitialLoss", "VanishingGradient"),
    "learning-rate-too-low": (*_NO_LEARNING, "WeightUpdateRatio", "LabelsShuffled"),
    "softmax-before-loss": (*_NO_LEARNING, "VanishingGradient", "LearningRateTooLow"),
    "wrong-loss": (*_NO_LEARNING, *_BLOWN_UP, "InitialLoss", "VanishingGradient"),
    "labels-shuffled": (*_NO_LEARNING, "Overfit", "GradientNoise", *_OTHER_CLASSES),
    "inputs-not-normalised": (
        *_BLOWN_UP,
        *_NO_LEARNING,
        "InitialLoss",
        "CheckInputImages",
        "EvaluationUnlikeTraining",
        "BatchNormDrift",
        "Overfit",
    ),
    "inputs-normalised-twice": (*_NO_LEARNING, "CheckInputImages"),
    "preprocessing-differs": (
        "EvaluationUnlikeTraining",
        "Confusion",
        "Overfit",
        "Overtraining",
        "BatchNormDrift",
        "ClassCollapse",
        "ClassNeverLearnt",
        "LabelsShuffled",
    ),
    "parameters-not-in-optimizer": (*_NO_LEARNING, "LearningRateTooLow", "WeightUpdateRatio"),
    "zero-grad-missing": (*_BLOWN_UP, *_NO_LEARNING, "LearningRateTooHigh"),
    "train-mode-missing": (
        "BatchNormDrift",
        "Overfit",
        "InitialLoss",
        "LearningRateTooHigh",
        *_BLOWN_UP,
        *_NO_LEARNING,
    ),
    "eval-mode-missing": (
        "Overfit",
        "Overtraining",
        "BatchNormDrift",
        "ClassCollapse",
        "ClassNeverLearnt",
        "EvaluationUnlikeTraining",
    ),
    "batchnorm-small-batch": ("BatchNormDrift", "Overfit", "LossSpike", "GradientNoise"),
    "head-size-wrong": ("InitialLoss", "ClassNeverLearnt"),
    "poor-initialisation": (
        *_BLOWN_UP,
        *_NO_LEARNING,
        "InitialLoss",
        "VanishingGradient",
        "LearningRateTooHigh",
    ),
    "weight-decay-wrong": (
        *_NO_LEARNING,
        "VanishingGradient",
        "DeadFeatures",
        "DeadRelu",
        "AllZero",
        "TensorVariance",
        "LearningRateTooHigh",
        "WeightUpdateRatio",
        "PoorWeightInitialization",
    ),
    "momentum-wrong": (*_BLOWN_UP, *_NO_LEARNING, "LearningRateTooHigh"),
    "epsilon-wrong": (*_NO_LEARNING, "LearningRateTooLow", "WeightUpdateRatio"),
    "backbone-frozen": ("LossNotDecreasing", "UnchangedTensor"),
    "backbone-not-frozen": ("Overfit", "LossSpike"),
    "class-imbalance": _OTHER_CLASSES,
    "leakage": (),
    "batches-repeat": (
        "Overfit",
        "Overtraining",
        "LearningRateTooHigh",
        *_BLOWN_UP,
        *_NO_LEARNING,
    ),
    "constant-inputs": (
        *_NO_LEARNING,
        "DeadFeatures",
        "DeadRelu",
        "CheckInputImages",
        "LabelsNoisy",
        "PreprocessingDiffers",
        "LayoutDiffers",
        "InputsNotNormalised",
    ),
    "weights-clamped": (
        *_BLOWN_UP,
        *_NO_LEARNING,
        *_RATE,
        "VanishingGradient",
        "BatchNormDrift",
        "LabelsShuffled",
        "InitialWeightsScale",
    ),
    "average-too-slow": (
        "EvaluationUnlikeTraining",
        "LabelsShuffled",
        "ClassCollapse",
        "ClassNeverLearnt",
        "BatchNormDrift",
        "Overfit",
        "PreprocessingDiffers",
    ),
    "mixup-labels": (*_NO_LEARNING, *_RATE, "LabelsNoisy", "LabelsShuffled", "GradientNoise"),
    "logits-bounded": (*_NO_LEARNING, "LearningRateTooLow"),
    "training-too-short": (*_NO_LEARNING, "LearningRateTooLow", "BatchNormDrift"),
    "dropout-too-strong": (*_NO_LEARNING, *_RATE, "Overfit", "GradientNoise", "LossSpike"),
    "gradient-clipping-wrong": (*_NO_LEARNING, "LearningRateTooLow", "WeightUpdateRatio"),
    "zero-grad-misplaced": (
        *_NO_LEARNING,
        "LearningRateTooLow",
        "UnchangedTensor",
        "ParametersNotUpdated",
        "VanishingGradient",
        "AllZero",
    ),
    "non-finite-input": ("ExplodingTensor", "LossNotFinite"),
    "mixed-precision-overflow": ("ExplodingTensor", "LossNotFinite"),
    "overfitting": ("Overtraining",),
    "small-data": (
        "Overfit",
        "Overtraining",
        "RepeatedBatches",
        "LabelsShuffled",
        "ClassesNotTrained",
        "ClassNeverLearnt",
        "EvaluationUnlikeTraining",
    ),
    "loss-negated": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "VanishingGradient", "AllZero"),
    "data-cut-short": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "VanishingGradient", "AllZero"),
    "weights-redrawn": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "LabelsShuffled", "BatchNormDrift"),
    "weights-overwritten": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "LabelsShuffled"),
    "class-mapping-differs": _OTHER_CLASSES,
    "label-smoothing": (*_NO_LEARNING, "LearningRateTooLow"),
    "vanishing-gradient-depth": (*_NO_LEARNING, "LearningRateTooLow", "SaturatedActivation"),
    "augmentation-too-strong": (*_NO_LEARNING, "LabelsShuffled", "Overfit", "LabelsNoisy"),
    "detached": ("UnchangedTensor", "LossNotDecreasing"),
    "optimizer-maximizes": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "VanishingGradient", "AllZero"),
    "gradient-reversed": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "VanishingGradient", "AllZero"),
    "targets-predicted": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "VanishingGradient", *_OTHER_CLASSES),
    "temperature-wrong": (*_BLOWN_UP, *_NO_LEARNING, *_RATE, "InitialLoss", "LabelsShuffled"),
    "parameters-not-registered": (*_NO_LEARNING, *_RATE, "LabelsShuffled", "BaselineNotReached"),
    "layer-too-narrow": (*_NO_LEARNING, *_RATE, "LabelsShuffled", "BaselineNotReached"),
    "batchnorm-statistics-lost": (
        "EvaluationUnlikeTraining",
        "LabelsShuffled",
        "ClassCollapse",
        "ClassNeverLearnt",
        "BatchNormDrift",
        "Overfit",
        "Overtraining",
        "PreprocessingDiffers",
        "Confusion",
    ),
}
"""{cause: rules whose findings it explains}; a rule that names the cause itself need not be in."""

POINTS_AT_ITSELF = 0.9
"""A cause with at least this score was seen itself and not only by what it brings about: a
missing zero_grad, a parameter that no optimizer holds. It stands before its consequences."""
