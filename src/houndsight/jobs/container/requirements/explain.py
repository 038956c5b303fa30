"""Why a requirement cannot be met: its line, and the nearest version that could."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.image import host_version
from houndsight.jobs.container.requirements.constraints import FIXED
from houndsight.jobs.container.requirements.lines import Line, Requirements, normalised

__all__ = ["check_fixed", "explain", "specifier_of"]

_NO_VERSION = re.compile(
    r"Could not find a version that satisfies the requirement (\S+).*\(from versions: ([^)]*)\)"
)
_NO_MATCH = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)")
_CONFLICT = re.compile(r"The user requested (?:\(constraint\) )?([A-Za-z0-9._-]+)\s*([^\s]*)")
_DEPENDS = re.compile(r"^\s*(\S+) (\S+) depends on ([A-Za-z0-9._-]+)\s*(.*)$", re.M)
_BUILDING = re.compile(
    r"(?:Failed to build|Failed building wheel for) [^\n]*?([A-Za-z0-9._-]+)\s*$", re.M
)
_NO_NETWORK = (
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "ConnectTimeoutError",
    "Network is unreachable",
    "Connection refused",
    "No route to host",
)


def specifier_of(line: Line) -> Any:
    """The versions that a plain line such as `numpy>=1.19` allows, else None."""
    packaging = _packaging()
    if packaging is None or not line.name:
        return None
    try:
        requirement = packaging.requirements.Requirement(line.text)
    except packaging.requirements.InvalidRequirement:
        return None
    if requirement.url or requirement.extras or requirement.marker:
        return None
    return requirement.specifier


def check_fixed(lines: Sequence[Line]) -> None:
    """Refuse a pin on a package of which only the host's version may run.

    Raises:
        ContainerError: with the line and the version.
    """
    for line in lines:
        version = host_version(line.name) if line.name in FIXED else ""
        specifier = specifier_of(line) if version else None
        if specifier is not None and not specifier.contains(version, prereleases=True):
            raise ContainerError(_fixed(line, version))


def explain(requirements: Requirements, output: str) -> str:
    """A sentence from what pip said."""
    if any(text in output for text in _NO_NETWORK) and "from versions: none" in output:
        found = _NO_MATCH.search(output)
        line = _line_of(requirements, found[1] if found else "")
        return f"{line} cannot be installed: the package index does not answer from this machine."
    for found in _NO_VERSION.finditer(output):
        return _no_version(requirements, found[1], found[2])
    for found in _CONFLICT.finditer(output):
        version = host_version(found[1]) if normalised(found[1]) in FIXED else ""
        depends = next((d for d in _DEPENDS.finditer(output) if d[3] == found[1]), None)
        if version and depends:
            return (
                f"{_line_of(requirements, depends[1])} cannot be met: {depends[1]} {depends[2]}"
                f" needs {depends[3]}{depends[4].strip()}, and {found[1]} {version} of this machine"
                " stays for every job. Ask for a newer version of it."
            )
    for found in _CONFLICT.finditer(output):
        return f"{_line_of(requirements, found[1])} contradicts another line: {_last(output)}"
    built = _BUILDING.search(output)
    if built:
        return (
            f"{_line_of(requirements, built[1])} cannot be built for this machine's Python; ask"
            " for a version that has a wheel for it (the pip output stands in the log)."
        )
    file = requirements.lines[0].file if requirements.lines else "requirements.txt"
    return f"{file} cannot be installed: {_last(output)}"


def _no_version(requirements: Requirements, wanted: str, versions: str) -> str:
    name = re.split(r"[<>=!~\[;]", wanted)[0]
    line = _line_of(requirements, name)
    there = [v.strip() for v in versions.split(",") if v.strip() not in ("", "none")]
    if not there:
        return f"{line} cannot be met: there is no package {name} for this machine's Python."
    nearest = _nearest(wanted, there)
    some = ", ".join(there[-6:])
    return f"{line} cannot be met; the nearest version is {name}=={nearest} (there are {some})."


def _nearest(wanted: str, there: list[str]) -> str:
    """The lowest version above the one asked for, else the highest."""
    packaging = _packaging()
    asked = re.search(r"[=~<>!]=?=?\s*([0-9][^,;\s]*)", wanted)
    if packaging is None or asked is None:
        return there[-1]
    parse = packaging.version.parse
    try:
        above = [v for v in there if parse(v) >= parse(asked[1].rstrip(".*"))]
        return min(above, key=parse) if above else max(there, key=parse)
    except packaging.version.InvalidVersion:
        return there[-1]


def _fixed(line: Line, version: str) -> str:
    return (
        f"{line} cannot be met: {line.name} {version} of this machine stays for every job, and the"
        f" nearest version is that one: {line.name}=={version}. Loosen the pin, for example"
        f" '{line.name}'."
    )


def _line_of(requirements: Requirements, name: str) -> str:
    for line in requirements.packages:
        if line.name == normalised(name):
            return str(line)
    file = requirements.packages[0].file if requirements.packages else "requirements.txt"
    return f"{file}: {name}, which it needs," if name else file


def _last(output: str) -> str:
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    lines = errors or output.strip().splitlines() or ["pip said nothing."]
    return lines[-1].removeprefix("ERROR: ").strip()


def _packaging() -> Any:
    """The library `packaging`, pip's own copy where it is not installed."""
    for name in ("packaging", "pip._vendor.packaging"):
        try:
            importlib.import_module(f"{name}.requirements")
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return None
