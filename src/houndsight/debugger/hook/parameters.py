"""Parameters and gradients: exact norms in one pass, the rest from a fixed strided sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from houndsight.debugger.hook.recording import Samples
from houndsight.debugger.hook.sampling import is_plain, strided

__all__ = ["ParameterWatch", "Watched"]

Array = npt.NDArray[Any]
MOMENTS = ("exp_avg_sq", "square_avg", "sum")
"""What Adam and its kin, RMSprop and Adagrad call their running square of the gradient."""


class Watched:
    """A fixed list of tensors of fixed place, sampled together."""

    def __init__(self, names: Sequence[str], tensors: Sequence[Tensor]) -> None:
        self.names, self.tensors = tuple(names), tuple(tensors)
        self.slices = [strided(t.numel()) for t in tensors]
        self.sizes = tuple(len(range(*s.indices(t.numel()))) for s, t in self._pairs())
        self.plain = all(is_plain(t) for t in tensors)
        self._places: list[int] = []
        self._views: list[Any] = []

    def _pairs(self) -> Iterable[tuple[slice, Tensor]]:
        return zip(self.slices, self.tensors, strict=True)

    def take(self) -> Samples:
        """A copy of the sample as it is now."""
        places = [t.data_ptr() for t in self.tensors]
        if places != self._places:
            self._views = [_view(t.detach(), s, self.plain) for s, t in self._pairs()]
            self._places = places
        return Samples(self.names, self.sizes, gathered(self._views, self.plain))


def gathered(views: Sequence[Any], plain: bool) -> Array | Tensor:
    """The views one after the other."""
    if plain:
        joined: Array = np.concatenate(views)
        return joined
    if len({view.device for view in views}) > 1:
        views = [view.cpu() for view in views]
    if len({view.dtype for view in views}) > 1:
        views = [view.float() for view in views]
    return torch.cat(list(views))


def _view(tensor: Tensor, where: slice, plain: bool) -> Any:
    """The sampled elements of a tensor in the order of its memory, sharing it where possible."""
    if tensor.is_contiguous():
        flat = tensor.view(-1)
    elif tensor.is_contiguous(memory_format=torch.channels_last) or _dense(tensor):
        flat = tensor.as_strided((tensor.numel(),), (1,))
    else:
        flat = tensor.reshape(-1)
    return flat.numpy()[where] if plain else flat[where]


def _dense(tensor: Tensor) -> bool:
    extent = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return extent == tensor.numel()


class ParameterWatch:
    """The parameters that can learn: those that are trainable or that an optimizer holds."""

    def __init__(self, model: nn.Module, held: Iterable[Tensor]) -> None:
        holding = {id(p) for p in held}
        chosen = [
            (name, p)
            for name, p in model.named_parameters()
            if (p.requires_grad or id(p) in holding) and _watchable(p)
        ]
        self.names = tuple(name for name, _ in chosen)
        self.parameters = [p for _, p in chosen]
        self.samples = Watched(self.names, self.parameters)
        self._moments: Watched | None = None

    def gradients(self) -> list[Tensor | None]:
        """`.grad` of each, None where there is none that can be looked at."""
        found = [p.grad for p in self.parameters]
        if any(g is not None and g.layout is not torch.strided for g in found):
            found = [None if g is None or g.layout is not torch.strided else g for g in found]
        return found

    def norms(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Lengths of all parameters, then of the gradients, scalars."""
        with torch.no_grad():
            norms: Any = torch._foreach_norm([*self.parameters, *gradients])
        return list(norms)

    def sample_gradients(self, gradients: Sequence[Tensor | None]) -> Samples:
        """A copy of the sample of those there are."""
        there = [i for i, g in enumerate(gradients) if g is not None]
        watched, plain = self.samples, self.samples.plain
        views = []
        for i in there:
            gradient = gradients[i]
            assert gradient is not None
            plain = plain and is_plain(gradient)
            views.append((gradient.detach(), watched.slices[i]))
        return Samples(
            tuple(self.names[i] for i in there),
            tuple(watched.sizes[i] for i in there),
            gathered([_view(g, s, plain) for g, s in views], plain),
        )

    def second_moments(self, optimizers: Sequence[torch.optim.Optimizer]) -> Samples | None:
        """A sample of Adam's running squares; None where the optimizer keeps none."""
        if self._moments is None or not self._current(optimizers):
            found = [
                (name, moment)
                for name, p in zip(self.names, self.parameters, strict=True)
                for moment in [_moment(p, optimizers)]
                if moment is not None and moment.shape == p.shape
            ]
            self._moments = Watched([n for n, _ in found], [m for _, m in found])
        return self._moments.take() if self._moments.names else None

    def _current(self, optimizers: Sequence[torch.optim.Optimizer]) -> bool:
        """Whether the running squares are still the tensors that were found first."""
        if self._moments is None or not self._moments.names:
            return False
        first = self.parameters[self.names.index(self._moments.names[0])]
        return _moment(first, optimizers) is self._moments.tensors[0]


def _moment(parameter: Tensor, optimizers: Sequence[torch.optim.Optimizer]) -> Tensor | None:
    for optimizer in optimizers:
        state: dict[str, Any] = optimizer.state.get(parameter) or {}
        for name in MOMENTS:
            if isinstance(state.get(name), Tensor):
                moment: Tensor = state[name]
                return moment
    return None


def _watchable(parameter: Tensor) -> bool:
    return (
        parameter.is_floating_point()
        and parameter.numel() > 0
        and parameter.layout is torch.strided
        and not torch.nn.parameter.is_lazy(parameter)
        and type(parameter) in (nn.Parameter, Tensor)
    )
