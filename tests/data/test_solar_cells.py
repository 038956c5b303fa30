"""The demo's photos, from the package that ships them."""

from __future__ import annotations

from collections import Counter

import pytest

from houndsight.data.folder import ImageFolder
from houndsight.data.solar_cells import solar_cells

pytest.importorskip("elpv_dataset", reason="the extra `demo` is not installed")


def test_the_photos_are_grouped_as_in_their_paper() -> None:
    photos = ImageFolder.open(solar_cells())
    counts = Counter(photos.classes[label].name for label in photos.labels)
    assert counts == {"functional": 1508, "defective": 821}
    assert all(path.is_file() for path in photos.all().paths()[:20])
    assert photos.table["path"][0].as_py().startswith("images/")
    assert solar_cells() == solar_cells()
