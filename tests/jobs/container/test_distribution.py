"""`distribution=`: the launcher, and the ranks that a script sees."""

from __future__ import annotations

import json

import pytest

from houndsight.jobs.container.distribution import distribution_of
from houndsight.jobs.container.hyperparameters import Hyperparameters

# Hyperparameters, GPUs and cores of a host; kind and processes.
KINDS = [
    ({}, 0, 4, ("", 1)),
    ({"sagemaker_torch_distributed_enabled": "true"}, 0, 4, ("torch_distributed", 1)),
    ({"sagemaker_pytorch_ddp_enabled": "true"}, 4, 8, ("pytorchddp", 4)),
    (
        {"sagemaker_distributed_dataparallel_enabled": "true"},
        2,
        8,
        ("smdistributed.dataparallel", 2),
    ),
    (
        {"sagemaker_mpi_enabled": "true", "sagemaker_mpi_num_of_processes_per_host": "8"},
        0,
        2,
        ("mpi", 2),
    ),
    ({"sagemaker_mpi_enabled": "false"}, 0, 2, ("", 1)),
]


@pytest.mark.parametrize(("sent", "gpus", "cores", "expected"), KINDS)
def test_hyperparameters_name_the_launcher(sent, gpus, cores, expected):
    found = distribution_of(Hyperparameters.parse(sent), gpus, cores)
    assert (found.kind, found.processes) == expected


def test_every_host_gets_its_rank_and_the_same_master(platform):
    sent = {"sagemaker_torch_distributed_enabled": "true", "lr": "0.1"}
    spec = platform.spec({"t.py": ""}, hyperparameters=sent, instance_count=2)
    _, commands = platform.prepare(spec)
    rows = [list(command.argv[6:]) for command in commands]
    ports = {row[row.index("--master_port") + 1] for row in rows}
    assert len(ports) == 1
    for rank, row in enumerate(rows):
        assert row[row.index("--nnodes") + 1] == "2"
        assert row[row.index("--node_rank") + 1] == str(rank)
        assert row[-3:] == ["t.py", "--lr", "0.1"]


RANKS = """
import json, os
import torch.distributed as dist
dist.init_process_group("gloo")
ranks = [None] * dist.get_world_size()
dist.all_gather_object(ranks, [dist.get_rank(), os.environ.get("OMPI_COMM_WORLD_RANK")])
if dist.get_rank() == 0:
    print("RESULT " + json.dumps(ranks))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch_distributed", "mpi"])
def test_two_hosts_train_together(platform, kind):
    spec = platform.spec(
        {"t.py": RANKS}, hyperparameters={f"sagemaker_{kind}_enabled": "true"}, instance_count=2
    )
    ended = platform.run(spec)
    assert ended.codes == {"algo-1": 0, "algo-2": 0}, ended.log
    mpi = kind == "mpi"
    assert ended.said() == [[rank, str(rank) if mpi else None] for rank in range(2)]


@pytest.mark.slow
def test_the_reason_is_a_workers_own_error(platform):
    sent = {"sagemaker_torch_distributed_enabled": "true"}
    ended = platform.run(
        platform.spec({"t.py": "raise ValueError('bad photo')"}, hyperparameters=sent)
    )
    assert "ValueError: bad photo" in ended.reason.partition("\nCommand")[0]
    assert json.dumps(ended.codes) == '{"algo-1": 1}'
