"""Installs requirements into a folder of their own, once for each content.

pip is asked twice: first what would have to be installed here, beside what the host has (a dry run
that changes nothing), then for exactly that, without dependencies, into the folder. So PyTorch is
not fetched again because a package needs it, and nothing of the host's is ever replaced.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from houndsight.config import cache_home
from houndsight.data.cache_lock import locked
from houndsight.files import write_atomic
from houndsight.jobs.container.clone import remove_tree
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.requirements.constraints import constraint_lines, write_constraints
from houndsight.jobs.container.requirements.explain import check_fixed, explain, specifier_of
from houndsight.jobs.container.requirements.lines import Line, Requirements

__all__ = ["install_requirements"]

INSTALL_SECONDS = 3_600
OUTPUT_TAIL_LINES = 40


def install_requirements(
    requirements: Requirements,
    code: Path,
    *,
    say: Callable[[str], None],
    compat: Path | None = None,
) -> Path | None:
    """The folder to put on `PYTHONPATH`; None when the host has all that is asked for.

    Args:
        code: the source, which local paths in the file are relative to.
        say: gets lines for the log.
        compat: a folder of packages that count as installed, though not by pip.

    Raises:
        ContainerError: a requirement cannot be met; the sentence holds its line and the nearest
            version that could.
    """
    check_fixed(requirements.packages)
    if all(map(_is_met, requirements.packages)):
        return None
    if importlib.util.find_spec("pip") is None:
        raise ContainerError(
            f"{requirements.packages[0].file} cannot be installed, because {sys.executable} has no"
            " pip: run `python -m ensurepip` in Houndsight's environment."
        )
    folder = cache_home() / "requirements" / _key(requirements, code)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if (folder / "installed.json").exists():
            say("Requirements are installed already.")
        else:
            say("Installing dependencies from requirements.txt")
            _install_aside(requirements, code, folder, say, compat)
    os.utime(folder)
    return folder / "site"


def _install_aside(
    requirements: Requirements,
    code: Path,
    folder: Path,
    say: Callable[[str], None],
    compat: Path | None,
) -> None:
    aside = folder.with_name(folder.name + ".part")
    remove_tree(aside)
    (aside / "site").mkdir(parents=True)
    try:
        (aside / "requirements.txt").write_text(requirements.text())
        write_constraints(aside / "constraints.txt")
        chosen = _resolve(aside, requirements, code, say, compat)
        if chosen:
            _install(aside, requirements, chosen, code, say)
        about = {"v": 1, "installed": chosen, "constraints": constraint_lines()}
        write_atomic(aside / "installed.json", json.dumps(about).encode())
        remove_tree(folder)
        aside.rename(folder)
    finally:
        remove_tree(aside)


def _resolve(
    aside: Path,
    requirements: Requirements,
    code: Path,
    say: Callable[[str], None],
    compat: Path | None,
) -> list[str]:
    """`name @ url` of everything that is not here already."""
    report = aside / "report.json"
    arguments = ["--dry-run", "--report", str(report), "-r", str(aside / "requirements.txt")]
    arguments += ["-c", str(aside / "constraints.txt")]
    code_, output = _pip(arguments, code, compat)
    for line in output.splitlines():
        if not line.startswith("Would install"):
            say(line)
    if code_ != 0:
        raise ContainerError(explain(requirements, output))
    rows: list[dict[str, Any]] = json.loads(report.read_bytes()).get("install", [])
    return [_pinned(row) for row in rows]


def _pinned(row: dict[str, Any]) -> str:
    name, info = row["metadata"]["name"], row["download_info"]
    url = info["url"]
    vcs = info.get("vcs_info")
    if vcs:
        return f"{name} @ {vcs['vcs']}+{url}@{vcs['commit_id']}"
    hashes = info.get("archive_info", {}).get("hashes", {})
    return f"{name} @ {url}" + (f"#sha256={hashes['sha256']}" if "sha256" in hashes else "")


def _install(
    aside: Path,
    requirements: Requirements,
    chosen: Sequence[str],
    code: Path,
    say: Callable[[str], None],
) -> None:
    options = [line.text for line in requirements.lines if line.is_option]
    (aside / "chosen.txt").write_text("\n".join([*_kept(options), *chosen]) + "\n")
    arguments = ["--no-deps", "--target", str(aside / "site"), "-r", str(aside / "chosen.txt")]
    done, output = _pip(arguments, code, None)
    for line in output.splitlines():
        say(line)
    if done != 0:
        raise ContainerError(explain(requirements, output))


def _kept(options: Sequence[str]) -> list[str]:
    return [text for text in options if not text.startswith(("-c", "--constraint"))]


def _pip(arguments: list[str], code: Path, compat: Path | None) -> tuple[int, str]:
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PIP_CONSTRAINT"},
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHONPATH": str(compat) if compat else "",
    }
    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=code,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=INSTALL_SECONDS,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return 1, f"ERROR: pip took longer than {INSTALL_SECONDS} s."
    return done.returncode, done.stdout


def _is_met(line: Line) -> bool:
    """Whether the host has it, as far as that can be said without pip."""
    specifier = specifier_of(line)
    if specifier is None:
        return False
    try:
        installed = importlib.metadata.version(line.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return bool(specifier.contains(installed, prereleases=True))


def _key(requirements: Requirements, code: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    parts = [requirements.text(), *constraint_lines(), sys.version, sys.prefix]
    options = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
    parts += [f"{k}={v}" for k, v in sorted(options.items()) if k != "PIP_CONSTRAINT"]
    digest.update("\0".join(parts).encode())
    if any(line.is_local for line in requirements.lines):
        for path in sorted(p for p in code.rglob("*") if p.is_file()):
            digest.update(f"\0{path.relative_to(code)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
