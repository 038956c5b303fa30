"""What a training image's URI asks for, and what this machine has instead."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from dataclasses import dataclass

__all__ = ["Framework", "framework_of", "host_version", "says_what_runs"]

_TAGGED = re.compile(r"([a-z0-9-]+?)-(?:training|inference)[^:]*:([0-9][0-9.]*)")
_PYTHON = re.compile(r"-(py[0-9]+)(?:-|$)")
_TITLES = {"pytorch": "PyTorch", "tensorflow": "TensorFlow", "mxnet": "MXNet"}


@dataclass(frozen=True)
class Framework:
    """`name` is `pytorch` …, `version` such as `1.8.1`, `python` such as `py36`; "" if unsaid."""

    name: str = ""
    version: str = ""
    python: str = ""


def framework_of(image: str) -> Framework:
    """Read from the URI's last part and tag: `…/pytorch-training:1.8-cpu-py36`."""
    found = _TAGGED.search(image.rsplit("/", 1)[-1])
    if found is None:
        return Framework()
    python = _PYTHON.search(image)
    return Framework(found[1], found[2].rstrip("."), python[1] if python else "")


def host_version(package: str) -> str:
    """The installed version of a package, found without importing it; "" if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def says_what_runs(image: str) -> str:
    """One sentence for the log when another framework or version is asked for than runs."""
    asked = framework_of(image)
    ours = host_version("torch")
    if asked.name == "pytorch" and ours.split("+")[0].startswith(f"{asked.version}."):
        return ""
    what = f"{_TITLES.get(asked.name, asked.name)} {asked.version}".strip()
    python = f" ({asked.python})" if asked.python else ""
    wanted = f"asks for {what}{python}" if asked.name else f"is {image or 'not given'}"
    return (
        f"The training image {wanted}; the installed PyTorch {ours or '(none)'} runs it,"
        f" on Python {platform.python_version()}."
    )
