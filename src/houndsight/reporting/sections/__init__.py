"""The sections of a report, one a file; each makes a `Section` or None when it has nothing."""

from __future__ import annotations

from collections.abc import Callable

from houndsight.reporting.document import Section
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.sections.calibration import calibration
from houndsight.reporting.sections.classes import classes
from houndsight.reporting.sections.curves import curves
from houndsight.reporting.sections.data import data
from houndsight.reporting.sections.findings import findings
from houndsight.reporting.sections.photos import photos
from houndsight.reporting.sections.results import results
from houndsight.reporting.sections.search import search
from houndsight.reporting.sections.settings import settings
from houndsight.reporting.sections.stages import stages
from houndsight.reporting.sections.watched import watched

__all__ = ["SECTIONS"]

SECTIONS: tuple[Callable[[Measurements], Section | None], ...] = (
    findings,
    data,
    results,
    curves,
    watched,
    search,
    classes,
    calibration,
    photos,
    stages,
    settings,
)
