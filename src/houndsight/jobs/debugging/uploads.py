"""Keeps a prefix in S3 like a folder: files that are new or changed are put again."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["Mirror"]


class Mirror:
    """One folder and the prefix that shows it.

    Args:
        objects: the store.
        folder: it need not be there yet.
        s3_uri: `s3://bucket/prefix`.
    """

    def __init__(self, objects: ObjectStore, folder: Path, s3_uri: str) -> None:
        self.objects, self.folder, self.s3_uri = objects, folder, s3_uri
        self._put: dict[Path, tuple[int, int]] = {}

    def sync(self, *, settled_only: bool = False) -> int:
        """Put what is new; `settled_only` leaves out big files that still grow. How many."""
        from houndsight.jobs.objects import split_uri

        bucket, prefix = split_uri(self.s3_uri)
        count = 0
        for path in sorted(self.folder.rglob("*")):
            if path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            try:
                about = path.stat()
                known = (about.st_size, about.st_mtime_ns)
                if self._put.get(path) == known or (settled_only and _grows(path)):
                    continue
                key = f"{prefix.rstrip('/')}/{path.relative_to(self.folder).as_posix()}"
                kind = mimetypes.guess_type(path.name)[0] or "binary/octet-stream"
                self.objects.put_file(bucket, key.lstrip("/"), path, content_type=kind)
            except FileNotFoundError:
                # Thinned or replaced meanwhile: the next time finds what has taken its place.
                continue
            self._put[path] = known
            count += 1
        return count


def _grows(path: Path) -> bool:
    """The log's open segment, which rules read on this machine and nobody reads in S3."""
    return path.suffix in (".arrow", ".sums") and not path.with_suffix(".json").exists()
