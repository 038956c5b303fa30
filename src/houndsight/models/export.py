"""Writing a classifier as a graph that faster runtimes execute, and proving that it agrees."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from houndsight.data.decode import Preprocessing, normalise
from houndsight.errors import require_extra
from houndsight.models.graph import GRAPH_FILES, Network, open_graph

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MINIMUM_AGREEMENT", "GraphCheck", "export_graph", "graph_agrees", "torch_network"]

MINIMUM_AGREEMENT = 0.995
"""A graph whose likeliest class is PyTorch's on fewer photos than this is not kept."""
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class GraphCheck:
    """How a graph compares with PyTorch in float32 on given photos."""

    kind: str
    agreement: float
    """Share of the photos whose likeliest class is the same."""
    images: int
    reason: str = ""
    """Why the graph is not kept, as a sentence; empty when it is."""

    @property
    def kept(self) -> bool:
        """Whether it agrees well enough."""
        return not self.reason


def export_graph(classifier: nn.Module, folder: Path, kind: str, *, size: int) -> Path:
    """Write `classifier` for square images of `size` px as a graph and return its file.

    The graph maps normalised images `(n, 3, size, size)` float32 to logits `(n, classes)`.

    Args:
        kind: `openvino`, or `onnx`, which needs the extra of that name.

    Raises:
        MissingExtraError: the packages that write ONNX are not installed.
        RuntimeError: the network cannot be traced.
    """
    if kind == "onnx":
        require_extra("onnxscript", what="Writing an ONNX graph", extra="onnx")
    target = folder / GRAPH_FILES[kind][0]
    target.parent.mkdir(parents=True, exist_ok=True)
    write = {"openvino": _write_openvino, "onnx": _write_onnx}[kind]
    with warnings.catch_warnings():
        # Exporters warn about their own use of PyTorch, which no caller can change.
        warnings.simplefilter("ignore")
        write(classifier, target, size)
    return target


def graph_agrees(
    classifier: nn.Module,
    folder: Path,
    kind: str,
    *,
    preprocessing: Preprocessing,
    check_images: NDArray[np.uint8],
    minimum: float = MINIMUM_AGREEMENT,
) -> GraphCheck:
    """Compare the graph in `folder` with PyTorch in float32 on photos it was not trained on.

    Args:
        check_images: decoded photos `(n, size, size, 3)` with n > 0, of the validation split.
    """
    ours = _likeliest(torch_network(classifier), check_images, preprocessing)
    theirs = _likeliest(open_graph(folder, kind), check_images, preprocessing)
    agreement = float(np.mean(ours == theirs))
    reason = ""
    if agreement < minimum:
        reason = (
            f"The {kind} graph and PyTorch name the same class on {agreement:.1%} of "
            f"{len(check_images):,} validation photos; {minimum:.1%} are asked."
        )
    return GraphCheck(kind=kind, agreement=agreement, images=len(check_images), reason=reason)


def torch_network(classifier: nn.Module, *, device: str = "cpu") -> Network:
    """`classifier` as a function of arrays, in float32 on `device`."""
    import torch

    classifier = _on(classifier, device).eval()

    def network(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = classifier(torch.from_numpy(images).to(device))
        return np.asarray(logits.float().cpu().numpy())

    return network


def _on(module: nn.Module, device: str) -> nn.Module:
    """The module on `device`: itself when it is there, else a copy, so that its owner's stays."""
    if all(p.device.type == device.partition(":")[0] for p in module.parameters()):
        return module
    return copy.deepcopy(module).to(device)


def _likeliest(
    network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing
) -> NDArray[np.int64]:
    """The likeliest class of each photo, `(n,)`."""
    parts = [
        network(normalise(images[start : start + BATCH], preprocessing)).argmax(axis=1)
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)


def _traced(classifier: nn.Module, size: int) -> Any:
    """The classifier as an exported program for any number of images."""
    import torch

    example = torch.zeros(2, 3, size, size)
    batch = torch.export.Dim("batch", min=1, max=65_536)
    with torch.no_grad():
        return torch.export.export(
            _on(classifier, "cpu").eval(), (example,), dynamic_shapes=({0: batch},), strict=False
        )


def _write_openvino(classifier: nn.Module, target: Path, size: int) -> None:
    from houndsight.models.conversion import to_openvino
    from houndsight.models.openvino_import import openvino

    model = to_openvino(_on(classifier, "cpu"), size=size)
    openvino.save_model(model, target, compress_to_fp16=False)


def _write_onnx(classifier: nn.Module, target: Path, size: int) -> None:
    import torch

    program = _traced(classifier, size)
    export: Callable[..., Any] = torch.onnx.export
    example = (torch.zeros(2, 3, size, size),)
    export(
        program,
        example,
        target,
        input_names=["images"],
        output_names=["logits"],
        dynamo=True,
        verbose=False,
        external_data=False,
    )
