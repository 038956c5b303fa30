"""Follows a training on its own thread: which forward belongs to which step, and what it gave.

Nothing is computed here that can wait. Whoever drives it (module hooks, or events of
`houndsight.events`) calls `begin`, `end`, `saw_loss` and `backward` for each forward and
`before_step` and `after_step` around each step of an optimizer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.hook.activations import ActivationWatch
from houndsight.debugger.hook.batchnorm import BatchNormWatch
from houndsight.debugger.hook.inputs import InputSampler
from houndsight.debugger.hook.losses import LossCall
from houndsight.debugger.hook.lossgradient import MOST_VALUES
from houndsight.debugger.hook.parameters import ParameterWatch
from houndsight.debugger.hook.recording import Chunk, Forward, RawTensors, Step
from houndsight.debugger.hook.scaler import calling_scaler
from houndsight.debugger.hook.thumbnails import Thumbnails
from houndsight.debugger.record import Mode

__all__ = ["Collector"]

DENSE_STEPS = 64
"""Every one of the first steps is sampled,"""
SAMPLE_EVERY = 4
"""and then every fourth; norms, losses and labels are taken of every step."""
EVALUATIONS = 4
"""Forwards sampled at the start of an evaluation, and every sixteenth from then on."""
OUTPUT_STEPS = 2
"""Steps of which the model's output is kept, until it is known what the loss takes of it."""
SCALER_STEPS = 8
"""Steps at which a gradient scaler is looked for."""
CHUNK_STEPS = 32
CHUNK_SECONDS = 1.0
PENDING = 64
"""Forwards with gradients that wait for their backward pass; older ones are evaluations."""
MICRO_BATCHES = 256
"""Forwards that may wait for one step; older ones are let go, since it may never come."""


