"""The reasons for which rows of a label table are left out, as findings."""

from __future__ import annotations

from houndsight.data.listing import LeftOut
from houndsight.findings import Severity

__all__ = ["rows_left_out"]


def rows_left_out(table: str) -> dict[str, LeftOut]:
    """An empty count for each reason, by rule."""
    reasons = (
        LeftOut(
            "TornRows",
            Severity.WARNING,
            f"{{count}} rows of {table} have more or fewer fields than its first line and were "
            "left out.",
            "A path or label holds the separator and stands in no quotes.",
            "Write such values in double quotes.",
        ),
        LeftOut(
            "BlankRows",
            Severity.WARNING,
            f"{{count}} rows of {table} lack a path or a label and were left out.",
            "The cells are empty.",
            "Fill them in, or delete the rows.",
        ),
        LeftOut(
            "UnknownSplits",
            Severity.WARNING,
            f"{{count}} rows of {table} are in no split that is known and were left out.",
            "The splits must be called train, valid (or val, validation) and test.",
            "Write one of these into every row, or leave the column out to have splits drawn.",
        ),
        LeftOut(
            "PathsOutside",
            Severity.WARNING,
            f"{{count}} rows of {table} lead out of the folder it came in and were left out.",
            "Their paths are absolute or contain `..`; data that was fetched or unpacked may only "
            "name its own photos.",
            "Write paths relative to the table.",
        ),
        LeftOut(
            "MissingFiles",
            Severity.WARNING,
            f"{{count}} rows of {table} name files that are not there and were left out.",
            "The photos were moved, or the paths are not relative to the table.",
            "Put the photos where the table says, or write the paths relative to the table.",
        ),
        LeftOut(
            "ContradictoryLabels",
            Severity.ERROR,
            f"{{count}} rows of {table} give one photo different labels and were left out.",
            "The table was put together from several, or a photo shows several classes.",
            "Keep one label for each photo.",
        ),
        LeftOut(
            "RepeatedRows",
            Severity.WARNING,
            f"{{count}} rows of {table} name a photo that another row names too; one row each was "
            "kept, the test's before the others'.",
            "The table was put together from several.",
            "Keep one row for each photo.",
        ),
    )
    return {reason.rule: reason for reason in reasons}
