"""What a training is made of: modules, parameters, optimizer, loss.

Recorded once (and again when it changes) as `structure.json`. Rules take structural knowledge
from here and not from thresholds: which parameters are frozen, which bias can have no gradient.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from houndsight.errors import RunError
from houndsight.files import write_atomic

__all__ = ["LossRecord", "ModuleRecord", "OptimizerRecord", "ParameterRecord", "Structure"]

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ModuleRecord:
    """A module without children, or one that is watched as a whole."""

    name: str
    """Its path from the root, such as `layer1.0.conv1`; empty for the root."""
    kind: str
    """Its class: `Conv2d`, `BatchNorm2d`, `ReLU` …; functional calls as `relu()`."""
    order: int | None = None
    """Place in the first forward; None when it was not called."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Plain attributes, such as `in_channels`, `out_features`, `eps`, `momentum`, `p`."""

    @property
    def activation(self) -> str:
        """`sigmoid` for a `Sigmoid` and for a call of `sigmoid()`; of any module its kind so."""
        return self.kind.lower().removesuffix("()")


@dataclass(frozen=True, kw_only=True)
class ParameterRecord:
    """A parameter of the model."""

    name: str
    shape: tuple[int, ...]
    module: str
    """The module that owns it."""
    trainable: bool
    """Its `requires_grad`."""
    group: int | None
    """The optimizer's parameter group that holds it; None when none does."""
    zero_gradient: str = ""
    """Why its gradient is zero by construction, such as `bias before BatchNorm layer1.0.bn1`."""
    shared_with: tuple[str, ...] = ()
    """Other names of the same tensor."""
    misspelt: str = ""
    """An attribute that somebody set meaning `requires_grad`, such as `require_grad=False`."""


@dataclass(frozen=True, kw_only=True)
class OptimizerRecord:
    """The optimizer and the settings of its groups."""

    kind: str
    """Its class: `SGD`, `Adam`, `AdamW` …"""
    groups: tuple[Mapping[str, Any], ...]
    """`lr`, `momentum`, `betas`, `eps`, `weight_decay` … of each group, as at the first step."""


@dataclass(frozen=True, kw_only=True)
class LossRecord:
    """The loss as it was called."""

    kind: str
    """`cross_entropy`, `nll_loss`, `mse_loss`, `binary_cross_entropy_with_logits`, or the
    class of a criterion that calls none of PyTorch's."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """`label_smoothing`, `weight`, `reduction`, `ignore_index` … as far as known."""
    target_kind: str = ""
    """`indices`, `probabilities` (rows that sum to 1), `numbers` (class numbers in floating point)
    or `values`."""
    outputs: int | None = None
    """Width of what it took for logits."""
    factor: float | None = None
    """What the model's output was multiplied by to become these logits; None where it is not known
    or not one number."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """All that is known of a training before its first step is done."""

    root: str
    """Class of the root module."""
    modules: tuple[ModuleRecord, ...]
    parameters: tuple[ParameterRecord, ...]
    optimizer: OptimizerRecord | None = None
    loss: LossRecord | None = None
    head: str = ""
    """The last module with weights that was called: the one that makes the logits."""
    classes: int | None = None
    """How many classes there are, where somebody said so."""
    world_size: int = 1
    device: str = "cpu"
    precision: str = "float32"
    compiled: bool = False
    framework: str = ""
    """PyTorch's version."""
    coverage: Mapping[str, Any] = field(default_factory=dict)
    """What is watched and what is not, with the reason."""
    strangers: tuple[tuple[int, ...], ...] = ()
    """Shapes of parameters that the output depends on, and that neither the model nor an
    optimizer knows: layers in a plain list, or made in the forward."""
    own_functions: tuple[str, ...] = ()
    """Classes of `torch.autograd.Function`, other than PyTorch's, that the output went through."""
    functional_dropout: float = 0.0
    """Largest rate of `F.dropout` and its like in training."""
    dropout_in_evaluation: float = 0.0
    """The same in evaluation mode, where it should not drop."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What `houndsight run` knows besides: preprocessing, class names (`classes`), photos a class,
    how many photos there are to train on (`train_examples`), whether `inputs` are `images` or
    `activations` of a frozen trunk, whose channels no rule on photos may judge."""

    def parameter(self, name: str) -> ParameterRecord | None:
        """The parameter of that name."""
        return next((p for p in self.parameters if p.name == name), None)

    def module(self, name: str) -> ModuleRecord | None:
        """The module of that name."""
        return next((m for m in self.modules if m.name == name), None)

    def in_order(self) -> tuple[ModuleRecord, ...]:
        """The modules that were called, in the order of the first forward."""
        called = [m for m in self.modules if m.order is not None]
        return tuple(sorted(called, key=lambda module: module.order or 0))

    def learnable(self) -> tuple[ParameterRecord, ...]:
        """Parameters that are trainable, in the optimizer, and can have a gradient."""
        return tuple(
            p
            for p in self.parameters
            if p.trainable and p.group is not None and not p.zero_gradient
        )

    def write(self, path: Path) -> None:
        """Replace `structure.json`."""
        text = json.dumps({"v": FORMAT_VERSION, **asdict(self)}, default=str)
        write_atomic(path, text.encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """The structure in a `structure.json`.

        Raises:
            RunError: it is missing, damaged or of a newer version.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            version = int(record["v"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        if version > FORMAT_VERSION:
            raise RunError(
                f"{path} has format {version}, newer than this version reads "
                f"({FORMAT_VERSION}); upgrade houndsight."
            )
        try:
            return cls.from_json(record)
        except (TypeError, KeyError, AttributeError) as error:
            raise RunError(f"{path} is damaged: {error}.") from error

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The structure in plain values; unknown keys are left out."""
        known = _known(cls, record)
        known["modules"] = tuple(ModuleRecord(**_known(ModuleRecord, m)) for m in known["modules"])
        known["parameters"] = tuple(_parameter(p) for p in known["parameters"])
        if known.get("optimizer"):
            optimizer = known["optimizer"]
            known["optimizer"] = OptimizerRecord(
                kind=optimizer["kind"], groups=tuple(optimizer["groups"])
            )
        if known.get("loss"):
            known["loss"] = LossRecord(**_known(LossRecord, known["loss"]))
        for name in ("strangers", "own_functions"):
            listed = known.get(name, ())
            known[name] = tuple(tuple(one) if isinstance(one, list) else one for one in listed)
        return cls(**known)


def _parameter(record: Mapping[str, Any]) -> ParameterRecord:
    known = _known(ParameterRecord, record)
    known["shape"] = tuple(known["shape"])
    known["shared_with"] = tuple(known.get("shared_with", ()))
    return ParameterRecord(**known)


def _known(cls: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: record[f.name] for f in fields(cls) if f.name in record}
