"""Reads the layout of a folder: class folders, with or without train, valid and test above them.

Only names are read, with `os.scandir`; no photo is opened.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from houndsight.data.listing import (
    LAYOUT_HINT,
    SPLIT_NAMES,
    LeftOut,
    Listing,
    ListingBuilder,
    is_ignored,
    is_image_name,
    printable_path,
)
from houndsight.errors import DataError
from houndsight.findings import Finding, Severity

__all__ = ["TABLE_NAMES", "find_root", "scan_folder"]

TABLE_NAMES = ("labels.csv", "labels.tsv", "labels.parquet")
"""Label tables that are looked for in a folder."""

_CHUNK = 65_536
_MAX_WRAPPERS = 5

Progress = Callable[[int], None]
Chain = tuple[tuple[int, int], ...]
"""Device and inode of a folder and all above it."""


def scan_folder(root: Path, progress: Progress | None = None) -> Listing:
    """The photos below `root`, labelled by their folders.

    `root/CLASS/…` or `root/train|valid|test/CLASS/…`; folders below a class count as that class.

    Raises:
        DataError: there are no photos in class folders, or no training photos.
    """
    return _Scan(root, progress or (lambda _: None)).run()


def find_root(folder: Path) -> Path:
    """The folder that holds the layout, below folders that hold nothing but one folder.

    An archive often wraps everything once: `photos.zip` holds `photos/train/…`.
    """
    for _ in range(_MAX_WRAPPERS):
        top = _look(folder)
        if top.images or top.tables or len(top.folders) != 1:
            return folder
        (inner,) = top.folders
        below = _look(folder / inner)
        wraps = below.tables or (not below.images and len(below.folders) > 1)
        if inner.lower() in SPLIT_NAMES or not (wraps or _is_wrapper(folder / inner, below)):
            return folder
        folder = folder / inner
    return folder


@dataclass
class _Top:
    """The first level of a folder; `other` counts endings that are no photo's."""

    folders: list[str] = field(default_factory=list)
    images: int = 0
    tables: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)


def _look(folder: Path) -> _Top:
    top = _Top()
    for entry in _entries(folder):
        if is_ignored(entry.name):
            continue
        if entry.is_dir():
            top.folders.append(entry.name)
        elif is_image_name(entry.name):
            top.images += 1
        elif entry.name.lower() in TABLE_NAMES:
            top.tables.append(entry.name)
        else:
            top.other[_ending(entry.name)] += 1
    top.folders.sort()
    return top


def _is_wrapper(folder: Path, below: _Top) -> bool:
    """Whether a lone folder goes on with a lone folder that is a split or a wrapper again."""
    if below.images or len(below.folders) != 1:
        return False
    inner = _look(folder / below.folders[0])
    return below.folders[0].lower() in SPLIT_NAMES or (not inner.images and len(inner.folders) > 1)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()[:16]  # noqa: PTH122 - a name, not a path


