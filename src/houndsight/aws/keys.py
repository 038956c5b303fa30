"""The access keys of this machine: random, in one file that only the owner may read."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from houndsight.errors import HoundsightError, RunError

__all__ = ["AccessKey", "KeyRing"]

VERSION = 1
FIRST = "default"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True)
class AccessKey:
    """A key: its name for people, its id, its secret."""

    name: str
    access_key: str
    secret: str
    created: float


class KeyRing:
    """The keys in the file `path`. Any number of processes may read and change it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._keys: tuple[AccessKey, ...] = ()
        self._secrets: dict[str, str] = {}
        self._lock = threading.Lock()

    def secret(self, access_key: str) -> str | None:
        """The secret of a key, or None when there is no such key."""
        self._refresh()
        return self._secrets.get(access_key)

    def name(self, access_key: str) -> str:
        """The name of a key, `unknown` when there is no such key."""
        return next((k.name for k in self.list() if k.access_key == access_key), "unknown")

    def list(self) -> tuple[AccessKey, ...]:
        """All keys, the oldest first.

        Raises:
            RunError: the file is damaged, or of a newer version.
        """
        self._refresh()
        return self._keys

    def first(self) -> AccessKey:
        """The oldest key; made when there is none."""
        with self._changing():
            if not self._keys:
                self._write((_new_key(FIRST),))
            return self._keys[0]

    def add(self, name: str) -> AccessKey:
        """Make a key.

        Raises:
            HoundsightError: the name is taken, or is none.
        """
        if not name.strip() or not name.isprintable() or len(name) > 64:
            raise HoundsightError(
                f"{name!r} cannot name a key: take 1 to 64 characters that print."
            )
        with self._changing():
            if any(key.name == name for key in self._keys):
                raise HoundsightError(f"There is a key {name!r} already; take another name.")
            key = _new_key(name)
            self._write((*self._keys, key))
            return key

    def remove(self, name: str) -> AccessKey:
        """Forget the key that is called `name`, or whose id it is.

        Raises:
            HoundsightError: there is none, or it is the last.
        """
        with self._changing():
            found = [key for key in self._keys if name in (key.name, key.access_key)]
            if not found:
                raise HoundsightError(
                    f"There is no key {name!r}; there are"
                    f" {', '.join(key.name for key in self._keys) or 'none'}."
                )
            if len(self._keys) == 1:
                raise HoundsightError(
                    f"{name!r} is the last key: add another first (houndsight keys add NAME)."
                )
            self._write(tuple(key for key in self._keys if key is not found[0]))
            return found[0]

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            stamp = None
        else:
            stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp == self._read_at:
            return
        with self._lock:
            self._keys = () if stamp is None else _read(self._path)
            self._secrets = {key.access_key: key.secret for key in self._keys}
            self._read_at = stamp

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._refresh()
            yield

    def _write(self, keys: tuple[AccessKey, ...]) -> None:
        rows = [dataclasses.asdict(key) for key in keys]
        aside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        # Made with mode 0600: there is no moment at which somebody else could read it.
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"version": VERSION, "keys": rows}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)
        self._refresh()


def _new_key(name: str) -> AccessKey:
    """Shaped as AWS's: 20 characters, and 40 for the secret (240 random bits)."""
    identifier = "HOUND" + "".join(secrets.choice(LETTERS) for _ in range(15))
    return AccessKey(name, identifier, secrets.token_urlsafe(30), time.time())


def _read(path: Path) -> tuple[AccessKey, ...]:
    try:
        row = json.loads(path.read_bytes())
        version, keys = row["version"], row["keys"]
        if version <= VERSION:
            return tuple(
                AccessKey(k["name"], k["access_key"], k["secret"], k["created"]) for k in keys
            )
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged: {error}. Delete it; `houndsight up` makes a new key."
        ) from error
    raise RunError(f"{path} was written by a newer Houndsight: update Houndsight.")
