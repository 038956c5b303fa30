"""Finds out what a source is and lists its photos: folder, table, archive, bucket or address."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

from houndsight.data.archives import is_archive, unpack
from houndsight.data.grouping import GroupBy, groups_of, parse_group
from houndsight.data.layouts import TABLE_NAMES, find_root, scan_folder
from houndsight.data.listing import LAYOUT_HINT, Listing, is_image_name
from houndsight.data.settings import DataSettings
from houndsight.data.tables import TABLE_ENDINGS, TableFormatError, list_table
from houndsight.errors import DataError
from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted
from houndsight.findings import Cause, Finding, Severity

__all__ = ["list_source"]

STAGE = "scan"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def list_source(
    source: str | Path, settings: DataSettings, listener: Listener | None = None
) -> Listing:
    """The photos of a source, with labels, given splits and groups.

    Raises:
        DataError: it is not there or holds no labelled photos.
        NetworkError: it had to be fetched and could not be.
    """
    emit = Emitter([listener] if listener else [])
    local = _bring(source, settings, emit)
    start = time.monotonic()
    emit(StageStarted(stage=STAGE, text=f"Listing the photos of {source}"))
    by = parse_group(settings.group) if settings.group else None
    listing = _with_groups(_list_local(local, by, emit), by)
    text = f"{len(listing.paths):,} photos of {len(listing.originals):,} classes"
    emit(StageEnded(stage=STAGE, seconds=time.monotonic() - start, text=text))
    return listing


@dataclass(frozen=True)
class _Local:
    """A folder or table on this machine; `foreign` when it was fetched or unpacked."""

    path: Path
    foreign: bool


def _bring(source: str | Path, settings: DataSettings, emit: Emitter) -> _Local:
    """Fetch and unpack what has to be."""
    scheme = _SCHEME.match(source) if isinstance(source, str) else None
    if scheme is None:
        path, foreign = Path(source).expanduser(), False
    else:
        path, foreign = _fetch(str(source), scheme[1].lower(), settings, emit), True
    if path.is_dir():
        return _Local(path, foreign)
    if not path.exists():
        raise DataError(f"{path} is not there. {LAYOUT_HINT}")
    if path.suffix.lower() in TABLE_ENDINGS:
        return _Local(path, foreign)
    if is_image_name(path.name) and not is_archive(path):
        raise DataError(f"{path} is one photo; give the folder that holds all. {LAYOUT_HINT}")
    limit_bytes = int(settings.max_unpacked_gb * 1e9)
    return _Local(unpack(path, limit_bytes=limit_bytes, emit=emit), foreign=True)


def _fetch(source: str, scheme: str, settings: DataSettings, emit: Emitter) -> Path:
    limit_bytes = int(settings.max_download_gb * 1e9)
    if scheme in ("s3", "gs"):
        from houndsight.data.buckets import fetch_bucket

        return fetch_bucket(source, limit_bytes=limit_bytes, emit=emit)
    if scheme in ("https", "http"):
        from houndsight.data.downloads import fetch_url

        return fetch_url(source, limit_bytes=limit_bytes, emit=emit)
    raise DataError(
        f"{scheme}:// is not an address that photos can come from; give a folder, a label table, "
        "an archive, or an address that starts with s3://, gs:// or https://."
    )


def _list_local(local: _Local, by: GroupBy | None, emit: Emitter) -> Listing:
    if local.path.is_file():
        return list_table(local.path, by=by, contained=local.foreign)
    root = find_root(local.path)
    table = next((p for name in TABLE_NAMES for p in [_entry(root, name)] if p), None)
    if table is None:
        return _scan(root, by, emit)
    try:
        return list_table(table, by=by, contained=local.foreign)
    except TableFormatError as error:
        return _scan_instead(root, by, emit, error)


def _entry(folder: Path, name: str) -> Path | None:
    """The file of this name, in whatever case it is written."""
    exact = folder / name
    if exact.is_file():
        return exact
    return next((p for p in sorted(folder.iterdir()) if p.name.lower() == name), None)


def _scan(root: Path, by: GroupBy | None, emit: Emitter) -> Listing:
    if by is not None and by.kind == "column":
        raise DataError(
            f"data.group is column:{by.value}, but {root} has no label table; give a labels.csv, "
            "or group by level:2 or pattern:(patient[0-9]+)_."
        )
    return scan_folder(root, lambda done: emit(StageProgress(stage=STAGE, done=done)))


def _scan_instead(
    root: Path, by: GroupBy | None, emit: Emitter, error: TableFormatError
) -> Listing:
    """The class folders, when what is called labels.csv is something else."""
    try:
        listing = _scan(root, by, emit)
    except DataError:
        raise error from None
    cause = Cause(
        text=str(error),
        fix="Give it the columns path,label if it is meant, or rename it.",
        evidence="The class folders beside it were taken instead.",
    )
    finding = Finding(
        rule="LabelTableIgnored",
        where="",
        severity=Severity.WARNING,
        title="Label tables passed over, as their form is not the right one: 1.",
        causes=(cause,),
    )
    return replace(listing, findings=(*listing.findings, finding))


def _with_groups(listing: Listing, by: GroupBy | None) -> Listing:
    if by is None or by.kind == "column":
        return listing
    return replace(listing, groups=groups_of(listing.paths, by))