class _Scan:
    """One pass over a folder."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self.root = root
        self.progress = progress
        self.builder = ListingBuilder(root)
        self.other, self.loose, self.broken, self.names = _left_out()
        self.findings: list[Finding] = []

    def run(self) -> Listing:
        top = _look(self.root)
        splits = self._split_folders(top)
        if splits:
            self._scan_splits(splits)
        else:
            self._scan_classes("", top.folders, split="")
            self._count_loose("")
        with_splits = self._check(top, splits)
        left_out = (self.other, self.loose, self.broken, self.names)
        findings = [f for reason in left_out for f in reason.findings()]
        return self.builder.finish(with_splits=with_splits, findings=self.findings + findings)

    def _split_folders(self, top: _Top) -> list[str]:
        """The folders that are splits, or none when the folders are classes.

        A class may be called `train` (car, bus, train): one such name among others is a class.
        """
        named = [name for name in top.folders if name.lower() in SPLIT_NAMES]
        others = [name for name in top.folders if name.lower() not in SPLIT_NAMES]
        kinds = {SPLIT_NAMES[name.lower()] for name in named}
        if not named or (others and ("train" not in kinds or len(kinds) < 2)):
            return []
        if "train" not in kinds:
            raise DataError(f"{self.root} has {_listed(named)} but no train folder. {LAYOUT_HINT}")
        for name in others:
            self.loose.add(name)
        return named

    def _scan_splits(self, folders: list[str]) -> None:
        for name in folders:
            classes = _look(self.root / name).folders
            self._scan_classes(name + "/", classes, split=SPLIT_NAMES[name.lower()])
            self._count_loose(name + "/")

    def _scan_classes(self, prefix: str, names: list[str], *, split: str) -> None:
        for name in names:
            if not _is_utf8(name):
                self.names.add(prefix + name)
                continue
            for paths in self._walk(f"{prefix}{name}/"):
                self.builder.add(paths, name, split)
                self.progress(self.builder.count)

    def _walk(self, prefix: str) -> Iterator[list[str]]:
        """Chunks of the paths of photos in and below a folder.

        A stack instead of recursion, as folders may lie deeper than Python's calls may.
        """
        stack: list[tuple[str, Chain]] = [(prefix, ())]
        while stack:
            prefix, above = stack.pop()
            try:
                chain = _chain(self.root / prefix, above)
                below: list[str] = []
                yield from self._photos_in(prefix, below)
            except OSError:
                self.broken.add(prefix)
            else:
                stack += [(f"{prefix}{name}/", chain) for name in below]

    def _photos_in(self, prefix: str, below: list[str]) -> Iterator[list[str]]:
        """Chunks of the paths of photos in one folder; the names of its folders go to `below`."""
        paths: list[str] = []
        with os.scandir(self.root / prefix) as entries:
            for entry in entries:
                if is_ignored(entry.name):
                    continue
                if not entry.is_dir():
                    paths += [prefix + entry.name] * self._is_photo(prefix, entry)
                elif _is_utf8(entry.name):
                    below.append(entry.name)
                else:
                    self.names.add(prefix + entry.name)
                if len(paths) == _CHUNK:
                    yield paths
                    paths = []
        if paths:
            yield paths

    def _is_photo(self, prefix: str, entry: os.DirEntry[str]) -> bool:
        path = prefix + entry.name
        if not is_image_name(entry.name):
            self.other.add(path, _ending(entry.name))
        elif not _is_utf8(entry.name):
            self.names.add(path)
        elif not entry.is_file():
            self.broken.add(path)
        else:
            return True
        return False

    def _count_loose(self, prefix: str) -> None:
        """Photos that lie beside the class folders belong to no class."""
        for entry in _entries(self.root / prefix):
            if is_image_name(entry.name) and not is_ignored(entry.name):
                self.loose.add(prefix + entry.name)

    def _check(self, top: _Top, splits: list[str]) -> bool:
        """Whether there is a split to validate or test on.

        Raises:
            DataError: nothing can be trained on what was found.
        """
        if not self.builder.count:
            raise DataError(
                f"{self.root} holds no photos in class folders: {self._found(top)}. {LAYOUT_HINT}"
            )
        found = self.builder.counts_by_split()
        if splits and not found.get("train"):
            raise DataError(
                f"{self.root}: the train folder holds no photos in class folders. {LAYOUT_HINT}"
            )
        return any(found.get(name) for name in ("valid", "test"))

    def _found(self, top: _Top) -> str:
        parts = []
        if top.images:
            parts.append(f"{top.images:,} photos without a class folder")
        if top.folders:
            parts.append(f"the folders {_listed(top.folders)}")
        if self.other.kinds or top.other:
            endings = Counter(self.other.kinds) + top.other
            shown = ", ".join(f"{e or 'without ending'} ({n:,})" for e, n in endings.most_common(5))
            parts.append(f"other files: {shown}")
        return "found " + " and ".join(parts) if parts else "it is empty"


def _listed(names: list[str]) -> str:
    shown = ", ".join(printable_path(name) for name in names[:5])
    return shown + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _chain(folder: Path, above: Chain) -> Chain:
    """`above` with this folder.

    Raises:
        OSError: it is not there, or links back to one above it.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise OSError(f"{folder} links to a folder above it")
    return (*above, here)


def _is_utf8(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _left_out() -> tuple[LeftOut, LeftOut, LeftOut, LeftOut]:
    return (
        LeftOut(
            "OtherFiles",
            Severity.INFO,
            "Files left out, as their endings are no photo's: {count} ({kinds}).",
            "They lie among the photos but their endings are none of JPEG, PNG, WebP, GIF, BMP "
            "and TIFF.",
            "Nothing to do if they are not photos; otherwise convert them, for instance to JPEG.",
        ),
        LeftOut(
            "PhotosWithoutClass",
            Severity.WARNING,
            "Photos and folders left out, as they lie beside the class folders: {count}.",
            "They do not lie in a class folder.",
            "Move them into the folder of their class, or out of the photos.",
        ),
        LeftOut(
            "UnreachableFiles",
            Severity.WARNING,
            "Files and folders left out, as they cannot be opened: {count}.",
            "A link leads nowhere, the permissions forbid it, or it is no ordinary file.",
            "Mend the links or permissions, or delete them.",
        ),
        LeftOut(
            "UnreadableNames",
            Severity.WARNING,
            "Files and folders left out, as their names are not UTF-8: {count}.",
            "The names were written in another encoding, as old archives do.",
            "Rename them, for instance with convmv.",
        ),
    )
