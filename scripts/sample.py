"""Print the path of one of the demo's photos."""

from __future__ import annotations

import csv

from houndsight.data.solar_cells import solar_cells

table_path = solar_cells()
with table_path.open(newline="") as table:
    print(table_path.parent / next(csv.DictReader(table))["path"])
