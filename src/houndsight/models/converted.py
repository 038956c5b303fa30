"""PyTorch modules as OpenVINO graphs, kept on disk: converting takes far longer than reading.

A folder below `cache_home()/graphs` holds one graph with its weights; all together stay under a
limit. A graph that cannot be read is made again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from houndsight.config import cache_home
from houndsight.models.conversion import to_openvino
from houndsight.models.eviction import evict
from houndsight.models.openvino_import import core, openvino

__all__ = ["LIMIT_BYTES", "converted"]

LIMIT_BYTES = 1_500_000_000
"""About ten graphs of a ResNet-50."""
FORMAT_VERSION = 1


def converted(module: nn.Module, name: str, *, size: int, batch_size: int) -> openvino.Model:
    """The module as a static graph for images `(batch_size, 3, size, size)`.

    Args:
        name: tells modules with other weights or another cut apart.

    Raises:
        RuntimeError: the network cannot be followed, or OpenVINO lacks an operation.
    """
    versions = f"{openvino.get_version()} {torch.__version__} {FORMAT_VERSION}"
    digest = hashlib.blake2b(
        f"{name} {size} {batch_size} {versions}".encode(), digest_size=10
    ).hexdigest()
    folder = cache_home() / "graphs" / digest
    model = _read(folder)
    if model is None:
        model = to_openvino(module, size=size, batch_size=batch_size)
        with suppress(OSError):  # a full or read-only disk costs time, nothing else
            _save(model, folder)
            # Read back, so that the first run computes with the very graph of all later ones.
            model = _read(folder) or model
    return model


def _read(folder: Path) -> openvino.Model | None:
    path = folder / "graph.xml"
    if not path.is_file():
        return None
    with suppress(OSError):
        os.utime(folder / "pack.json")
    try:
        # In memory, not mapped: another process may evict the file.
        return core.read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())
    except (RuntimeError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _save(model: openvino.Model, folder: Path) -> None:
    """Write it beside and rename, so that nobody finds half a graph."""
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    aside.mkdir(parents=True)
    try:
        openvino.save_model(model, aside / "graph.xml", compress_to_fp16=False)
        (aside / "pack.json").write_text("{}")
        aside.rename(folder)
    except RuntimeError as error:
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    evict(folder.parent, limit_bytes=LIMIT_BYTES, keep=[folder])
