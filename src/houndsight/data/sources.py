"""Finds out what a source is and lists its photos: folder, table, archive, bucket or address."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from houndsight.data.grouping import GroupBy, groups_of, parse_group
from houndsight.data.layouts import find_root, scan_folder
from houndsight.data.listing import LAYOUT_HINT, Listing
from houndsight.data.settings import DataSettings
from houndsight.errors import DataError
from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted

__all__ = ["list_source"]

STAGE = "scan"


def list_source(
    source: str | Path, settings: DataSettings, listener: Listener | None = None
) -> Listing:
    """The photos of a source, with labels, given splits and groups.

    Raises:
        DataError: it is not there or holds no labelled photos.
        NetworkError: it had to be fetched and could not be.
    """
    emit = Emitter([listener] if listener else [])
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise DataError(f"{source} is not there. {LAYOUT_HINT}")
    by = parse_group(settings.group) if settings.group else None
    return _list_folder(folder, by, emit)


def _list_folder(folder: Path, by: GroupBy | None, emit: Emitter) -> Listing:
    start = time.monotonic()
    emit(StageStarted(stage=STAGE, text=f"Listing the photos of {folder}"))
    listing = scan_folder(
        find_root(folder), lambda done: emit(StageProgress(stage=STAGE, done=done))
    )
    if by is not None:
        listing = replace(listing, groups=groups_of(listing.paths, by))
    text = f"{len(listing.paths):,} photos of {len(listing.originals):,} classes"
    emit(StageEnded(stage=STAGE, seconds=time.monotonic() - start, text=text))
    return listing
