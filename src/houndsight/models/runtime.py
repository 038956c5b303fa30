"""Compiling a frozen backbone for the fastest runtime the machine has, and measuring it."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from houndsight.data.decode import MAX_PIXELS, Preprocessing
from houndsight.data.decoding import DecodedBatch, decode_batches
from houndsight.data.folder import Split
from houndsight.errors import DataError, HoundsightError
from houndsight.models.backbone import Backbone
from houndsight.models.settings import RuntimeName
from houndsight.models.torch_trunk import TorchTrunk
from houndsight.models.trunk import Cut, TrunkRuntime

__all__ = ["RuntimeName", "compile_trunk", "measure_throughput"]

MEASURED_PHOTOS = 512

_compiled: weakref.WeakKeyDictionary[Backbone, dict[object, TrunkRuntime]] = (
    weakref.WeakKeyDictionary()
)
"""Compiled once for each backbone object: measuring, probing and the pass itself share it."""


def compile_trunk(
    backbone: Backbone,
    cut: Cut = "features",
    runtime: RuntimeName = "auto",
    *,
    preprocessing: Preprocessing | None = None,
) -> TrunkRuntime:
    """The backbone up to `cut`, ready to run on decoded images `(n, s, s, 3)` uint8.

    `auto` takes PyTorch where there is a GPU, else OpenVINO, and PyTorch on the CPU when OpenVINO
    cannot run the network; the runtime's `note` then says why.

    Raises:
        HoundsightError: OpenVINO was asked for and cannot run it.
        SettingError: the network cannot take images of this size.
    """
    preprocessing = preprocessing or backbone.preprocessing
    backbone.check_size(preprocessing.size)
    weights = backbone.weights_hash if cut == "features" else backbone.trunk_hash
    key = (cut, runtime, preprocessing, weights)
    known = _compiled.setdefault(backbone, {})
    if key not in known:
        module = backbone if cut == "features" else backbone.trunk
        name = f"{backbone.name} {cut} {weights}"
        known[key] = _compile(module, preprocessing, runtime, name)
    return known[key]


def measure_throughput(
    backbone: Backbone,
    split: Split,
    *,
    seconds: float = 3.0,
    cut: Cut = "features",
    runtime: RuntimeName = "auto",
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> float:
    """Photos per second of a pass over `split`, decoding included.

    Runs photos from all over the split for about `seconds` after the first batch, so that
    compiling and starting the workers do not count; the time of a large pass is what is asked.

    Raises:
        DataError: none of the photos tried can be decoded.
    """
    trunk = compile_trunk(backbone, cut, runtime)
    chosen = np.linspace(0, len(split) - 1, min(len(split), MEASURED_PHOTOS)).astype(np.int64)
    paths = split.take(chosen).paths()
    decoded = decode_batches(
        paths,
        backbone.preprocessing,
        batch_size=trunk.batch_size,
        workers=workers,
        max_pixels=max_pixels,
    )
    started, first_at, done, first = time.perf_counter(), 0.0, 0, 0
    passing = trunk.stream(_pieces(decoded, trunk.batch_size))
    with closing(decoded), closing(passing):  # type: ignore[type-var]
        for _, outputs in passing:
            now = time.perf_counter()
            done += len(outputs)
            if not first:
                first, first_at = done, now
            elif now - first_at > seconds:
                break
    if done == 0:
        raise DataError(f"None of {len(paths):,} photos tried in {split.root} can be decoded.")
    now = time.perf_counter()
    if done > first:
        return (done - first) / (now - first_at)
    return done / (now - started)


def _pieces(decoded: Iterator[DecodedBatch], size: int) -> Iterator[tuple[None, NDArray[np.uint8]]]:
    for batch in decoded:
        for start in range(0, len(batch.images), size):
            yield None, batch.images[start : start + size]


def _compile(
    module: nn.Module, preprocessing: Preprocessing, runtime: RuntimeName, name: str
) -> TrunkRuntime:
    if runtime == "torch" or (runtime == "auto" and torch.cuda.is_available()):
        return TorchTrunk(module, preprocessing)
    try:
        from houndsight.models.openvino_trunk import OpenVinoTrunk

        return OpenVinoTrunk(module, preprocessing, name=name)
    except Exception as error:  # OpenVINO and the exporter share no base class but this
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        note = f"OpenVINO cannot run {name.split()[0]} here: {reason}"
        if runtime == "openvino":
            raise HoundsightError(f"{note}. Use --set models.runtime=torch.") from error
        return TorchTrunk(module, preprocessing, note=note)
