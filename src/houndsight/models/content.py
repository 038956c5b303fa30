"""Content hashes of a split's photos, as the pack's index wants them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from houndsight.data.folder import Split

__all__ = ["content_hashes"]

_CHUNK = 65_536


def content_hashes(split: Split) -> tuple[NDArray[np.bytes_], dict[int, str]]:
    """Hash of each photo `(n,)` as S16, and why some positions have none (an empty hash).

    Hashes the check has found are taken; other photos are read and hashed here (BLAKE2b-128, as
    the check does it).
    """
    column = split.table["hash"]
    hashes = np.empty(len(split), "S16")
    unread: dict[int, str] = {}
    paths = split.paths()
    for start in range(0, len(split), _CHUNK):
        for offset, known in enumerate(column.slice(start, _CHUNK).to_pylist()):
            position = start + offset
            if known:
                hashes[position] = bytes.fromhex(known)
                continue
            try:
                with paths[position].open("rb") as file:
                    digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
                hashes[position] = digest.digest()
            except OSError as error:
                unread[position] = f"unreadable: {error.strerror or error}"
    return hashes, unread
