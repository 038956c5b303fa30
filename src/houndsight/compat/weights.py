"""Says which file to put where when a script asks for weights that are not at hand."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit
from urllib.request import getproxies

from houndsight.compat.saying import say_once

__all__ = ["VARIABLE", "explain_downloads"]

VARIABLE = "HOUNDSIGHT_WEIGHTS"
CONNECT_SECONDS = 5.0
"""A network that drops packets lets a download hang for minutes."""


def explain_downloads(hub: ModuleType) -> None:
    """Let a download of `torch.hub` that finds no network fail soon, with one sentence before."""
    download = hub.download_url_to_file

    def download_url_to_file(url: str, dst: str, *args: object, **named: object) -> None:
        problem = _no_answer(url)
        if problem is None:
            try:
                download(url, dst, *args, **named)
                return
            except OSError as error:  # URLError, a timeout, a reset connection
                problem = error
        name = Path(dst).name
        say_once(f"weights-{name}", what_to_do(name, urlsplit(url).hostname or "its server"))
        raise problem

    hub.download_url_to_file = download_url_to_file  # type: ignore[attr-defined]


def what_to_do(name: str, server: str) -> str:
    """The sentence for a file that is missing, such as `resnet50-0676ba61.pth`."""
    folder = os.environ.get(VARIABLE)
    where = (
        f"put that file into {folder} ({VARIABLE})"
        if folder
        else f"put that file into a folder and set {VARIABLE} to it before `houndsight up`"
    )
    text = f"The weights {name} are not on this machine and {server} does not answer: {where}."
    others = _others(name, folder)
    return text + (f" {others} there holds other weights and cannot stand in." if others else "")


def _others(name: str, folder: str | None) -> str:
    """A file of the same network, such as a trunk or the second version of its weights."""
    if not folder or not Path(folder).expanduser().is_dir():
        return ""
    network = name.partition("-")[0]
    found = sorted(Path(folder).expanduser().glob(f"{network}[-_.]*"))
    return found[0].name if found else ""


def _no_answer(url: str) -> OSError | None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.scheme in getproxies() or not parts.hostname:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error
    return None
