"""The demo's photos: electroluminescence photos of solar cells from the package `elpv-dataset`.

2,624 photos of 300 x 300 px, each with the probability that the cell is defective, by
Deitsch et al. (2019), "Automatic classification of defective photovoltaic module cells in
electroluminescence images", licence CC BY-NC-SA 4.0. As in the paper, a cell is functional at
probability 0 and defective above 0.5; the doubtful ones between are left out.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
from pathlib import Path

from houndsight.config import require_cache_home
from houndsight.errors import DataError, MissingExtraError
from houndsight.files import write_atomic

__all__ = ["LICENCE", "solar_cells"]

LICENCE = "CC BY-NC-SA 4.0"


def solar_cells() -> Path:
    """A table of `path,label` for the photos, made in the cache folder.

    Raises:
        MissingExtraError: the package that holds the photos is not installed.
        DataError: the package holds no labels.
    """
    package = importlib.util.find_spec("elpv_dataset")
    if package is None or package.origin is None:
        raise MissingExtraError("The demo's photos of solar cells", "demo")
    data = Path(package.origin).parent / "data"
    path = require_cache_home() / "datasets" / "solar-cells" / "labels.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    _link(path.parent / "images", data / "images")
    write_atomic(path, _table(data).encode())
    return path


def _link(link: Path, target: Path) -> None:
    """Point `link` at the package's photos, wherever it is installed today."""
    if link.is_symlink() and link.readlink() == target:
        return
    aside = link.with_name(f".images.{os.getpid()}")
    aside.symlink_to(target)
    aside.replace(link)


def _table(data: Path) -> str:
    """The labels as CSV with a header, one row a photo that is clearly one or the other."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["path", "label"])
    try:
        lines = (data / "labels.csv").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{data / 'labels.csv'} cannot be read: {error.strerror}.") from error
    for line in lines:
        name, probability, _module = line.split()
        label = _label(float(probability))
        if label is not None:
            writer.writerow([name, label])
    return table.getvalue()


def _label(probability: float) -> str | None:
    if probability == 0.0:
        return "functional"
    return "defective" if probability > 0.5 else None
