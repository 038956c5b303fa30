"""Photos that cannot be decoded: a finding for each kind, and the photos set aside."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from houndsight.data.checks.base import CheckedPhotos, Outcome, counted, percent
from houndsight.data.photo_error import Reason
from houndsight.findings import Cause, Finding, Severity

__all__ = ["find_unusable"]

_NAMED = 200
_RULES = {
    Reason.EMPTY: (
        "EmptyFiles",
        "empty (zero bytes)",
        "A copy or download was broken off before it began.",
        "Copy or download these files again, or delete them.",
    ),
    Reason.TRUNCATED: (
        "TruncatedFiles",
        "truncated",
        "A copy or download was broken off in the middle.",
        "Copy or download these files again, or delete them.",
    ),
    Reason.NOT_AN_IMAGE: (
        "NonImageFiles",
        "no images, whatever their names say",
        "Another kind of file was saved under the name of a photo, often an error page.",
        "Delete these files or fetch the photos themselves; convert what is in another format.",
    ),
    Reason.DAMAGED: (
        "DamagedFiles",
        "damaged",
        "The files were changed on their way, or are of a variant that Pillow does not decode.",
        "Copy these files again, or open and save them with an image editor.",
    ),
    Reason.TOO_LARGE: (
        "DecompressionBombs",
        "too large to be decoded safely",
        "A scan or panorama of very high resolution, or a file made to fill the memory.",
        "Scale these photos down, or raise data.max_megapixels if they are meant.",
    ),
    Reason.UNREADABLE: (
        "UnreadableFiles",
        "not readable",
        "The file's permissions, or a fault of the disk or network folder.",
        "Give read permission (chmod u+r) or repair the disk, and check again.",
    ),
    Reason.MISSING: (
        "MissingFiles",
        "missing",
        "The files were moved or deleted after they were listed, or the table names wrong paths.",
        "Put them back, or correct the paths in the table.",
    ),
    Reason.CHANGED: (
        "ChangedFiles",
        "not what was checked",
        "The files were written again while they were being used.",
        "Leave the photos alone while a run works on them, and start a new run.",
    ),
    Reason.CRASHES: (
        "CrashingFiles",
        "ending the process that decodes them",
        "The file hits a fault of the decoding library, or needs more memory than there is.",
        "Open and save the photo with an image editor, or delete it.",
    ),
}


def find_unusable(photos: CheckedPhotos) -> Outcome:
    """The photos with an error, by kind."""
    errors = photos.facts["error"]
    rows = np.flatnonzero(pc.is_valid(errors).to_numpy())
    texts = errors.take(rows).to_pylist()
    kinds: dict[Reason, list[int]] = {}
    for row, text in zip(rows.tolist(), texts, strict=True):
        kinds.setdefault(Reason(text.split(":")[0]), []).append(row)
    reasons = dict(zip(rows.tolist(), texts, strict=True))
    findings = [_finding(photos, kind, rows, reasons[rows[0]]) for kind, rows in kinds.items()]
    return Outcome(findings, reasons)


def _finding(photos: CheckedPhotos, kind: Reason, rows: list[int], first: str) -> Finding:
    rule, words, cause, fix = _RULES[kind]
    names = photos.names(rows[:_NAMED])
    detail = first.partition(": ")[2]
    return Finding(
        rule=rule,
        where="",
        severity=Severity.WARNING,
        title=f"{counted(len(rows))} ({percent(len(rows), len(photos))}) set aside: {words}.",
        causes=(Cause(text=cause, fix=fix, score=0.8, evidence=f"{names[0]}: {detail or words}"),),
        count=len(rows),
        measured=len(rows) / len(photos),
        threshold=0.0,
        examples=names,
    )
