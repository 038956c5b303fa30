"""Running a saved graph: normalised images in, logits out, through OpenVINO or ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from houndsight.errors import ArtifactError, require_extra

__all__ = ["GRAPH_FILES", "Network", "open_graph", "open_onnx", "open_openvino"]

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Normalised images `(n, 3, size, size)` -> logits `(n, classes)`; callable from any thread."""

GRAPH_FILES = {
    "openvino": ("openvino/model.xml", "openvino/model.bin"),
    "onnx": ("onnx/model.onnx",),
}
"""Kind of graph -> its files in a model folder, the one to open first."""


def open_graph(folder: Path, kind: str, *, threads: int | None = None) -> Network:
    """The graph of `kind` in a model folder.

    Args:
        threads: processor threads of one call; by default all.

    Raises:
        ArtifactError: the graph cannot be read.
        MissingExtraError: its runtime is not installed.
    """
    open_kind = {"openvino": open_openvino, "onnx": open_onnx}[kind]
    return open_kind(folder / GRAPH_FILES[kind][0], threads=threads)


def open_openvino(path: Path, *, threads: int | None = None) -> Network:
    """An OpenVINO graph on the CPU, in float32 so that it agrees with PyTorch."""
    from houndsight.models.openvino_import import core

    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(path, "CPU", config)
    except RuntimeError as error:
        raise ArtifactError(f"{path} is not a graph OpenVINO can run: {_line(error)}") from error
    local = threading.local()

    def network(images: NDArray[np.float32]) -> NDArray[np.float32]:
        # An infer request serves one call at a time, so each thread has its own.
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        return np.array(local.request.infer([images], share_inputs=True)[0])

    return network


def open_onnx(path: Path, *, threads: int | None = None) -> Network:
    """An ONNX graph through ONNX Runtime on the CPU."""
    onnxruntime = require_extra("onnxruntime", what="An ONNX graph", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base but Exception
        raise ArtifactError(f"{path} is not a graph ONNX can run: {_line(error)}") from error
    name = session.get_inputs()[0].name

    def network(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: images})[0], dtype=np.float32)

    return network


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
