"""The environment variables that a script finds.

`SM_*` are those of sagemaker-training 5.1.4 (`environment.Environment.to_env_vars`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import houndsight
from houndsight.jobs.container.arguments import to_arguments
from houndsight.jobs.container.config_files import GROUP, input_data_config, resource_config
from houndsight.jobs.container.host import Host
from houndsight.jobs.container.image import framework_of

__all__ = [
    "COMPAT_PATH",
    "base_environment",
    "job_variables",
    "sm_variables",
    "training_environment",
]

COMPAT_PATH = Path(houndsight.__file__).parent / "compat" / "path"
"""Holds smdebug as scripts import it, and the one sitecustomize."""

LOG_LEVEL = 20

_NOT_INHERITED = (
    "SM_",
    "SAGEMAKER_",
    "HOUNDSIGHT_JOB",
    "MASTER_",
    "TORCHELASTIC_",
    "OMPI_",
    "PYTHON",
    "TRAINING_JOB_",
)
_NEVER = frozenset(
    {
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "CURRENT_HOST"),
        *("PWD", "OLDPWD", "SHLVL", "_", "TORCH_HOME", "DISPLAY", "LS_COLORS"),
        *("PYTEST_CURRENT_TEST", "COVERAGE_PROCESS_START"),
    }
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def base_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """What of the supervisor's environment a script gets: nothing that speaks of another job."""
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_NOT_INHERITED) and name not in _NEVER
    }


def job_variables(host: Host, python_path: list[str], processes: int) -> dict[str, str]:
    """Those that are neither inherited nor `SM_*`."""
    spec = host.spec
    threads = str(max(1, host.cores // max(processes, 1)))
    legacy = framework_of(spec.image)
    variables = {
        **dict.fromkeys(_THREADS, threads),
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, host.gpus)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "UTF-8",
        "PYTHONPATH": os.pathsep.join(python_path),
        "GLOO_SOCKET_IFNAME": "lo",
        "TP_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "MASTER_ADDR": host.master,
        "MASTER_PORT": str(host.master_port),
        "TRAINING_JOB_NAME": spec.name,
        "TRAINING_JOB_ARN": spec.arn,
        "CURRENT_HOST": host.name,
        "AWS_REGION": spec.region,
        "AWS_DEFAULT_REGION": spec.region,
        "SAGEMAKER_REGION": spec.region,
        "SAGEMAKER_JOB_NAME": host.hyperparameters.text("job_name"),
        "HOUNDSIGHT_JOB_NAME": spec.name,
        "HOUNDSIGHT_JOB_HOST": host.name,
        "HOUNDSIGHT_JOB_ML": host.ml,
        "HOUNDSIGHT_JOB_SAID": str(host.job.path / "said"),
    }
    is_pytorch = "pytorch" in legacy.name and legacy.version
    variables["HOUNDSIGHT_JOB_LEGACY"] = legacy.version if is_pytorch else "current"
    return variables


def sm_variables(host: Host, program: str) -> dict[str, str]:
    """`SM_MODEL_DIR` and all its like, as strings."""
    environment = training_environment(host, program)
    values: dict[str, Any] = {
        "hosts": environment["hosts"],
        "hps": environment["hyperparameters"],
        "framework_params": environment["additional_framework_parameters"],
        "channels": sorted(environment["channel_input_dirs"]),
        "training_env": environment,
        "user_args": to_arguments(host.hyperparameters.user),
        "input_data_dir": host.seen("input/data"),
    }
    for name in _SAME:
        values[name] = environment[name]
    for name, path in environment["channel_input_dirs"].items():
        values[f"channel_{name}"] = path
    for name, value in host.hyperparameters.user.items():
        values[f"hp_{name}"] = value
    return {f"SM_{k.upper()}": _text(v) for k, v in values.items() if _can_be_variable(k)}


_SAME = (
    *("network_interface_name", "user_entry_point", "resource_config", "input_data_config"),
    *("output_data_dir", "current_host", "current_instance_type", "current_instance_group"),
    *("current_instance_group_hosts", "instance_groups", "instance_groups_dict"),
    *("distribution_instance_groups", "is_hetero", "module_name", "log_level"),
    *("framework_module", "input_dir", "input_config_dir", "output_dir", "num_cpus", "num_gpus"),
    *("num_neurons", "model_dir", "module_dir", "output_intermediate_dir"),
)


def training_environment(host: Host, program: str) -> dict[str, Any]:
    """`SM_TRAINING_ENV`, which the log shows under "Training Env:"."""
    resources = resource_config(host)
    hosts, groups = resources["hosts"], resources["instance_groups"]
    channels = [channel.name for channel in host.spec.channels]
    level = host.hyperparameters.container.get("sagemaker_container_log_level", LOG_LEVEL)
    return {
        "additional_framework_parameters": host.hyperparameters.framework,
        "channel_input_dirs": {name: host.seen(f"input/data/{name}") for name in channels},
        "current_host": host.name,
        "current_instance_group": GROUP,
        "current_instance_group_hosts": hosts,
        "current_instance_type": host.spec.instance_type,
        "distribution_hosts": hosts,
        "distribution_instance_groups": [GROUP],
        "framework_module": "sagemaker_pytorch_container.training:main",
        "hosts": hosts,
        "hyperparameters": dict(host.hyperparameters.user),
        "input_config_dir": host.seen("input/config"),
        "input_data_config": input_data_config(host),
        "input_dir": host.seen("input"),
        "instance_groups": [GROUP],
        "instance_groups_dict": {group["instance_group_name"]: group for group in groups},
        "is_hetero": False,
        "is_master": host.rank == 0,
        "is_modelparallel_enabled": None,
        "is_smddpmprun_installed": False,
        "is_smddprun_installed": False,
        "job_name": host.spec.name,
        "log_level": level,
        "master_hostname": host.spec.hosts[0],
        "model_dir": host.seen("model"),
        "module_dir": host.submit_directory or host.seen("code"),
        "module_name": program.removesuffix(".py"),
        "network_interface_name": resources["network_interface_name"],
        "num_cpus": host.cores,
        "num_gpus": len(host.gpus),
        "num_neurons": 0,
        "output_data_dir": host.seen("output/data"),
        "output_dir": host.seen("output"),
        "output_intermediate_dir": host.seen("output/intermediate"),
        "resource_config": resources,
        "user_entry_point": program,
    }


def _text(value: Any) -> str:
    """As `mapping.to_env_vars` writes a value."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\0", "")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _can_be_variable(name: str) -> bool:
    return "=" not in name and "\0" not in name
