"""Stage 1: find the photos, check them, draw the splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from houndsight.data.check import check
from houndsight.data.fit import choose_fit
from houndsight.data.folder import ImageFolder
from houndsight.errors import DataError
from houndsight.stages.context import Context
from houndsight.wording import plural

__all__ = ["check_photos", "data_folder_of"]

FEWEST_UNITS = 3
"""One to judge by, and two to choose among settings by."""


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
        photos = result.folder
        _require_units(context, photos)
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


def _require_units(context: Context, photos: ImageFolder) -> None:
    """Stop before anything long when few photos cannot be cross-validated.

    Raises:
        DataError: what must stay together leaves fewer than three parts.
    """
    units = photos.together
    if units is None or photos.splits_given or len(photos) >= context.config.run.small:
        return
    parts = len(np.unique(units))
    if parts < FEWEST_UNITS:
        raise DataError(
            f"The {len(photos):,} photos are in {plural(parts, 'group')} that must stay together "
            f"(--group, and near-duplicates); figures for under {context.config.run.small:,} "
            f"photos come from cross-validation, which needs at least {FEWEST_UNITS}. Group by "
            "something finer, or give a test split."
        )


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
