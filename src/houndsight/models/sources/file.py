"""A weights file on disk: reading it safely, and fitting its parameters to a backbone."""

from __future__ import annotations

import functools
import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from houndsight.errors import WeightsError
from houndsight.models.architecture import expected_shapes
from houndsight.models.sources.base import ResolvedWeights
from houndsight.models.table import BACKBONES, WeightsEntry

__all__ = [
    "SUFFIXES",
    "fit_state",
    "name_of_file",
    "names_by_shape",
    "read_state",
    "recognise",
    "resolve_file",
]

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_PREFIXES = ("module.", "backbone.", "model.", "trunk.", "stage.")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher")


def resolve_file(path: Path, name: str) -> ResolvedWeights:
    """The weights of backbone `name` in `path`.

    Raises:
        WeightsError: the file is missing, damaged, or not weights of `name`.
    """
    entry = _published(path, name)
    if entry is not None:
        _check_hash(path, entry)
    state = fit_state(read_state(path), name, origin=str(path))
    return ResolvedWeights(state, entry, str(path))


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a `.safetensors`, `.pt` or `.pth` file, by name.

    Raises:
        WeightsError: it is missing, damaged, or needs code to be run.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's age and form: it loads or it fails
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} is damaged or not a weights file: {_line(error)}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors, and reading it would run its code; save its "
            "state_dict alone (torch.save(model.state_dict(), ...) or safetensors)."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsError(f"{path} is damaged or not a weights file: {_line(error)}") from error
    return _tensors(content, path)


def fit_state(state: Mapping[str, Tensor], name: str, *, origin: str) -> dict[str, Tensor]:
    """The parameters of backbone `name` out of `state`, as float32, every one filled.

    A classifier in the file is left out; names may carry a prefix such as `module.`.

    Raises:
        WeightsError: a parameter is missing, has another shape or is not finite.
    """
    expected, row = expected_shapes(name), BACKBONES[name]
    found = _resample_positions({_plain(key): value for key, value in state.items()}, expected)
    if row.in_order and not expected.keys() <= found.keys():
        found = _rename_in_order(found, expected) or found
    missing = [key for key in expected if key not in found]
    if missing:
        raise WeightsError(
            f"{origin} is not a file of {name}: {len(missing)} of its {len(expected)} parameters "
            f"are missing, such as {missing[0]}." + _suggestion(found, name)
        )
    fitted = {}
    for key, shape in expected.items():
        if tuple(found[key].shape) != shape:
            raise WeightsError(
                f"{origin} is not a file of {name}: {key} has shape {list(found[key].shape)} "
                f"where {name} has {list(shape)}." + _suggestion(found, name)
            )
        fitted[key] = found[key].detach().to(torch.float32).contiguous()
        if not bool(torch.isfinite(fitted[key]).all()):
            raise WeightsError(f"{origin} is damaged: {key} holds values that are not finite.")
    return fitted


def recognise(path: Path) -> str:
    """The backbone whose weights `path` holds, by its name or by the shapes in it.

    Raises:
        WeightsError: the file cannot be read, or fits no backbone.
    """
    named = name_of_file(path)
    fitting = names_by_shape(path)
    if named in fitting:
        assert named is not None
        return named
    if fitting:
        return fitting[0]
    raise WeightsError(
        f"{path} fits none of the backbones {', '.join(BACKBONES)}; "
        "it must hold all parameters of one of them."
    )


def name_of_file(path: Path) -> str | None:
    """The backbone a file's name speaks of, such as `resnet50` for `resnet50_trunk.pth`."""
    for row in BACKBONES.values():
        if any(path.name in entry.files for entry in row.entries):
            return row.name
    stem = path.name.lower().replace("-", "_")
    for row in BACKBONES.values():
        for alias in (row.name, row.architecture):
            if stem.startswith(alias) and not stem[len(alias)].isalnum():
                return row.name
    return None


def names_by_shape(path: Path) -> list[str]:
    """The backbones whose every parameter is in `path`, by name and shape.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    stat = path.stat() if path.exists() else None
    if stat is None:
        raise WeightsError(f"There is no weights file {path}.")
    return list(_names_by_shape(path, stat.st_size, stat.st_mtime_ns))


@functools.lru_cache(maxsize=256)
def _names_by_shape(path: Path, size: int, mtime_ns: int) -> tuple[str, ...]:  # noqa: ARG001
    return _fitting(_shapes(path))


def _fitting(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    return tuple(name for name in BACKBONES if _fits(shapes, name))


def _fits(shapes: Mapping[str, tuple[int, ...]], name: str) -> bool:
    expected = expected_shapes(name)
    if expected.keys() <= shapes.keys():
        return all(shapes[k] == s for k, s in expected.items() if k != "pos_embed")
    in_order = [s for k, s in shapes.items() if not k.endswith("num_batches_tracked")]
    wanted = list(expected.values())
    return BACKBONES[name].in_order and in_order[: len(wanted)] == wanted


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if path.suffix != ".safetensors":
        return {_plain(key): tuple(value.shape) for key, value in read_state(path).items()}
    try:
        with safe_open(path, "pt") as file:
            return {_plain(k): tuple(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or not a weights file: {_line(error)}") from error


def _published(path: Path, name: str) -> WeightsEntry | None:
    return next((e for e in BACKBONES[name].entries if path.name in e.files), None)


def _check_hash(path: Path, entry: WeightsEntry) -> None:
    if not entry.sha256 or not path.is_file():
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(entry.sha256):
        raise WeightsError(
            f"{path} is not the published file of that name: its SHA-256 starts with "
            f"{digest[:8]}, not {entry.sha256[:8]}. Download it again, or rename it if it is yours."
        )


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
    raise WeightsError(f"{path} holds no named tensors; it must be a state_dict.")


def _plain(key: str) -> str:
    """A parameter's name without the prefixes that wrappers put before it."""
    for prefix in (*_PREFIXES, *_PREFIXES):
        key = key.removeprefix(prefix)
    return key


def _rename_in_order(
    found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor] | None:
    values = [v for k, v in found.items() if not k.endswith("num_batches_tracked")]
    shapes = [tuple(value.shape) for value in values[: len(expected)]]
    if shapes != list(expected.values()):
        return None
    return dict(zip(expected, values, strict=False))


def _resample_positions(
    found: dict[str, Tensor], expected: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Position embeddings interpolated to the input size (DINOv2 was trained at 518 pixels)."""
    position = found.get("pos_embed")
    shape = expected.get("pos_embed")
    if position is None or shape is None or tuple(position.shape) == shape or position.ndim != 3:
        return found
    if position.shape[2] != shape[2]:
        return found
    from timm.layers.pos_embed import resample_abs_pos_embed

    edge = round((shape[1] - 1) ** 0.5)
    resampled = resample_abs_pos_embed(position.float(), [edge, edge], num_prefix_tokens=1)
    return found | {"pos_embed": resampled}


def _suggestion(found: Mapping[str, Tensor], name: str) -> str:
    fitting = _fitting({key: tuple(value.shape) for key, value in found.items()})
    return f" It looks like {fitting[0]}." if fitting and fitting[0] != name else ""


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
