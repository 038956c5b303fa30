"""What the first forwards alone are asked: what their outputs were computed from, what drops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from houndsight.debugger.hook.dropouts import DropoutWatch
from houndsight.debugger.hook.functional import may_watch
from houndsight.debugger.hook.graph import Graph, tensors_in

__all__ = ["FirstLook"]


class FirstLook:
    """Looks at the graph of the first training forward, and at the first forwards' dropout.

    Args:
        model: the root module, neither wrapped nor compiled.
        compiled: whether what is called is; no function is seen then.
        failed: told of an error.
    """

    def __init__(
        self, model: nn.Module, *, compiled: bool, failed: Callable[[BaseException], None]
    ) -> None:
        self._model = model
        self._given: list[Tensor] = []
        self.graph: Graph | None = None
        """Of the first training forward, once it is over."""
        self.dropouts = DropoutWatch(failed) if may_watch(model) and not compiled else None

    def begins(self, given: Any, *, training: bool, gradients: bool) -> bool:
        """A forward begins with these arguments; whether something that was known has changed."""
        if self.graph is None and gradients:
            self._given = tensors_in(given)
        if self.dropouts is not None:
            self.dropouts.enter(training=training, gradients=gradients)
        return self.graph is not None and self.graph.learn()

    def returned(self) -> bool:
        """It returned, or raised; whether something new was seen."""
        return self.dropouts is not None and self.dropouts.leave()

    def trains(self, output: Tensor) -> None:
        """It was the first with gradients, and gave this."""
        self.graph, self._given = Graph(output, self._given, self._model), []
