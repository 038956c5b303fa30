"""Print the path of one of the demo's photos."""

from __future__ import annotations

import csv

from houndsight.data.solar_cells import solar_cells

with solar_cells().open(newline="") as table:
    print(next(csv.DictReader(table))["path"])
