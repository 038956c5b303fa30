"""Asking the network for weights, and giving up quickly where there is none."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import httpx

from houndsight.errors import NetworkError, WeightsError

__all__ = ["answers", "download"]

CONNECT_SECONDS = 5.0
_REMEMBERED_SECONDS = 60.0
_silent: dict[str, float] = {}
"""Hosts that did not answer, with the time of the question, so that seven backbones wait once."""


def answers(url: str) -> bool:
    """Whether the server of `url` can be spoken to; asked at most once a minute when it cannot."""
    host = httpx.URL(url).host
    if time.monotonic() - _silent.get(host, -_REMEMBERED_SECONDS) < _REMEMBERED_SECONDS:
        return False
    try:
        status = httpx.head(url, timeout=CONNECT_SECONDS, follow_redirects=True).status_code
    except (httpx.HTTPError, OSError):
        _silent[host] = time.monotonic()
        return False
    return status < 400


def download(url: str, path: Path, *, sha256: str) -> None:
    """Fetch `url` to `path`, which appears only when it is whole and its hash is right.

    Raises:
        NetworkError: the server does not answer or breaks off.
        WeightsError: what came has another hash.
    """
    if not answers(url):
        raise NetworkError(f"{httpx.URL(url).host} does not answer.")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    digest = hashlib.sha256()
    try:
        with (
            httpx.stream("GET", url, timeout=30.0, follow_redirects=True) as response,
            aside.open("wb") as file,
        ):
            response.raise_for_status()
            for chunk in response.iter_bytes(1 << 20):
                digest.update(chunk)
                file.write(chunk)
        if not digest.hexdigest().startswith(sha256):
            raise WeightsError(
                f"{url} came with SHA-256 {digest.hexdigest()[:8]}, not {sha256[:8]}; "
                "something on the way changed it. Try again."
            )
        aside.replace(path)
    except httpx.HTTPError as error:
        raise NetworkError(f"{url} could not be downloaded: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
