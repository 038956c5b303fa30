"""What happens for scripts that leave a function out (sagemaker-pytorch-inference 2.0.25).

PyTorch is imported when it is needed: a script without it starts in a moment.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.jobs.endpoints.worker import codec

if TYPE_CHECKING:
    import torch

__all__ = ["ModelLoadError", "default_input_fn", "default_model_fn", "default_predict_fn"]

DEFAULT_FILE = "model.pt"


class ModelLoadError(Exception):
    """The archive holds nothing that can be loaded without a `model_fn`."""


def device() -> torch.device:
    """A GPU where there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_model_fn(model_dir: str) -> Any:
    """The single TorchScript file, `.pt` or `.pth`.

    Raises:
        ModelLoadError: there is none, there are several, or it is no TorchScript.
    """
    path = Path(model_dir) / DEFAULT_FILE
    if not path.is_file():
        files = sorted(p.name for p in Path(model_dir).iterdir() if p.is_file())
        found = [name for name in files if Path(name).suffix in (".pt", ".pth")]
        if len(found) != 1:
            there = ", ".join(found or files[:8]) or "nothing"
            raise ModelLoadError(
                "Without a model_fn exactly one .pth or .pt file is required; the archive holds"
                f" {there}. Write a model_fn(model_dir) that loads the model."
            )
        path = Path(model_dir) / found[0]
    import torch

    load: Any = torch.jit.load
    try:
        with warnings.catch_warnings():
            # PyTorch calls TorchScript deprecated; the person has no other way without a model_fn.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            model = load(str(path), map_location=device())
    except RuntimeError as error:
        raise ModelLoadError(
            f"Failed to load {path.name}: it is no TorchScript. Save torch.jit.script(model) or"
            " torch.jit.trace(…), or write a model_fn(model_dir) that builds the network and loads"
            " its state_dict."
        ) from error
    return model.to(device())


def default_input_fn(body: Any, content_type: str | None) -> Any:
    """A tensor of the body's numbers."""
    import torch

    array = codec.decode(body, content_type)
    if codec.media(content_type) in codec.TEXT_TYPES:
        return torch.FloatTensor(array).to(device())
    return torch.from_numpy(array).to(device())


def default_predict_fn(data: Any, model: Any) -> Any:
    """What the model makes of the data."""
    if not callable(model):
        raise TypeError(
            f"model_fn returned {type(model).__name__}, which cannot be called: return the network"
            " with its state_dict loaded, not the state_dict."
        )
    import torch

    with torch.no_grad():
        if hasattr(model, "to"):
            model = model.to(device())
        if hasattr(model, "eval"):
            model.eval()
        return model(data.to(device()) if hasattr(data, "to") else data)


def default_output_fn(prediction: Any, accept: str) -> tuple[str | bytes, str]:
    """JSON, CSV or NPY, as asked for."""
    if hasattr(prediction, "detach"):
        prediction = prediction.detach().cpu().numpy().tolist()
    return codec.encode(prediction, accept)


def default_accept() -> str:
    """For requests that name nothing."""
    return os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", codec.JSON)
