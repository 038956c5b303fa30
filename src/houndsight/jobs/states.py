"""The kinds of things the platform keeps, and which status may follow which.

Training jobs move through the finer states of `JobState` (status.py) inside their folder; the
store keeps SageMaker's primary status of each, checked by the tables here::

    training, tuning   InProgress ─► Completed | Failed | Stopping ─► Stopped
    endpoint           Creating ─► InService ◄─► Updating, RollingBack ─► Deleting
                           └─► Failed
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from houndsight.errors import HoundsightError

__all__ = ["ExistsError", "JobsError", "Kind", "NotFoundError", "StateError", "check_move"]


class Kind(enum.StrEnum):
    """What a record of the store is."""

    TRAINING_JOB = "training-job"
    TUNING_JOB = "tuning-job"
    MODEL = "model"
    ENDPOINT_CONFIG = "endpoint-config"
    ENDPOINT = "endpoint"

    @property
    def words(self) -> str:
        """As a sentence calls it."""
        return self.value.replace("-", " ")


class JobsError(HoundsightError):
    """Something about a job, a model or an endpoint that a person can put right."""


class NotFoundError(JobsError):
    """There is none of that name."""


class ExistsError(JobsError):
    """There is one of that name already."""


class StateError(JobsError):
    """It cannot be done in the state it is in."""


_RUN: Mapping[str, frozenset[str]] = {
    "InProgress": frozenset({"Completed", "Failed", "Stopping", "Stopped"}),
    "Stopping": frozenset({"Stopped", "Completed", "Failed"}),
    "Completed": frozenset(),
    "Failed": frozenset(),
    "Stopped": frozenset(),
}
_ENDPOINT: Mapping[str, frozenset[str]] = {
    "Creating": frozenset({"InService", "Failed", "Deleting"}),
    "InService": frozenset({"Updating", "SystemUpdating", "OutOfService", "Failed", "Deleting"}),
    "Updating": frozenset({"InService", "RollingBack", "Failed", "Deleting"}),
    "SystemUpdating": frozenset({"InService", "RollingBack", "Failed", "Deleting"}),
    "RollingBack": frozenset({"InService", "UpdateRollbackFailed", "Failed", "Deleting"}),
    "UpdateRollbackFailed": frozenset({"Deleting"}),
    "OutOfService": frozenset({"Updating", "InService", "Failed", "Deleting"}),
    "Failed": frozenset({"Updating", "Deleting"}),
    "Deleting": frozenset({"Failed"}),
}
_MOVES: Mapping[Kind, Mapping[str, frozenset[str]]] = {
    Kind.TRAINING_JOB: _RUN,
    Kind.TUNING_JOB: _RUN,
    Kind.ENDPOINT: _ENDPOINT,
}


def check_move(kind: Kind, name: str, old: str, new: str) -> None:
    """Accept a change of status, or the same status again.

    Raises:
        StateError: `new` does not follow `old`.
    """
    moves = _MOVES.get(kind)
    if moves is None or old == new:
        return
    if new not in moves:
        raise StateError(f"A {kind.words} has no status {new!r}; it has {', '.join(moves)}.")
    if new not in moves.get(old, frozenset()):
        raise StateError(f"{kind.words.capitalize()} {name} is {old}; it cannot become {new}.")
