"""Fetches a file over HTTPS into the cache: resumable, limited in size, checked when known."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import httpx

from houndsight.config import require_cache_home
from houndsight.data.cache_lock import locked
from houndsight.errors import DataError, NetworkError
from houndsight.events import Emitter, StageEnded, StageProgress, StageStarted
from houndsight.files import write_atomic

__all__ = ["Expected", "download", "fetch_url", "shown_url", "verify"]

STAGE = "download"
ATTEMPTS = 4
_TELL_BYTES = 1 << 20
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it comes."""

    size_bytes: int
    sha256: str


def fetch_url(
    url: str,
    *,
    limit_bytes: int,
    emit: Emitter | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Path:
    """The file at an `https://` address, in the cache.

    A file fetched before is used again when the server says that it has not changed, or when
    the server cannot be reached.

    Raises:
        NetworkError: it cannot be fetched.
        DataError: it is larger than the limit.
    """
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path)).name or "download"
    key = hashlib.sha256(url.encode()).hexdigest()[:32]
    target = require_cache_home() / "downloads" / key / name[-100:].replace("\0", "")
    return download(url, target, limit_bytes=limit_bytes, emit=emit, transport=transport)


def download(
    url: str,
    target: Path,
    *,
    limit_bytes: int,
    expected: Expected | None = None,
    emit: Emitter | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Path:
    """Fetch `url` into `target`, going on where an earlier try stopped.

    Args:
        url: `https://`; `http://` only where a hash is expected.
        target: where the finished file stands; beside it lie the unfinished one and its record.
        limit_bytes: the most that is fetched.
        expected: size and hash that the file must have.
        emit: hears the progress, in bytes.
        transport: replaces the network, for tests.

    Raises:
        NetworkError: it cannot be fetched, or is not what was expected.
        DataError: it is larger than the limit.
    """
    _check_scheme(httpx.URL(url), expected)
    target.parent.mkdir(parents=True, exist_ok=True)
    hooks = {"request": [lambda request: _check_scheme(request.url, expected)]}
    with (
        locked(target),
        httpx.Client(
            transport=transport, timeout=_TIMEOUT, follow_redirects=True, event_hooks=hooks
        ) as client,
    ):
        job = _Download(client, url, target, limit_bytes, emit or Emitter())
        if not (target.is_file() and (expected is not None or job.is_current())):
            job.run()
    if expected is not None:
        verify(target, expected, shown_url(url))
    return target


def verify(path: Path, expected: Expected, source: str) -> None:
    """Check that a file is what was expected.

    Raises:
        NetworkError: it is not.
    """
    size = path.stat().st_size
    if size != expected.size_bytes:
        raise NetworkError(
            f"{path} has {size:,} bytes, but {source} should have {expected.size_bytes:,}; "
            "delete it and try again."
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.sha256:
        raise NetworkError(
            f"{path} has SHA-256 {found}, but {source} should have {expected.sha256}; "
            "delete it and try again."
        )


def shown_url(url: str) -> str:
    """The address without user name, password and query, which may hold secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _check_scheme(url: httpx.URL, expected: Expected | None) -> None:
    if url.scheme == "https" or (url.scheme == "http" and expected is not None):
        return
    raise NetworkError(
        f"{shown_url(str(url))} is not encrypted; give an https:// address, or fetch the file "
        "yourself and give its path."
    )


class _RetryError(Exception):
    """This attempt failed in a way that another may not."""


class _Download:
    """One file on its way: `.part` holds what came, `.json` the server's mark of the version."""

    def __init__(
        self, client: httpx.Client, url: str, target: Path, limit_bytes: int, emit: Emitter
    ) -> None:
        self.client, self.url, self.target, self.emit = client, url, target, emit
        self.limit_bytes = limit_bytes
        self.part = target.with_name(target.name + ".part")
        self.record = target.with_name(target.name + ".json")

    def is_current(self) -> bool:
        """Whether the finished file is still what the server has, as far as can be known."""
        try:
            answer = self.client.head(self.url)
        except (httpx.HTTPError, NetworkError):
            return True
        if not answer.is_success:
            return True
        mark = _mark(answer)
        if mark and (known := self._read_mark()):
            return mark == known
        length = answer.headers.get("content-length")
        return length is None or length == str(self.target.stat().st_size)

    def run(self) -> None:
        """Fetch the file, in several attempts when the connection breaks."""
        start = time.monotonic()
        text = f"Downloading {shown_url(self.url)}"
        self.emit(StageStarted(stage=STAGE, text=text, unit="bytes"))
        for attempt in range(ATTEMPTS):
            try:
                self._attempt()
                break
            except (_RetryError, httpx.TransportError) as error:
                if attempt + 1 == ATTEMPTS:
                    raise NetworkError(
                        f"{shown_url(self.url)} cannot be fetched: {error or 'no answer'}. Try "
                        f"again to go on where it stopped, or put the file at {self.target}."
                    ) from error
                time.sleep(0.2 * 4**attempt)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise NetworkError(f"{shown_url(self.url)} cannot be fetched: {error}.") from error
        self.part.replace(self.target)
        done = f"{self.target.stat().st_size / 1e6:,.1f} MB"
        self.emit(StageEnded(stage=STAGE, seconds=time.monotonic() - start, text=done))

    def _attempt(self) -> None:
        offset = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if offset and (mark := self._read_mark()):
            headers |= {"Range": f"bytes={offset}-", "If-Range": mark}
        with self.client.stream("GET", self.url, headers=headers) as answer:
            if answer.status_code == 416:
                if answer.headers.get("content-range") == f"bytes */{offset}":
                    return  # killed between the last byte and the renaming
                self.part.unlink(missing_ok=True)
                raise _RetryError("the file has changed")
            self._check_status(answer)
            goes_on = answer.status_code == 206 and _starts_at(answer, offset)
            if answer.status_code == 206 and not goes_on:
                self.part.unlink(missing_ok=True)
                raise _RetryError("the server sent another part than was asked for")
            self._receive(answer, offset if goes_on else 0)

    def _check_status(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in (200, 206):
            return
        reason = f"the server answers {status} {answer.reason_phrase}".rstrip()
        if status in (408, 425, 429) or status >= 500:
            raise _RetryError(reason)
        raise NetworkError(f"{shown_url(self.url)} cannot be fetched: {reason}.")

    def _receive(self, answer: httpx.Response, offset: int) -> None:
        length = answer.headers.get("content-length", "")
        total = offset + int(length) if length.isdecimal() else None
        self._check_size(total or 0)
        if not offset:
            write_atomic(self.record, json.dumps({"mark": _mark(answer)}).encode())
        done = told = offset
        with self.part.open("ab" if offset else "wb") as file:
            # In the pieces that the network brings: of larger ones a broken connection loses more.
            for block in answer.iter_raw():
                done += len(block)
                self._check_size(done)
                file.write(block)
                if done - told >= _TELL_BYTES or done == total:
                    told = done
                    self.emit(StageProgress(stage=STAGE, done=done, total=total))
        if total is not None and done != total:
            raise _RetryError(f"the connection ended after {done:,} of {total:,} bytes")

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            self.part.unlink(missing_ok=True)
            raise DataError(
                f"{shown_url(self.url)} has more than {self.limit_bytes / 1e9:,.3g} GB; raise "
                "data.max_download_gb if you want it."
            )

    def _read_mark(self) -> str:
        try:
            return str(json.loads(self.record.read_text(encoding="utf-8"))["mark"] or "")
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def _mark(answer: httpx.Response) -> str:
    """What tells versions of the file apart: a strong ETag, else the date; empty without both."""
    tag = answer.headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        return str(tag)
    return str(answer.headers.get("last-modified", ""))


def _starts_at(answer: httpx.Response, offset: int) -> bool:
    return str(answer.headers.get("content-range", "")).startswith(f"bytes {offset}-")
