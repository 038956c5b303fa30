"""The writer's thread: reduces what was taken, writes it, and never lets an error out."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor

from houndsight.debugger.blocks import Block
from houndsight.debugger.hook.losses import LossCall
from houndsight.debugger.hook.making import AnyBlock
from houndsight.debugger.hook.outcomes import target_kind
from houndsight.debugger.hook.recording import Chunk, Step
from houndsight.debugger.hook.reducer import Reducer
from houndsight.debugger.hook.sampling import to_numpy
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.structure import LossRecord
from houndsight.debugger.tensor_writer import TensorWriter

__all__ = ["Pipeline"]

Array = npt.NDArray[Any]
WAITING = 8
"""Chunks that may wait; a training that is quicker than its log then waits too."""


class Pipeline:
    """Takes chunks from the training's thread and has them reduced and written by its own.

    Args:
        writer: where the rows go.
        reducer: makes rows of chunks.
        failed: told of an error, after which nothing more is written.
        saw_loss: told once of the first loss in the log.
        keep_raw: which groups of tensors are kept whole at save intervals.
    """

    def __init__(
        self,
        writer: TensorWriter,
        reducer: Reducer,
        *,
        failed: Callable[[BaseException], None],
        saw_loss: Callable[[LossRecord], None],
        keep_raw: Callable[[str, str], bool],
    ) -> None:
        self.writer, self.reducer = writer, reducer
        self._failed, self._saw_loss, self._keep_raw = failed, saw_loss, keep_raw
        self._loss_known = False
        self._process = psutil.Process()
        self._owner = os.getpid()
        self._queue: queue.Queue[Chunk | threading.Event | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._work, name="houndsight-hook", daemon=True)
        self._thread.start()

    def put(self, chunk: Chunk) -> None:
        """Have a chunk written; waits when too many do already."""
        if self._alive():
            self._queue.put(chunk)

    def wait(self) -> None:
        """Return when everything put so far is on disk."""
        if self._alive():
            done = threading.Event()
            self._queue.put(done)
            while not done.wait(0.1) and self._alive():
                pass

    def close(self, *, ended: bool) -> None:
        """Write what is left and end the thread."""
        if self._alive():
            self._queue.put(None)
            self._thread.join()
        if self._owner == os.getpid():
            try:
                self.writer.close(ended=ended)
            except Exception as error:
                self._failed(error)

    def _alive(self) -> bool:
        # A forked child has the object but not the thread.
        return self._thread.is_alive() and self._owner == os.getpid()

    def _work(self) -> None:
        working = True
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            elif working:
                try:
                    self._write(item)
                except Exception as error:
                    working = False
                    self._failed(error)

    def _write(self, chunk: Chunk) -> None:
        blocks = self.reducer.reduce(chunk)
        if chunk.steps:
            blocks.append(self._memory(chunk.steps[-1]))
        if not self._loss_known:
            self._find_loss(chunk)
        self.writer.write(blocks)
        for raw in chunk.raw:
            chosen = {
                f"{group}/{name}": to_numpy(tensor)
                for group, tensors in raw.tensors.items()
                for name, tensor in tensors.items()
                if self._keep_raw(group, name)
            }
            if chosen:
                self.writer.write_raw(raw.step, chosen)

    def _memory(self, step: Step) -> AnyBlock:
        device = step.norms[0].device if step.norms else torch.device("cpu")
        used = (
            torch.cuda.memory_allocated(device)
            if device.type == "cuda"
            else self._process.memory_info().rss
        )
        return Block(
            mode=Mode.TRAIN,
            group=Group.SCALARS,
            statistics=(Statistic.VALUE,),
            names=("memory_bytes",),
            steps=np.array([step.step]),
            forwards=np.array([step.number]),
            times=np.array([step.time]),
            values=np.array([[[used]]], np.float32),
        )

    def _find_loss(self, chunk: Chunk) -> None:
        calls = [(f, call) for s in chunk.steps for f in s.forwards for call in f.losses]
        if not calls:
            return
        forward, call = calls[0]
        settings = {
            name: value.tolist() if isinstance(value, torch.Tensor) else value
            for name, value in (call.settings or {}).items()
        }
        targets = None if call.targets is None else call.targets.cpu()
        kind = ""
        if targets is not None:
            given = to_numpy(targets) if targets.is_floating_point() else targets.numpy()
            kind = "numbers" if _are_class_numbers(given) else target_kind(given)
        self._loss_known = True
        self._saw_loss(
            LossRecord(
                kind=call.kind,
                settings=settings,
                target_kind=kind,
                outputs=_outputs(call),
                factor=_factor(call, forward.output),
            )
        )


def _outputs(call: LossCall) -> int | None:
    if call.logits is None or not call.logits.ndim:
        return None
    return int(call.logits.shape[1]) if call.logits.ndim > 1 else 1


def _are_class_numbers(targets: Array) -> bool:
    """Whether targets in floating point, one an example, are more than two whole numbers from 0 or
    1 on, of which no more are missing than there. Ages and counts are whole numbers too."""
    if targets.dtype.kind != "f" or not targets.size or targets.size != len(targets):
        return False
    found = np.unique(targets)
    whole = bool((found == np.round(found)).all())
    return bool(len(found) > 2 and whole and 0 <= found[0] <= 1 and found[-1] < 2 * len(found))


def _factor(call: LossCall, output: Tensor | None) -> float | None:
    """What every one of the model's outputs was multiplied by before the loss."""
    kept = call.kept_logits()
    if kept is None or output is None or kept.shape != output.shape:
        return None
    logits, outputs = to_numpy(kept).ravel(), to_numpy(output).ravel()
    with np.errstate(all="ignore"):
        factor = float(logits @ outputs / (outputs @ outputs))
        near = np.allclose(logits, factor * outputs, rtol=1e-3, atol=1e-6)
    return factor if np.isfinite(factor) and near else None


def tensors_folder(run: Path, rank: int) -> Path:
    """Where the log of a process lies in a run folder."""
    return run / "tensors" / f"rank-{rank}"
