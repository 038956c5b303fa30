"""Public sets of photos that `--dataset` fetches, with size, hash and licence.

Sizes and SHA-256 are those that TensorFlow Datasets publishes in its `url_checksums`; a file
that differs is refused. They have not been compared with a fresh download by us.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from houndsight.config import cache_home, require_cache_home
from houndsight.data import published_splits
from houndsight.data.archives import unpack
from houndsight.data.downloads import Expected, download
from houndsight.errors import DataError, NetworkError
from houndsight.events import Emitter, Listener
from houndsight.files import write_atomic

__all__ = ["PUBLIC_SETS", "PublicFile", "PublicSet", "fetch_dataset"]

_MAX_UNPACKED_BYTES = 5_000_000_000


@dataclass(frozen=True)
class PublicFile:
    """A file of a set, and what it must be."""

    url: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class PublicSet:
    """A public set: the first of `files` is the archive of the photos."""

    name: str
    title: str
    homepage: str
    licence: str
    photos: int
    classes: int
    files: tuple[PublicFile, ...]
    rows: Callable[[Mapping[str, Path]], Iterable[tuple[str, str, str]]]
    """Path, class and split of each photo, from the files by name."""


_STANFORD = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
_FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"

PUBLIC_SETS: Mapping[str, PublicSet] = {
    row.name: row
    for row in (
        PublicSet(
            name="dogs",
            title="Stanford Dogs",
            homepage=_STANFORD,
            licence="none stated; drawn from ImageNet, for non-commercial research and education",
            photos=20_580,
            classes=120,
            files=(
                PublicFile(
                    _STANFORD + "images.tar",
                    793_579_520,
                    "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
                ),
                PublicFile(
                    _STANFORD + "lists.tar",
                    481_280,
                    "34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
                ),
            ),
            rows=published_splits.dogs,
        ),
        PublicSet(
            name="flowers",
            title="Oxford 102 Flowers",
            homepage=_FLOWERS,
            licence="none stated; photos collected from the web, use them for research",
            photos=8_189,
            classes=102,
            files=(
                PublicFile(
                    _FLOWERS + "102flowers.tgz",
                    344_862_509,
                    "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
                ),
                PublicFile(
                    _FLOWERS + "imagelabels.mat",
                    502,
                    "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
                ),
                PublicFile(
                    _FLOWERS + "setid.mat",
                    14_989,
                    "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
                ),
            ),
            rows=published_splits.flowers,
        ),
        PublicSet(
            name="pets",
            title="Oxford-IIIT Pet",
            homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
            licence="CC BY-SA 4.0",
            photos=7_349,
            classes=37,
            files=(
                PublicFile(
                    _PETS + "images.tar.gz",
                    791_918_971,
                    "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                ),
                PublicFile(
                    _PETS + "annotations.tar.gz",
                    19_173_078,
                    "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                ),
            ),
            rows=published_splits.pets,
        ),
    )
}


def fetch_dataset(
    name: str,
    *,
    listener: Listener | None = None,
    catalogue: Mapping[str, PublicSet] = PUBLIC_SETS,
    transport: httpx.BaseTransport | None = None,
) -> Path:
    """The folder of a public set: its photos and a `labels.csv`; fetched when it is not there.

    Args:
        name: a key of the catalogue.
        listener: hears download and unpacking.
        catalogue: the sets.
        transport: replaces the network, for tests.

    Raises:
        DataError: there is no such set.
        NetworkError: it cannot be fetched; the sentence says where to put the file instead.
    """
    if name not in catalogue:
        raise DataError(f"There is no public set {name!r}; there are {', '.join(catalogue)}.")
    row, folder = catalogue[name], cache_home() / "datasets" / name
    if (folder / "labels.csv").is_file():
        return folder
    emit = Emitter([listener] if listener else [])
    files = {file.name: _fetch(row, file, emit, transport) for file in row.files}
    photos = files[row.files[0].name]
    unpack(photos, limit_bytes=_MAX_UNPACKED_BYTES, target=folder, emit=emit)
    write_atomic(folder / "labels.csv", _labels(row.rows(files)))
    return folder


def _fetch(
    row: PublicSet, file: PublicFile, emit: Emitter, transport: httpx.BaseTransport | None
) -> Path:
    target = require_cache_home() / "downloads" / row.name / file.name
    expected = Expected(file.size_bytes, file.sha256)
    try:
        return download(
            file.url,
            target,
            limit_bytes=file.size_bytes,
            expected=expected,
            emit=emit,
            transport=transport,
        )
    except NetworkError as error:
        raise NetworkError(
            f"{row.title} could not be fetched. {error} Without network: fetch {file.url} "
            f"({file.size_bytes / 1e6:,.1f} MB) elsewhere, put it at {target} and run again."
        ) from error


def _labels(rows: Iterable[tuple[str, str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "split"))
    writer.writerows(rows)
    return text.getvalue().encode()
