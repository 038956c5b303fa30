"""In the script's process: take what it trains, then run the checks and end it.

A `Hook` that keeps the batches as well. Nothing of the script's own is touched: checks work on
copies, and when they are done the process ends without the script's clean-up, which has nothing
of its own to save yet.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.doctor.batches import (
    Batch,
    TrainingStep,
    cloned,
    follow_output,
    size_bytes,
)
from houndsight.debugger.doctor.bench import Bench
from houndsight.debugger.doctor.examine import examine
from houndsight.debugger.hook import Hook
from houndsight.debugger.hook.activations import first_tensor
from houndsight.debugger.hook.recording import Forward

__all__ = ["Probe"]

STEPS = 50
WAITING = 64
"""Forwards that may wait for their step."""
KEPT_BYTES = 512 * 1024**2
"""Of batches; when there is more, trials use the first ones again."""


def _end_process() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Probe(Hook):
    """Watches `STEPS` steps, keeps what they were made of, and has it examined.

    Args:
        model: the root module.
        folder: the run folder; `doctor.json` goes there.
        orders: `causes` to try, `seconds` a trial may take, `steps`.
        leave: takes everything else off that watches this process.
        end: ends the process when there is nothing more to see.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        folder: Path,
        orders: Mapping[str, Any],
        leave: Callable[[], None],
        end: Callable[[], None] | None = None,
    ) -> None:
        self._orders, self._leave, self._end = orders, leave, end or _end_process
        self._steps_wanted = int(orders.get("steps", STEPS))
        self._before: nn.Module | None = None
        self._copied: list[torch.optim.Optimizer] = []
        self._inputs: dict[int, tuple[Forward, Any, Any, Tensor | None]] = {}
        self._trained: list[Forward] = []
        self._made: list[TrainingStep] = []
        self._kept_bytes = 0
        self._done = False
        super().__init__(model, folder=folder, rules="none")

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if module is self.model and self._before is None and torch.is_grad_enabled():
            self._before = copy.deepcopy(self.inner)
        super()._before_forward(module, args, kwargs)
        forward = self.collector.current
        if module is not self.model or forward is None or not forward.gradients or self._done:
            return
        if self._kept_bytes < KEPT_BYTES:
            if len(self._inputs) >= WAITING:
                # An evaluation with gradients, which no step will follow.
                self._inputs.clear()
            self._inputs[id(forward)] = (forward, cloned(args), cloned(dict(kwargs)), None)

    def _forward_ended(self, output: Any) -> None:
        forward = self.collector.current
        super()._forward_ended(output)
        out = first_tensor(output)
        if forward is not None and id(forward) in self._inputs and out is not None:
            same, args, kwargs, _ = self._inputs[id(forward)]
            self._inputs[id(forward)] = (same, args, kwargs, out.detach().clone())

    def _step_begins(self) -> bool:
        self._trained = list(self.collector._trained)
        return super()._step_begins()

    def _step_begun(self) -> None:
        trained, self._trained = self._trained, []
        if self._done:
            return
        self._copy_optimizers()
        if not trained:
            return
        if len(self._made) >= self._steps_wanted:
            self.finish()
            self._pipeline.close(ended=True)
            self._end()
        else:
            self._made.append(self._step_of(trained))
            self._inputs.clear()

    def close(self) -> None:
        """The script ended before there were enough steps: examine what there is."""
        if not self._closed and not self._done:
            self.finish()
        super().close()

    def finish(self) -> None:
        """Examine and write the verdict; of processes that train together only the first does."""
        self._done = True
        self._detach()
        self._leave()
        if self._before is not None and self._made and self.rank == 0:
            bench = Bench(
                self._before,
                self._copied,
                self._made,
                seconds=float(self._orders.get("seconds", 60.0)),
            )
            examine(bench, self._made, self._orders, self.folder)

    def _fail(self, error: BaseException) -> None:
        """What cannot be taken cannot be examined: the script need not go on."""
        super()._fail(error)
        self._end()

    def _copy_optimizers(self) -> None:
        """Copies of optimizers that hold the copy's parameters, without what they remember."""
        assert self._before is not None
        theirs = dict(self._before.named_parameters())
        memo: dict[int, Any] = {
            id(p): theirs[name] for name, p in self.inner.named_parameters() if name in theirs
        }
        for optimizer in self.collector.optimizers[len(self._copied) :]:
            copied = copy.deepcopy(optimizer, memo)
            copied.state.clear()
            self._copied.append(copied)

    def _step_of(self, trained: list[Forward]) -> TrainingStep:
        batches, losses = [], []
        for forward in trained:
            losses += [float(call.value.float().mean()) for call in forward.losses[-1:]]
            batch = self._batch_of(forward)
            if batch is not None:
                batches.append(batch)
                self._kept_bytes += size_bytes([*batch.args, batch.kwargs, batch.targets])
        whole = len(batches) == len(trained)
        groups = [g for o in self.collector.optimizers for g in o.param_groups]
        gradients = [p.grad for g in groups for p in g["params"] if p.grad is not None]
        norms = torch._foreach_norm([g.detach() for g in gradients]) if gradients else []
        return TrainingStep(
            batches if whole else [],
            tuple(float(group["lr"]) for group in groups),
            float(torch.stack([n.float() for n in norms]).norm()) if norms else 0.0,
            stale=bool(trained[0].stale),
            losses=losses,
        )

    def _batch_of(self, forward: Forward) -> Batch | None:
        """What the forward was made of; None when its loss cannot be computed again."""
        _, args, kwargs, output = self._inputs.get(id(forward), (None, (), {}, None))
        call = next((c for c in reversed(forward.losses) if c.targets is not None), None)
        if call is None or call.targets is None or not (args or kwargs):
            return None
        transform = follow_output(output, call.kept_logits())
        if not transform:
            return None
        return Batch(
            args,
            kwargs,
            call.targets,
            call.kind,
            dict(call.settings or {}),
            transform,
            float(call.value.float().mean()),
        )
