"""Stage 1: find the photos, check them, draw the splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from houndsight.data.check import check
from houndsight.data.fit import choose_fit
from houndsight.data.folder import ImageFolder
from houndsight.stages.context import Context
from houndsight.wording import plural

__all__ = ["check_photos", "data_folder_of"]


def check_photos(context: Context) -> ImageFolder:
    """The photos to work with: bad ones set aside, every one in a split.

    Raises:
        DataError: more than half of the photos are bad, or there are fewer than two classes.
    """
    run, settings = context.run, context.config.data
    done = context.done("check")
    if done is not None:
        return ImageFolder.read_photos(run.photos, Path(done["root"]))
    with context.stage("check", "Checking the photos") as outcome:
        found = ImageFolder.open(context.config.source, settings, listener=context.within("check"))
        result = check(found, settings, listener=context.within("check"))
        photos = _with_look_alikes(result.folder, result.look_alikes)
        photos.write_photos(run.photos)
        run.add_findings(result.findings)
        counts = {name: len(photos.split(name)) for name in ("train", "valid", "test")}
        set_aside = len(found.table) - len(photos.table)
        run.set_results(
            classes=[{"name": c.name, "original": c.original} for c in photos.classes],
            splits=counts,
            data={
                "source": context.config.source,
                "fingerprint": photos.fingerprint(),
                "photos": len(photos.table),
                "set_aside": set_aside,
            },
        )
        fit, why = settings.fit, "as set"
        if fit == "auto":
            fit, why = choose_fit(*_sizes(result.facts))
        outcome.values = {"root": str(photos.root), "fit": fit, "fit_reason": why}
        outcome.text = (
            f"Checked {len(found.table):,} photos of {len(photos.classes)} classes: "
            f"{set_aside:,} set aside, {plural(len(result.findings), 'finding')}"
        )
    return photos


def _with_look_alikes(photos: ImageFolder, look_alikes: np.ndarray) -> ImageFolder:
    """Near-duplicates that are in no group of the person's own become one."""
    codes, counts = np.unique(look_alikes, return_counts=True)
    several = set(codes[counts > 1].tolist())
    given = photos.table["group"].to_pylist()
    groups = [
        f"look-alikes {code}" if group is None and code in several else group
        for group, code in zip(given, look_alikes.tolist(), strict=True)
    ]
    return photos.with_groups(groups)


def _sizes(facts: Any) -> tuple[np.ndarray, np.ndarray]:
    """Widths and heights `(n,)` of the photos that could be read."""
    read = facts.filter(pc.greater(pc.fill_null(facts["width"], 0), 0))
    return read["width"].to_numpy(), read["height"].to_numpy()


def data_folder_of(source: str) -> Path | None:
    """The folder whose `houndsight.toml` counts as beside the photos."""
    if "://" in source:
        return None
    path = Path(source).expanduser()
    return path if path.is_dir() else path.parent
