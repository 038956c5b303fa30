"""A job's `requirements.txt`: what the host has stays the host's, the rest is installed aside."""

from houndsight.jobs.container.requirements.constraints import write_constraints
from houndsight.jobs.container.requirements.install import install_requirements
from houndsight.jobs.container.requirements.lines import Requirements, read_requirements

__all__ = ["Requirements", "install_requirements", "read_requirements", "write_constraints"]
