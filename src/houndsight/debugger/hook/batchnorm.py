"""BatchNorm: how far the running figures are from those of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.parameters import Watched
from houndsight.debugger.hook.recording import Samples

__all__ = ["BatchNormWatch", "Drifts", "drift"]

Array = npt.NDArray[Any]
TINY = 1e-12


class Drifts:
    """The running figures before and after a forward, and the momenta they moved with."""

    __slots__ = ("after", "before", "modules", "momenta")

    def __init__(self, before: Samples, modules: tuple[str, ...], momenta: tuple[float, ...]):
        self.before, self.modules, self.momenta = before, modules, momenta
        self.after: Samples | None = None


class BatchNormWatch:
    """The BatchNorm modules of a model."""

    def __init__(self, model: nn.Module) -> None:
        found = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        self._all = [module for _, module in found]
        self._tracked = [
            (name, module)
            for name, module in found
            if module.running_mean is not None and module.running_var is not None
        ]
        self._buffers: Watched | None = None
        self._left: dict[int, tuple[int, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    def training_share(self) -> float:
        """The share of the modules that are in training mode."""
        return sum(m.training for m in self._all) / len(self._all)

    def follow(self, failed: Callable[[BaseException], None]) -> list[Any]:
        """Handles of hooks that take every training forward of a BatchNorm for its own doing.

        A network is also called in parts, by a checkpoint's second forward for one.
        """
        after = Callback(self._called, failed)
        return [module.register_forward_hook(after) for _, module in self._tracked]

    def leave(self) -> None:
        """A training forward of the root is over: what the figures are now, they may be."""
        self._left = {id(module): _marks(module) for _, module in self._tracked}

    def written(self) -> bool | None:
        """Whether anything but a training forward wrote into a running figure since."""
        if not self._left:
            return None
        return any(self._left[id(module)] != _marks(module) for _, module in self._tracked)

    def _called(self, module: nn.Module, _args: Any, _output: Any) -> None:
        # Replicas of DataParallel have ids of their own.
        if module.training and id(module) in self._left:
            self._left[id(module)] = _marks(module)

    def before(self) -> Drifts | None:
        """The running figures as they are; None where none will move."""
        moving = [(n, m) for n, m in self._tracked if m.training and m.momentum]
        if not moving:
            return None
        tensors: list[Tensor] = []
        for _, module in moving:
            assert module.running_mean is not None
            assert module.running_var is not None
            tensors += [module.running_mean, module.running_var]
        buffers = self._buffers
        if buffers is None or list(map(id, buffers.tensors)) != list(map(id, tensors)):
            buffers = self._buffers = Watched([str(i) for i in range(len(tensors))], tensors)
        return Drifts(
            buffers.take(),
            tuple(name for name, _ in moving),
            tuple(float(m.momentum or 0) for _, m in moving),
        )

    def after(self, drifts: Drifts) -> Drifts:
        """The same after the forward."""
        assert self._buffers is not None
        drifts.after = self._buffers.take()
        return drifts


def _marks(module: nn.Module) -> tuple[int, ...]:
    """Other numbers whenever something has written into a running figure or put another there."""
    buffers = (module.running_mean, module.running_var)
    return tuple(
        number
        for buffer in buffers
        if isinstance(buffer, Tensor) and not buffer.is_inference()
        for number in (id(buffer), buffer._version)
    )


def drift(before: Array, after: Array, sizes: tuple[int, ...], momenta: Array) -> Array:
    """(n, 2, modules) drift and variance ratio, as `record.Statistic` has them.

    The batch's own figures follow from how the running ones moved: running' = (1 - momentum) *
    running + momentum * batch. `before` and `after` are (n, sum of sizes), and `sizes` those of
    mean and variance of each module in turn.
    """
    out = np.empty((len(before), 2, len(momenta)), np.float32)
    start = 0
    old, new = before.astype(np.float64), after.astype(np.float64)
    with np.errstate(all="ignore"):
        for i, momentum in enumerate(momenta):
            size = sizes[2 * i]
            mean, variance = slice(start, start + size), slice(start + size, start + 2 * size)
            spread = np.sqrt(np.maximum(old[:, variance], TINY))
            # running - batch = (running - running') / momentum
            moved = (old[:, mean] - new[:, mean]) / momentum
            out[:, 0, i] = np.mean(np.abs(moved) / spread, axis=1)
            own = (new[:, variance] - (1 - momentum) * old[:, variance]) / momentum
            ratio = np.maximum(own, TINY) / np.maximum(old[:, variance], TINY)
            out[:, 1, i] = np.exp(np.mean(np.log(ratio), axis=1))
            start += 2 * size
    return out
