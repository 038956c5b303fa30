"""A frozen backbone through OpenVINO on the CPU: fused, blocked layouts, several streams."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from houndsight.data.decode import Preprocessing
from houndsight.data.workers import core_count
from houndsight.models.converted import converted
from houndsight.models.openvino_import import core, openvino
from houndsight.models.trunk import TrunkRuntime

__all__ = ["OpenVinoTrunk", "cpu_precision"]

BATCH_SIZE = 4
"""Measured best of 1, 2, 4, 8 and 16 on two cores: larger ones leave the cache."""


class OpenVinoTrunk(TrunkRuntime):
    """A static graph in the precision the CPU is best at, one infer request a stream and one
    more, so that a stream never waits for the next batch to be handed over."""

    def __init__(self, module: nn.Module, preprocessing: Preprocessing, *, name: str) -> None:
        """`name` tells the module apart from those with other weights or another cut."""
        self.preprocessing = preprocessing
        self.batch_size = BATCH_SIZE
        precision = cpu_precision()
        self._compiled = core.compile_model(
            converted(module, name, size=preprocessing.size, batch_size=BATCH_SIZE),
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": core_count(),
                # Decoding shares the cores: a pinned thread would wait for a busy one.
                "ENABLE_CPU_PINNING": False,
            },
        )
        streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.ahead = streams
        self._requests = [self._compiled.create_infer_request() for _ in range(streams + 1)]
        self._next_request = 0
        self.description = f"OpenVINO {precision}, {streams} streams of the CPU"

    def submit(self, images: NDArray[np.float32]) -> object:
        """Start the oldest request again; its result has been taken, or nobody wants it."""
        request = self._requests[self._next_request]
        request.wait()
        self._next_request = (self._next_request + 1) % len(self._requests)
        tensor = openvino.Tensor(images, shared_memory=True)
        request.set_input_tensor(tensor)
        request.start_async()
        return request, tensor, images  # the pixels must live as long as they are read

    def result(self, ticket: Any) -> NDArray[np.float32]:
        """The request's outputs, copied out of its memory."""
        request = ticket[0]
        request.wait()
        return np.array(request.get_output_tensor().data, np.float32)


def cpu_precision() -> str:
    """`bf16` where the CPU has instructions for it, else `f32`."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in capabilities else "f32"
