"""The labels and splits of the public sets, read from the files they were published with.

Each function returns rows of (path below the unpacked photos, class, split).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from houndsight.data.archive_members import members
from houndsight.data.flowers import FLOWERS
from houndsight.errors import DataError

__all__ = ["dogs", "flowers", "pets"]

Rows = Iterator[tuple[str, str, str]]

_LIMIT_BYTES = 100_000_000


def dogs(files: Mapping[str, Path]) -> Rows:
    """Stanford Dogs: 100 training photos a breed, the rest for the test."""
    from scipy.io import loadmat

    for split in ("train", "test"):
        content = io.BytesIO(_member(files["lists.tar"], f"{split}_list.mat"))
        for inside in loadmat(content, squeeze_me=True)["file_list"].tolist():
            yield f"Images/{inside}", PurePosixPath(inside).parent.name, split


def flowers(files: Mapping[str, Path]) -> Rows:
    """Oxford Flowers: 10 photos a class to train on, 10 to validate, 6,149 to test."""
    from scipy.io import loadmat

    labels = loadmat(files["imagelabels.mat"], squeeze_me=True)["labels"].tolist()
    numbers = loadmat(files["setid.mat"], squeeze_me=True)
    for split, key in (("train", "trnid"), ("valid", "valid"), ("test", "tstid")):
        for number in numbers[key].tolist():
            yield f"jpg/image_{number:05d}.jpg", FLOWERS[labels[number - 1] - 1], split


def pets(files: Mapping[str, Path]) -> Rows:
    """Oxford-IIIT Pet: its `trainval` to train on, its `test` for the test."""
    for split, name in (("train", "trainval.txt"), ("test", "test.txt")):
        for line in _member(files["annotations.tar.gz"], name).decode().splitlines():
            if line.strip() and not line.startswith("#"):
                photo = line.split()[0]
                yield f"images/{photo}.jpg", photo.rsplit("_", 1)[0], split


def _member(archive: Path, name: str) -> bytes:
    """The content of the file of that name, wherever in the archive it stands."""
    for member in members(archive, _LIMIT_BYTES):
        if member.kind == "file" and PurePosixPath(member.name).name == name:
            with member.open() as content:
                return content.read(_LIMIT_BYTES)
    raise DataError(f"{archive} has no {name}; delete it and fetch it again.")
