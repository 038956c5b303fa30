"""Several processes that train one model, started by `torchrun`; alone, everything is a no-op."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from houndsight.errors import SettingError
from houndsight.training.order import Shard

__all__ = ["ALONE", "Team", "join_team"]


@dataclass(frozen=True)
class Team:
    """This process among those that train together. `rank` 0 writes files and tells listeners."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def shard(self) -> Shard:
        """This process's part of every batch."""
        return Shard(self.rank, self.size)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model`, its gradients averaged over the team."""
        if self.size == 1:
            return model
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def sum(self, values: list[float], device: torch.device) -> list[float]:
        """Each value, summed over the team."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def leader(self, value: Any) -> Any:
        """The value that rank 0 has."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, in the order of ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found


ALONE = Team()


@contextmanager
def join_team(device: str) -> Iterator[Team]:
    """The team that `torchrun` started this process for, or `ALONE`.

    Raises:
        SettingError: the environment names a team, but not which process this one is.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2:
        yield ALONE
        return
    try:
        rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    except (KeyError, ValueError) as error:
        raise SettingError(
            f"WORLD_SIZE is {size}, but RANK and LOCAL_RANK are not set; start with torchrun."
        ) from error
    joined = distributed.is_initialized()
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local)
    if not joined:
        distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Team(rank, size, local)
    finally:
        if not joined:
            distributed.destroy_process_group()
