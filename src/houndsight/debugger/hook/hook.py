"""The hook: two lines in any PyTorch loop, and everything of it is recorded.

It never changes what is computed: it reads, on the training's thread as little as it can, and
copies what it keeps; its random numbers are none. An error of its own ends the watching with
one line in the log and a finding, and the training goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from houndsight.debugger.actions import Action, Actions, TrainingStoppedError
from houndsight.debugger.history import History
from houndsight.debugger.hook import opening
from houndsight.debugger.hook.activations import ActivationWatch, first_tensor
from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.collector import Collector
from houndsight.debugger.hook.coverage import coverage_of, precision_of
from houndsight.debugger.hook.dataflow import FirstForward
from houndsight.debugger.hook.describe import describe
from houndsight.debugger.hook.description import Description
from houndsight.debugger.hook.firstlook import FirstLook
from houndsight.debugger.hook.functional import FunctionalMode, may_watch
from houndsight.debugger.hook.live import Live, by_name
from houndsight.debugger.hook.lossscope import LossScope
from houndsight.debugger.hook.optimizers import OptimizerWatch
from houndsight.debugger.hook.pipeline import Pipeline, tensors_folder
from houndsight.debugger.hook.recording import Forward
from houndsight.debugger.hook.reducer import Reducer
from houndsight.debugger.hook.replay import Replay
from houndsight.debugger.record import Mode
from houndsight.debugger.structure import Structure
from houndsight.debugger.tensor_log import TensorLog
from houndsight.debugger.tensor_writer import TensorWriter
from houndsight.errors import RunError
from houndsight.findings import Finding
from houndsight.runs import RunStatus

__all__ = ["Hook"]

LOG = logging.getLogger("houndsight.debugger")


class Hook:
    """Watches a training until it is closed.

        hook = Hook(model, loss=criterion, optimizer=optimizer)

    Args:
        model: the root module, as it is called in the loop: wrapped or compiled if it is.
        loss: the criterion, a module or a function; without it PyTorch's loss functions are
            recognised wherever they are called after the model.
        optimizer: one or several; without it every optimizer that steps a parameter of the
            model is watched.
        rules: which judge in `findings()`: `"default"`, names, or names with parameters.
        folder: the run folder; `runs/<script>-<time>` when it is not given.
        save_interval: steps between exact statistics and, with `collections`, whole tensors.
        collections: of which tensors are kept whole: `weights`, `biases`, `gradients`.
        classes: how many there are, or their names.
        actions: `Stop()`, `Webhook(url=…)` or functions, told each finding when it is opened,
            graver, resolved or open again.
        live: whether a process of its own judges while it trains, so that findings and actions
            come without `findings()` being called.
        facts: what else is known, such as how photos are prepared.

    Raises:
        SettingError: an argument has a value it cannot have.
        RunError: the folder cannot be written.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Any = None,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
        rules: Any = "default",
        folder: Path | str | None = None,
        save_interval: int = 500,
        collections: Iterable[str] = (),
        classes: int | Sequence[str] | None = None,
        actions: Iterable[Action] = (),
        live: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        opening.check(model, save_interval)
        judges = by_name(rules) if live else "none"
        self.model, self.rules, self.actions = model, rules, Actions(actions)
        self._kept = opening.collections(collections)
        self.inner, self.compiled = opening.unwrapped(model)
        self._facts = dict(facts or {})
        self.classes = classes if isinstance(classes, int) or classes is None else len(classes)
        if classes is not None and not isinstance(classes, int):
            self._facts.setdefault("classes", list(classes))
        self.run = opening.open_run(folder)
        self.rank = opening.rank()
        self.log_folder = tensors_folder(self.run.folder, self.rank)
        self._told: list[Finding] = []
        self._own: list[Finding] = []
        self._description = Description(self.log_folder)
        self._closed = False
        self._precision = "float32"
        self._handles: list[Any] = []
        self._build(loss, optimizer, save_interval)
        self._live = Live(self.run.folder, judges, self.actions) if live and not self.rank else None
        atexit.register(_close_weakly, weakref.ref(self))

    def _build(self, loss: Any, optimizer: Any, save_interval: int) -> None:
        model, failed = self.inner, self._fail
        self._activations = ActivationWatch(failed)
        self._replay: Replay | None = None
        self._functional: Any = None
        self._functional_on = False
        self._detach_due = False
        self._thread = threading.get_ident()
        self._first: FirstForward | None = None
        self._at_first = True
        self._look = FirstLook(model, compiled=self.compiled, failed=failed)
        if self.compiled:
            self._replay = Replay(model, self._activations, failed)
        else:
            self._activations.attach(model)
            if may_watch(model):
                self._functional = FunctionalMode(model, self._saw_function, failed)
        self._pipeline = Pipeline(
            TensorWriter(self.log_folder, rank=self.rank, kept_steps=self._steps_with_findings),
            Reducer(self._activations.names, self._activations.kinds),
            failed=failed,
            saw_loss=self._description.saw_loss,
            keep_raw=self._keeps,
        )
        self.collector = Collector(
            model, self._activations, self._pipeline.put, save_interval=save_interval
        )
        if not self.compiled:
            self._handles += self.collector.batchnorms.follow(failed)
        self._scope = LossScope(loss, self.collector.saw_loss, failed)
        self._handles += self._scope.handles
        self._watch_root()
        self._handles += OptimizerWatch(
            model,
            opening.listed(optimizer),
            self.collector,
            begins=self._step_begins,
            begun=self._step_begun,
            changed=self._optimizers_changed,
            failed=failed,
        ).handles

    # -- hooks ------------------------------------------------------------------------------

    def _watch_root(self) -> None:
        before = Callback(self._before_forward, self._fail)
        after = Callback(self._after_forward, self._fail)
        self._handles += [
            self.model.register_forward_pre_hook(before, with_kwargs=True),
            self.model.register_forward_hook(after, always_call=True),
        ]

    def take_in(self, args: Any) -> None:
        """Watch the call of the model that is under way, of which its own hooks heard nothing."""
        Callback(self._before_forward, self._fail)(self.model, args, {})

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if module is not self.model or self._leaves():
            return
        forward = self._forward_begun(first_tensor((args, kwargs) if kwargs else args))
        mode = module.training
        if self._look.begins((args, kwargs), training=mode, gradients=forward.gradients):
            self._describe()
        if not forward.gradients or forward.activations is None:
            return
        if self._replay is not None:
            if self.collector.step % self.collector.save_interval == 0:
                self._replay.run(args, kwargs)
            self._activations.samples = None
        elif self._functional is not None and (self._at_first or self._activations.functions):
            self._functional.start()
            self._functional.__enter__()
            self._functional_on = True

    def _after_forward(self, module: nn.Module, _args: Any, output: Any) -> None:
        if module is not self.model:
            return
        if self._functional_on:
            self._functional_on = False
            self._functional.__exit__(None, None, None)
        if self._look.returned() and self.structure is not None:
            self._describe()
        if not self._leaves():
            self._forward_ended(output)

    def _forward_begun(self, inputs: Tensor | None) -> Forward:
        self._scope.leave()
        forward = self.collector.begin(inputs)
        if self._at_first and forward.gradients and not self.compiled:
            self._first = FirstForward(self.inner, self._fail)
        return forward

    def _forward_ended(self, output: Any) -> None:
        forward = self.collector.current
        out = first_tensor(output)
        self.collector.end(out)
        if forward is None or out is None:
            return
        if self._at_first and forward.gradients:
            self._end_first(out)
        hooked: Any = out
        if forward.gradients and out.requires_grad:
            hooked.register_hook(Callback(self._on_backward(forward), self._fail))
        self._scope.enter(evaluation=not forward.gradients)

    def _end_first(self, output: Tensor) -> None:
        self._at_first = False
        self._precision = precision_of(self.inner, output)
        if self._first is not None:
            self._first.close()
        self._look.trains(output)
        self._describe()

    def _saw_function(self, name: str, kind: str, output: Tensor) -> None:
        if self._at_first and self._first is not None and name not in self._first.order:
            self._first.order.append(name)
        self._activations.saw_function(name, kind, output)

    def _on_backward(self, forward: Forward) -> Callable[[Tensor], None]:
        def begun(gradient: Tensor) -> None:
            self.collector.backward(forward, gradient)

        return begun

    def _step_begins(self) -> bool:
        """Before an optimizer steps a parameter of the model; whether it is watched."""
        if self._leaves():
            return False
        self.actions.stop_when_asked()
        self._scope.leave()
        return True

    def _step_begun(self) -> None:
        """When the collector has taken in what led to the step: a place for subclasses."""

    def _optimizers_changed(self) -> None:
        if self.structure is not None:
            self._describe()

    # -- what is known ----------------------------------------------------------------------

    def _describe(self) -> None:
        self._description.put(
            describe(
                self.inner,
                self.collector.optimizers,
                self._first,
                classes=self.classes,
                compiled=self.compiled,
                precision=self._precision,
                functions=dict(zip(self._activations.names, self._activations.kinds, strict=True)),
                coverage=coverage_of(self.inner, self.collector, self._activations, self._scope),
                facts=self._facts,
                look=self._look,
            )
        )

    def _keeps(self, group: str, name: str) -> bool:
        return any(group == g and name.endswith(end) for g, end in self._kept)

    # -- for people -------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.folder

    @property
    def alive(self) -> bool:
        """Whether it still watches: not closed, and not failed."""
        return not self._closed and not self._own

    @property
    def structure(self) -> Structure | None:
        """What the training is made of; None before its first step."""
        return self._description.structure

    def set_mode(self, mode: Mode | str | None) -> None:
        """What forwards without a backward pass count as from now on; None: evaluation."""
        self.collector.mode = None if mode is None else Mode(mode)

    def flush(self) -> None:
        """Have everything that is certain by now on disk."""
        if self._closed:
            return
        self.collector.flush()
        if self.structure is None:
            self._describe()
        self._pipeline.wait()

    def history(self) -> History:
        """Everything recorded so far, as rules see it."""
        self.flush()
        return TensorLog(self.log_folder).history()

    def findings(self) -> list[Finding]:
        """What the rules say of the training so far; new findings go to the run folder."""
        from houndsight.debugger.judge import changed, judge
        from houndsight.debugger.rules import make_rules

        history = self.history()
        found = [*judge(make_rules(self.rules), history).findings, *self._own]
        news = changed(self._told, found)
        self._told = found
        if news and self.rank == 0 and not (self._live and self._live.judging):
            self.run.add_findings(news)
        self.actions.tell(found)
        return found

    def close(self) -> None:
        """Take all hooks off and write what is left; the run is completed."""
        if self._closed:
            return
        self._closed = True
        self._detach()
        try:
            self.collector.finish()
        except Exception as error:
            self._fail(error)
        self._pipeline.close(ended=True)
        if self.rank == 0 and self.run.status == RunStatus.RUNNING:
            self.run.set_status(RunStatus.COMPLETED)
        if self._live is not None:
            self._live.close()
            if self.actions.actions:
                with contextlib.suppress(RunError):
                    self.findings()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self.rank == 0:
            stopped = isinstance(error, TrainingStoppedError | KeyboardInterrupt)
            status = RunStatus.STOPPED if stopped else RunStatus.FAILED
            self.run.set_status(status, f"{type(error).__name__}: {error}")
        self.close()

    def _detach(self) -> None:
        self._scope.leave()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._activations.samples = None
        self._activations.detach()
        if self._first is not None:
            self._first.close()

    def _fail(self, error: BaseException) -> None:
        if self._own:
            return
        LOG.warning("The hook failed and watches no longer: %s: %s", type(error).__name__, error)
        finding = opening.failure(error)
        self._own.append(finding)
        self._detach_due = True
        # PyTorch's modes belong to a thread and must be left in the order they were entered in,
        # so a fault elsewhere, or within a forward, waits for the training's next word.
        if threading.get_ident() == self._thread and not self._functional_on:
            self._leaves()
        self.run.add_findings([finding])

    def _leaves(self) -> bool:
        """Take all hooks off once it has failed; whether it has."""
        if self._detach_due and self._handles:
            self._detach()
        return self._detach_due

    def _steps_with_findings(self) -> list[int]:
        return [
            step
            for finding in self.run.findings()
            for step in (finding.first_step, finding.last_step)
            if step is not None
        ]


def _close_weakly(reference: weakref.ref[Hook]) -> None:
    hook = reference()
    if hook is not None and hook._pipeline._owner == os.getpid():
        hook.close()
