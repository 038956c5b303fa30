"""`distribution=` of an estimator: which launcher starts the script, once for each GPU.

SageMaker's hyperparameters name it: `sagemaker_torch_distributed_enabled`, `…pytorch_ddp_enabled`,
`…distributed_dataparallel_enabled` and `…mpi_enabled`. All become torchrun here, which gives every
process RANK, WORLD_SIZE, LOCAL_RANK; for MPI a small shim adds Open MPI's names for them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from houndsight.jobs.container.host import Host
from houndsight.jobs.container.hyperparameters import Hyperparameters

__all__ = ["Distribution", "distribution_of"]

SHIM = Path(__file__).with_name("mpi_worker.py")
_SWITCHES = {
    "torch_distributed_enabled": "torch_distributed",
    "pytorch_ddp_enabled": "pytorchddp",
    "distributed_dataparallel_enabled": "smdistributed.dataparallel",
    "mpi_enabled": "mpi",
}


@dataclass(frozen=True)
class Distribution:
    """`kind` as the estimator calls it, "" for none; `processes` on each host."""

    kind: str = ""
    processes: int = 1

    def words(self, host: Host) -> list[str]:
        """The launcher, up to the script's name."""
        hosts = host.spec.hosts
        words = [sys.executable, "-m", "torch.distributed.run"]
        words += ["--nnodes", str(len(hosts)), "--nproc_per_node", str(self.processes)]
        words += ["--master_addr", host.master, "--master_port", str(host.master_port)]
        words += ["--node_rank", str(host.rank)]
        return [*words, str(SHIM)] if self.kind == "mpi" else words

    def note(self) -> str:
        """A sentence for the log; "" for none."""
        if not self.kind:
            return ""
        return f"distribution {self.kind}: torchrun starts {self.processes} process(es) a host."


def distribution_of(hyperparameters: Hyperparameters, gpus: int, cores: int) -> Distribution:
    """What the hyperparameters ask for; processes are clamped to what the host has."""
    for switch, kind in _SWITCHES.items():
        if hyperparameters.enabled(switch):
            return Distribution(kind, _processes(hyperparameters, kind, gpus, cores))
    return Distribution()


def _processes(hyperparameters: Hyperparameters, kind: str, gpus: int, cores: int) -> int:
    if kind == "mpi":
        asked = hyperparameters.text("mpi_num_of_processes_per_host")
        if asked.isdigit():
            return max(1, min(int(asked), gpus or cores))
    return max(1, gpus)