class Collector:
    """The state of the training under way."""

    def __init__(
        self,
        model: nn.Module,
        activations: ActivationWatch,
        hand_over: Callable[[Chunk], None],
        *,
        save_interval: int,
    ) -> None:
        self.model, self.activations, self.hand_over = model, activations, hand_over
        self.save_interval = save_interval
        self.batchnorms = BatchNormWatch(model)
        self._dropouts = [
            m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)
        ]
        self.inputs = InputSampler()
        self._thumbnails = Thumbnails()
        self.watch: ParameterWatch | None = None
        self.optimizers: list[torch.optim.Optimizer] = []
        self.step = 0
        self.mode: Mode | None = None
        """What forwards without a backward pass count as, where a person said so."""
        self.told_of_loss: Callable[[LossCall], None] | None = None
        """Told each loss as it is computed."""
        self._chunk = Chunk(begun=time.time())
        self._numbers = dict.fromkeys(Mode, 0)
        self.current: Forward | None = None
        """The latest forward, until the next one or the step is over."""
        self._pending: list[Forward] = []
        self._trained: list[Forward] = []
        self._step: Step | None = None
        self._stepped = False
        self._evaluated = self._begun = 0
        self._consumed = False
        self._largest_group = 0
        self._held: dict[int, int] = {}
        self._in_groups: set[int] = set()
        self._scaler: torch.amp.GradScaler | None = None

    # -- forwards ---------------------------------------------------------------------------

    def begin(self, inputs: Tensor | None) -> Forward:
        """A call of the root module begins."""
        if self._stepped:
            self._close_step()
        self._settle()
        gradients = torch.is_grad_enabled()
        forward = Forward(self.step, time.time(), gradients, self.model.training)
        self._begun += 1
        forward.begun = self._begun
        self.current = forward
        self.activations.prepare()
        if gradients:
            self._evaluated = 0
            first = not self._trained and not self._pending
            sampled = first and self._is_sampled()
        else:
            sampled = self._evaluated < EVALUATIONS or self._evaluated % 16 == 0
            if not self._evaluated:
                self._thumbnails.evaluation_begins()
                # In training mode they are being recomputed, often after having been reset.
                if not self.model.training:
                    forward.written = self.batchnorms.written()
                if self.watch is not None:
                    forward.weights = (self.watch.names, self.watch.norms([]))
            self._evaluated += 1
        if inputs is not None:
            forward.batch = len(inputs) if inputs.ndim else 0
            forward.of_inputs = inputs.requires_grad
            forward.inputs = self.inputs.take(inputs)
            if self.inputs.images:
                forward.thumbnails = self._thumbnails.take(inputs, training=gradients)
        if self._dropouts:
            forward.dropout = sum(m.training for m in self._dropouts) / len(self._dropouts)
        if self.batchnorms:
            forward.batchnorm = self.batchnorms.training_share()
        if sampled:
            forward.activations = self.activations.samples = []
            forward.batchnorms = self.batchnorms.before()
        return forward

    def end(self, output: Tensor | None) -> None:
        """The call returned."""
        forward = self.current
        self.activations.samples = None
        if forward is None:
            return
        if forward.batchnorms is not None:
            forward.batchnorms = self.batchnorms.after(forward.batchnorms)
        if self.batchnorms and forward.gradients:
            self.batchnorms.leave()
        if forward.gradients and output is not None and output.requires_grad:
            self._pending.append(forward)
            if self.step < OUTPUT_STEPS and output.numel() <= MOST_VALUES:
                forward.output = output.detach()

    def saw_loss(self, call: LossCall) -> None:
        """A loss was computed."""
        if self.current is not None:
            self.current.losses.append(call)
        if self.told_of_loss is not None:
            self.told_of_loss(call)

    def backward(self, forward: Forward, gradient: Tensor) -> None:
        """The backward pass reached the output of `forward` with that gradient."""
        if forward.backward:
            return
        forward.backward = True
        if self._is_sampled() and gradient.numel() <= MOST_VALUES and not gradient.is_sparse:
            forward.gradient = gradient.detach().clone()
        if forward in self._pending:
            self._pending.remove(forward)
        forward.reached = self._begun
        before = self._trained
        if not forward.of_inputs:
            # Attacks and generators ask for the gradient of the input; the parameters' is waste.
            before = [f for f in before if not f.of_inputs]
        if not before:
            forward.stale = self._remains() if self._consumed else False
        elif any(f.reached < forward.begun for f in before):
            # Forwards of one backward pass (siamese networks) say nothing of each other.
            forward.kept = self._remains()
        self._trained.append(forward)
        if len(self._trained) > MICRO_BATCHES:
            self._file(self._trained.pop(0), Mode.TRAIN)

    def _remains(self) -> Any:
        """Whether gradients other than zero are there: a bool, or a scalar tensor to ask later."""
        if self.watch is None:
            return False
        # Those that no optimizer holds keep theirs for ever, which is another fault.
        held = (p for p in self.watch.parameters if id(p) in self._in_groups)
        found = [p.grad for p in held if p.grad is not None]
        if not found:
            return False
        # The last ones belong to the head, whose gradient vanishes last.
        with torch.no_grad():
            return torch.stack([g.detach().abs().sum().float() for g in found[-3:]]).sum()

    def _settle(self) -> None:
        """The forward before is over."""
        forward, self.current = self.current, None
        if forward is None:
            return
        waits = forward.backward or any(f is forward for f in self._pending)
        if not waits:
            self._file(forward, self.mode or Mode.EVAL)
        while len(self._pending) > PENDING:
            self._file(self._pending.pop(0), self.mode or Mode.EVAL)
        self._hand_over_when_due()

    def _file(self, forward: Forward, mode: Mode) -> None:
        forward.mode, forward.number = mode, self._numbers[mode]
        self._numbers[mode] += 1
        self._chunk.forwards.append(forward)

    # -- steps ------------------------------------------------------------------------------

    def before_step(self, optimizer: torch.optim.Optimizer, *, closure: bool) -> None:
        """An optimizer is about to step; with a closure its gradients come later."""
        if self._count(optimizer) != self._held.get(id(optimizer)):
            self.meet(optimizer)
        if self._stepped and self._trained:
            self._close_step()
        if self._step is None and not closure:
            if not self._trained and self._pending:
                self._pending[-1].stepped = True
            self._step = self._begin_step()

    def after_step(self) -> None:
        """An optimizer has stepped; several that step after one backward pass make one step."""
        late = self._step is None
        if late:
            self._step = self._begin_step()
        step = self._step
        if step is None:
            return
        step.late = late
        if step.before is not None:
            assert self.watch is not None
            step.after = self.watch.samples.take()
            step.second_moments = self.watch.second_moments(self.optimizers)
        self._stepped = self._consumed = True

    def meet(self, optimizer: torch.optim.Optimizer) -> None:
        """Watch what `optimizer` holds, for the first time or after it got more."""
        self._held[id(optimizer)] = self._count(optimizer)
        if optimizer not in self.optimizers:
            self.optimizers.append(optimizer)
        groups = [g["params"] for o in self.optimizers for g in o.param_groups]
        held = [p for group in groups for p in group]
        self._in_groups = {id(p) for p in held}
        counts = [sum(p.numel() for p in group) for group in groups]
        self._largest_group = counts.index(max(counts)) if counts else 0
        self.watch = ParameterWatch(self.model, held)

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """What changes when an optimizer is met or gets more parameters."""
        return tuple(self._held.items())

    @staticmethod
    def _count(optimizer: torch.optim.Optimizer) -> int:
        return sum(len(group["params"]) for group in optimizer.param_groups)

    def _begin_step(self) -> Step | None:
        """Everything of the gradients and of the parameters as they are before the step."""
        watch = self.watch
        if watch is None or not self._trained:
            return None
        step = Step(self.step, time.time(), self._trained, names=watch.names)
        self._trained = []
        gradients = watch.gradients()
        there = [g for g in gradients if g is not None]
        step.with_gradient = watch.names
        if len(there) != len(gradients):
            pairs = zip(watch.names, gradients, strict=True)
            step.with_gradient = tuple(name for name, g in pairs if g is not None)
        step.norms = watch.norms(there)
        step.rates = tuple(g["lr"] for o in self.optimizers for g in o.param_groups)
        step.largest_group = self._largest_group
        self._note_scale(step)
        if self._is_sampled():
            step.before = watch.samples.take()
            if there:
                step.gradients = watch.sample_gradients(gradients)
        if self.step % self.save_interval == 0:
            self._save(watch, gradients)
        return step

    def _note_scale(self, step: Step) -> None:
        """What a gradient scaler multiplies the loss by, and whether gradients still have it."""
        if self._scaler is None and self.step < SCALER_STEPS:
            self._scaler = calling_scaler()
        scaler = self._scaler
        if scaler is None or not scaler.is_enabled():
            return
        # Its tensor, since `get_scale` would make the training wait for the GPU.
        scale = getattr(scaler, "_scale", None)
        step.scale = scaler.get_scale() if scale is None else scale.detach().clone()
        for optimizer in self.optimizers:
            left = getattr(optimizer, "grad_scale", None)
            if isinstance(left, Tensor):
                step.gradient_scale = left.detach().clone()

    def _is_sampled(self) -> bool:
        return self.step < DENSE_STEPS or self.step % SAMPLE_EVERY == 0

    def _save(self, watch: ParameterWatch, gradients: Sequence[Tensor | None]) -> None:
        tensors: dict[str, dict[str, Tensor]] = {"parameters": {}, "gradients": {}}
        for name, parameter, gradient in zip(watch.names, watch.parameters, gradients, strict=True):
            tensors["parameters"][name] = parameter.detach().clone()
            if gradient is not None:
                tensors["gradients"][name] = gradient.detach().clone()
        self._chunk.raw.append(
            RawTensors(self.step, self._numbers[Mode.TRAIN], time.time(), tensors)
        )

    def _close_step(self) -> None:
        """The step is over: nothing that follows can belong to it."""
        step, self._step = self._step, None
        self._stepped = False
        if step is None:
            return
        current, self.current = self.current, None
        for forward in step.forwards:
            self._file(forward, Mode.TRAIN)
        step.number = self._numbers[Mode.TRAIN] - 1
        for forward in self._pending:
            self._file(forward, self.mode or Mode.EVAL)
        self._pending = []
        if current is not None and current.mode is None:
            self._file(current, self.mode or Mode.EVAL)
        self._chunk.steps.append(step)
        self.step += 1
        self._hand_over_when_due()

    # -- handing over -----------------------------------------------------------------------

    def _hand_over_when_due(self) -> None:
        chunk = self._chunk
        full = len(chunk.steps) >= CHUNK_STEPS or len(chunk.forwards) >= 2 * CHUNK_STEPS
        if full or time.time() - chunk.begun >= CHUNK_SECONDS:
            self._hand_over()

    def _hand_over(self) -> None:
        chunk, self._chunk = self._chunk, Chunk(begun=time.time())
        if len(chunk):
            self.hand_over(chunk)

    def flush(self) -> None:
        """Hand over all that is certain by now, and the latest evaluation."""
        if self._stepped:
            self._close_step()
        if self.current is not None and not self.current.gradients:
            self._settle()
        self._hand_over()

    def finish(self) -> None:
        """The training is over: what waits for a backward pass will not get one."""
        if self._stepped:
            self._close_step()
        self._settle()
        for forward in (*self._trained, *self._pending):
            self._file(forward, Mode.TRAIN if forward.backward else self.mode or Mode.EVAL)
        self._trained, self._pending = [], []
        self._hand_over()
