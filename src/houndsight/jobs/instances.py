"""What SageMaker's instance types have, so that a request can be compared with this machine.

Instance types are advice here: what is asked beyond the machine is left out, and said once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from houndsight.jobs.machine import Machine
from houndsight.wording import plural

__all__ = ["Instance", "advice", "instance"]

GIGABYTE = 1 << 30
SIZES = {"medium": 1, "large": 2, "xlarge": 4}
"""vCPUs; `Nxlarge` has four times N."""
MEMORY_PER_CPU_GB = {"c": 2.0, "m": 4.0, "r": 8.0, "t": 2.0, "g": 4.0, "p": 7.625, "i": 4.0}
"""By the family's first letter: https://aws.amazon.com/sagemaker/pricing/ (2025)."""
GPUS = {
    "p2": {"xlarge": 1, "8xlarge": 8, "16xlarge": 16},
    "p3": {"2xlarge": 1, "8xlarge": 4, "16xlarge": 8},
    "p3dn": {"24xlarge": 8},
    "p4d": {"24xlarge": 8},
    "p4de": {"24xlarge": 8},
    "p5": {"4xlarge": 1, "48xlarge": 8},
    "p5e": {"48xlarge": 8},
    "p5en": {"48xlarge": 8},
    "g4dn": {"12xlarge": 4},
    "g5": {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8},
    "g6": {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8},
    "g6e": {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8},
}
"""Of the families with GPUs; sizes of a `g` family that are not named have one."""
_TYPE = re.compile(
    r"(?:ml\.)?([a-z]+[0-9]+[a-z]*(?:-[a-z0-9]+)?)\.(?:([0-9]*)(xlarge)|(medium|large))"
)


@dataclass(frozen=True)
class Instance:
    """One instance type."""

    name: str
    cores: int
    memory_bytes: int
    gpus: int


def instance(name: str) -> Instance | None:
    """What an instance type has; None for one that follows no rule known here."""
    found = _TYPE.fullmatch(name)
    if found is None:
        return None
    family, times, _, small = found.groups()
    cores = SIZES[small] if small else 4 * int(times or 1)
    memory = cores * MEMORY_PER_CPU_GB.get(family[0], 4.0)
    size = small or f"{times or ''}xlarge"
    gpus = GPUS.get(family, {}).get(size, 1 if family[0] == "g" else 0)
    return Instance(name, cores, int(memory * GIGABYTE), gpus)


def advice(name: str, count: int, machine: Machine) -> str:
    """What the log says once when this machine is not what was asked for; "" when it is as good."""
    asked = instance(name)
    if asked is None:
        return f"{name} is no instance type known here: the job gets this machine, {machine.words}."
    if asked.gpus and not machine.gpus:
        runs = "the script runs on the processor"
    elif asked.gpus * count > len(machine.gpus):
        runs = f"the job gets {plural(len(machine.gpus), 'GPU')}"
    elif asked.cores * count > machine.cores:
        runs = "the job gets what is there"
    elif asked.memory_bytes * count > machine.memory_bytes:
        runs = "the job gets the memory that is there"
    else:
        return ""
    gpus = f", {plural(asked.gpus, 'GPU')}" if asked.gpus else ""
    each = f"{plural(count, 'instance')} of {name} have" if count > 1 else f"{name} has"
    size = f"{plural(asked.cores * count, 'core')}, {asked.memory_bytes * count >> 30} GB{gpus}"
    return f"{each} {size}; this machine has {machine.words}: {runs}."
