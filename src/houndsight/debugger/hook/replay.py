"""A compiled model's inner activations: its batch computed once more, uncompiled.

Hooks inside a compiled module would break its graph. At save intervals the module that was
compiled is called on the same batch without gradients, with hooks that are there for that call
only; random numbers, buffers and plain attributes are put back as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from houndsight.debugger.hook.activations import ActivationWatch

__all__ = ["Replay"]

PLAIN = (bool, int, float, str, type(None))


class Replay:
    """Replays batches of a compiled model.

    Args:
        model: the module that was compiled.
        watch: its slots get the names of the modules, and its `samples` what is taken.
    """

    def __init__(
        self, model: nn.Module, watch: ActivationWatch, failed: Callable[[BaseException], None]
    ) -> None:
        self.model, self.watch, self._failed = model, watch, failed

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute the batch and take the samples."""
        self.watch.attach(self.model)
        try:
            with torch.no_grad(), _as_it_was(self.model):
                self.model(*args, **kwargs)
        finally:
            self.watch.detach()


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Put random numbers, buffers and plain attributes back afterwards."""
    devices = sorted(
        {t.device.index or 0 for t in (*model.parameters(), *model.buffers()) if t.is_cuda}
    )
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    attributes = [
        (module, {k: v for k, v in vars(module).items() if isinstance(v, PLAIN)})
        for module in model.modules()
    ]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)
        for module, before_attributes in attributes:
            vars(module).update(before_attributes)
