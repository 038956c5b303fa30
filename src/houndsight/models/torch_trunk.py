"""A frozen backbone through PyTorch: on a GPU, or where OpenVINO cannot be had."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from houndsight.data.decode import Preprocessing
from houndsight.models.trunk import TrunkRuntime

__all__ = ["TorchTrunk"]


class TorchTrunk(TrunkRuntime):
    """Channels-last, float16 on a GPU (whose queue runs while the next batch is decoded)."""

    def __init__(self, module: nn.Module, preprocessing: Preprocessing, *, note: str = "") -> None:
        self.preprocessing = preprocessing
        self.note = note
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = self._device.type == "cuda"
        self._dtype = torch.float16 if on_gpu else torch.float32
        self.batch_size = 64 if on_gpu else 8
        self.ahead = 2 if on_gpu else 0
        self.description = f"PyTorch {'float16' if on_gpu else 'float32'} on {self._device}"
        frozen = copy.deepcopy(module).eval().requires_grad_(False)
        self._module = frozen.to(self._device, self._dtype).to(memory_format=torch.channels_last)

    def submit(self, images: NDArray[np.float32]) -> object:
        """Run it; on a GPU, only put it into the queue."""
        batch = torch.from_numpy(images)
        if self._device.type == "cuda":
            batch = batch.pin_memory().to(self._device, non_blocking=True)
        with torch.inference_mode():
            return self._module(batch.to(self._dtype).contiguous(memory_format=torch.channels_last))

    def result(self, ticket: Any) -> NDArray[np.float32]:
        """The outputs on the CPU."""
        outputs: Tensor = ticket
        return np.ascontiguousarray(outputs.float().cpu().numpy())
