"""Collections: tensors that are saved alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..exceptions import SMDebugTypeError, SMDebugValueError
from .modes import ModeKeys
from .reduction_config import ReductionConfig
from .save_config import SaveConfig, SaveConfigMode
from .utils import flatten

__all__ = ["DEFAULT_PYTORCH_COLLECTIONS", "Collection", "CollectionKeys"]


class CollectionKeys:
    """Names of collections."""

    DEFAULT = "default"
    ALL = "all"
    INPUTS = "inputs"
    OUTPUTS = "outputs"
    WEIGHTS = "weights"
    GRADIENTS = "gradients"
    LOSSES = "losses"
    BIASES = "biases"
    LAYERS = "layers"
    SM_METRICS = "sm_metrics"
    OPTIMIZER_VARIABLES = "optimizer_variables"
    TENSORFLOW_SUMMARIES = "tensorflow_summaries"
    METRICS = "metrics"
    HYPERPARAMETERS = "hyperparameters"
    PREDICTIONS = "predictions"
    LABELS = "labels"
    FEATURE_IMPORTANCE = "feature_importance"
    AVERAGE_SHAP = "average_shap"
    FULL_SHAP = "full_shap"
    TREES = "trees"


DEFAULT_PYTORCH_COLLECTIONS: Mapping[str, tuple[str, ...]] = {
    CollectionKeys.ALL: (),
    CollectionKeys.DEFAULT: (),
    CollectionKeys.WEIGHTS: (r"^(?!gradient).*weight",),
    CollectionKeys.BIASES: (r"^(?!gradient).*bias",),
    CollectionKeys.GRADIENTS: (r"^gradient",),
    CollectionKeys.LOSSES: (r"[Ll]oss_(?!input).*output",),
}
"""Those that there always are, with what is in them."""


class Collection:
    """Tensors by name or expression, with when and how they are saved."""

    def __init__(
        self,
        name: str,
        include_regex: Iterable[str] | None = None,
        tensor_names: Iterable[str] | None = None,
        reduction_config: ReductionConfig | None = None,
        save_config: Any = None,
        save_histogram: bool = True,
    ) -> None:
        self.name = name
        self.include_regex: list[str] = list(include_regex or ())
        self.tensor_names: set[str] = set(tensor_names or ())
        self.save_histogram = save_histogram
        self._modules: dict[Any, tuple[bool, bool]] = {}
        self.reduction_config = reduction_config
        self.save_config = save_config

    def include(self, *args: Any) -> None:
        """Take in tensors whose names match, or all of another collection's."""
        for item in flatten(args):
            if isinstance(item, str):
                self.include_regex.append(item)
            elif isinstance(item, Collection):
                self.include_regex += item.include_regex
                self.tensor_names |= item.tensor_names
            else:
                raise SMDebugTypeError(
                    f"tensor_name={item} must be str, list of str, or Collection"
                )

    def add_tensor_name(self, tname: str) -> None:
        """Take in a tensor."""
        self.tensor_names.add(tname)

    def remove_tensor_name(self, tname: str) -> None:
        """Leave a tensor out."""
        self.tensor_names.discard(tname)

    def add_module_tensors(self, module: Any, inputs: bool = False, outputs: bool = True) -> None:
        """Take in what a module of the model gets and gives."""
        self._modules[module] = (inputs, outputs)

    @property
    def modules(self) -> dict[Any, tuple[bool, bool]]:
        """The modules, with whether inputs and outputs are taken in."""
        return self._modules

    @property
    def reduction_config(self) -> ReductionConfig | None:
        """Which figures are saved; the hook's where none is set."""
        return self._reduction_config

    @reduction_config.setter
    def reduction_config(self, value: ReductionConfig | None) -> None:
        if value is not None and not isinstance(value, ReductionConfig):
            raise SMDebugTypeError(f"reduction_config={value} must be type ReductionConfig")
        self._reduction_config = value

    @property
    def save_config(self) -> SaveConfig | None:
        """When it is saved; as the hook says where none is set."""
        return self._save_config

    @save_config.setter
    def save_config(self, value: Any) -> None:
        if isinstance(value, SaveConfigMode):
            value = dict.fromkeys(ModeKeys, value)
        if isinstance(value, Mapping):
            value = SaveConfig.from_dict(value)
        if value is not None and not isinstance(value, SaveConfig):
            raise SMDebugValueError(f"save_config={value} must be a SaveConfig")
        self._save_config = value

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "include_regex": list(self.include_regex),
            "tensor_names": sorted(self.tensor_names),
            "reduction_config": self.reduction_config and self.reduction_config.to_json_dict(),
            "save_config": self.save_config and self.save_config.to_json_dict(),
            "save_histogram": self.save_histogram,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Collection):
            return NotImplemented
        return self.to_json_dict() == other.to_json_dict()

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<class Collection: {self.to_json_dict()}>"
