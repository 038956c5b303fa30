"""Small helpers that scripts and notebooks import from here."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Any

__all__ = [
    "TimeUnits",
    "convert_utc_timestamp_to_microseconds",
    "convert_utc_timestamp_to_nanoseconds",
    "convert_utc_timestamp_to_seconds",
    "str2bool",
    "us_since_epoch_to_human_readable_time",
]

TRUE, FALSE = {"y", "yes", "t", "true", "on", "1"}, {"n", "no", "f", "false", "off", "0"}


class TimeUnits(Enum):
    """Units of times since the epoch."""

    SECONDS = 1
    MILLISECONDS = 2
    MICROSECONDS = 3
    NANOSECONDS = 4


IN_A_SECOND = {
    TimeUnits.SECONDS: 1,
    TimeUnits.MILLISECONDS: 10**3,
    TimeUnits.MICROSECONDS: 10**6,
    TimeUnits.NANOSECONDS: 10**9,
}


def convert_utc_timestamp_to_nanoseconds(
    timestamp: float, unit: TimeUnits = TimeUnits.MICROSECONDS
) -> int:
    """In nanoseconds."""
    return int(timestamp * (10**9 // IN_A_SECOND[unit]))


def convert_utc_timestamp_to_microseconds(
    timestamp: float, unit: TimeUnits = TimeUnits.MICROSECONDS
) -> int:
    """In microseconds."""
    return int(timestamp * 10**6 / IN_A_SECOND[unit])


def convert_utc_timestamp_to_seconds(
    timestamp: float, unit: TimeUnits = TimeUnits.MICROSECONDS
) -> float:
    """In seconds."""
    return timestamp / IN_A_SECOND[unit]


def us_since_epoch_to_human_readable_time(us_since_epoch: float) -> str:
    """`2026-11-23T06:00:00:000000`, in UTC."""
    return datetime.fromtimestamp(us_since_epoch / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S:%f")


def str2bool(v: Any) -> bool:
    """`"True"`, `"yes"`, `"1"` → True.

    Raises:
        ValueError: it is none of the known words.
    """
    word = str(v).strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError(f"invalid truth value {v!r}; write True or False")
    return word in TRUE
