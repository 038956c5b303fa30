"""The first forward: in which order modules are called, and what feeds what."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from houndsight.debugger.hook.activations import first_tensor, leaves, touchy
from houndsight.debugger.hook.callback import Callback

__all__ = ["FirstForward"]

LINEAR = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


class FirstForward:
    """Watches one training forward and is then taken off."""

    def __init__(self, model: nn.Module, failed: Any) -> None:
        self.order: list[str] = []
        """Names of modules without children, in the order of their first call."""
        self.normalised: dict[str, str] = {}
        """Linear or convolutional module, and the BatchNorm that gets its output and no other."""
        self._produced: dict[int, tuple[str, nn.Module, Tensor, int]] = {}
        self._used: dict[str, int] = {}
        self._handles: list[Any] = []
        layers = touchy(model)
        for name, module in leaves(model):
            if name not in layers or layers[name].training:
                self._handles += [
                    module.register_forward_pre_hook(Callback(self._before(name), failed)),
                    module.register_forward_hook(Callback(self._after(name), failed)),
                ]

    def _before(self, name: str) -> Any:
        def entered(module: nn.Module, args: tuple[Any, ...]) -> None:
            if name not in self.order:
                self.order.append(name)
            got = first_tensor(args)
            if got is None:
                return
            made = self._produced.get(id(got))
            if made is None or made[3] != _version(got):
                return
            source, maker, _, _ = made
            self._used[source] = self._used.get(source, 0) + 1
            if isinstance(maker, LINEAR) and isinstance(module, NORMS):
                self.normalised[source] = name

        return entered

    def _after(self, name: str) -> Any:
        def left(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            made = first_tensor(output)
            if made is not None:
                # The tensor is kept so that nothing else gets its id meanwhile.
                self._produced[id(made)] = (name, module, made, _version(made))

        return left

    def close(self) -> None:
        """Take the hooks off and let the tensors go."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._produced.clear()
        self.normalised = {
            source: norm for source, norm in self.normalised.items() if self._used.get(source) == 1
        }


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
