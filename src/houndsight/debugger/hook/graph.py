"""What the first output was computed from: read off the graph that the backward pass will take."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["Graph", "tensors_in"]

MOST_NODES = 200_000


class Graph:
    """The leaves and the person's own functions between the inputs and an output.

    Args:
        output: of the root module, in a forward with gradients.
        inputs: what the root module got; how those were made is left out.
        model: whose parameters are known.
    """

    def __init__(self, output: Tensor, inputs: Iterable[Tensor], model: nn.Module) -> None:
        known = {id(p) for p in model.parameters()} | {id(b) for b in model.buffers()}
        inputs = list(inputs)
        known |= {id(tensor) for tensor in inputs}
        self._strangers: list[_Stranger] = []
        self.functions: tuple[str, ...] = ()
        """Classes of `torch.autograd.Function` that the person wrote or took from elsewhere."""
        if any(type(p) is not nn.Parameter for p in model.parameters()):
            return
        self._walk(output.grad_fn, {i.grad_fn for i in inputs if i.grad_fn is not None}, known)

    def _walk(self, first: Any, seen: set[Any], known: set[int]) -> None:
        waiting, functions = [first] if first is not None else [], list[str]()
        while waiting and len(seen) < MOST_NODES:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            # Those of sharded models are of other types, and stand for parts of the model's own.
            if type(leaf) is nn.Parameter and id(leaf) not in known:
                self._strangers.append(_Stranger(leaf))
            own = getattr(type(node), "_forward_cls", None)
            if own is not None and not own.__module__.startswith("torch."):
                functions.append(own.__name__)
            waiting += [after for after, _ in node.next_functions if after is not None]
        self.functions = tuple(dict.fromkeys(functions))

    def strangers(self, held: set[int]) -> tuple[tuple[int, ...], ...]:
        """Shapes of parameters that the output depends on, and that are neither the model's nor
        among those held by an optimizer, given by `id`."""
        return tuple(s.shape for s in self._strangers if id(s.there()) not in held)

    def learn(self) -> bool:
        """Whether some of them were changed: an optimizer that is not watched has them."""
        before = len(self._strangers)
        self._strangers = [s for s in self._strangers if not s.changed()]
        return len(self._strangers) < before


class _Stranger:
    """A parameter that is not the model's; it is not kept alive."""

    def __init__(self, parameter: Tensor) -> None:
        self.there = weakref.ref(parameter)
        self.shape, self._version = tuple(parameter.shape), parameter._version

    def changed(self) -> bool:
        one = self.there()
        return one is not None and one._version != self._version


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []
