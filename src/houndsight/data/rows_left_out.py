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
            f"Rows of {table} left out, as they have more or fewer fields than its first line: "
            "{count}.",
            "A path or label holds the separator and stands in no quotes.",
            "Write such values in double quotes.",
        ),
        LeftOut(
            "BlankRows",
            Severity.WARNING,
            f"Rows of {table} left out, as they lack a path or a label: {{count}}.",
            "The cells are empty.",
            "Fill them in, or delete the rows.",
        ),
        LeftOut(
            "UnknownSplits",
            Severity.WARNING,
            f"Rows of {table} left out, as their split is none that is known: {{count}}.",
            "The splits must be called train, valid (or val, validation) and test.",
            "Write one of these into every row, or leave the column out to have splits drawn.",
        ),
        LeftOut(
            "PathsOutside",
            Severity.WARNING,
            f"Rows of {table} left out, as they lead out of the folder it came in: {{count}}.",
            "Their paths are absolute or contain `..`; data that was fetched or unpacked may only "
            "name its own photos.",
            "Write paths relative to the table.",
        ),
        LeftOut(
            "MissingFiles",
            Severity.WARNING,
            f"Rows of {table} left out, as the files they name are not there: {{count}}.",
            "The photos were moved, or the paths are not relative to the table.",
            "Put the photos where the table says, or write the paths relative to the table.",
        ),
        LeftOut(
            "ContradictoryLabels",
            Severity.ERROR,
            f"Rows of {table} left out, as they give one photo different labels: {{count}}.",
            "The table was put together from several, or a photo shows several classes.",
            "Keep one label for each photo.",
        ),
        LeftOut(
            "RepeatedRows",
            Severity.WARNING,
            f"Rows of {table} left out, as another row names the same photo: {{count}}; the test's "
            "row was kept before the others'.",
            "The table was put together from several.",
            "Keep one row for each photo.",
        ),
    )
    return {reason.rule: reason for reason in reasons}
