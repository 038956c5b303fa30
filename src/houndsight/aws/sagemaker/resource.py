"""What the resources of SageMaker have in common: names, listings, errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from houndsight.aws.platform import Platform
from houndsight.aws.sagemaker.holding import Holding
from houndsight.aws.service import AwsError, Call, Service
from houndsight.jobs.request import check_name
from houndsight.jobs.states import Kind, NotFoundError
from houndsight.jobs.store import Record
from houndsight.jobs.tuning.service import TuningService

__all__ = ["ARN_TYPES", "Resource", "tags_of", "validation_error", "without_empty"]

ARN_TYPES = {
    Kind.TRAINING_JOB: "training-job",
    Kind.TUNING_JOB: "hyper-parameter-tuning-job",
    Kind.MODEL: "model",
    Kind.ENDPOINT_CONFIG: "endpoint-config",
    Kind.ENDPOINT: "endpoint",
}
WORDS = {
    Kind.MODEL: "model",
    Kind.ENDPOINT_CONFIG: "endpoint configuration",
    Kind.ENDPOINT: "endpoint",
}
"""As the errors that clients match call them."""
DEFAULT_RESULTS = 10
BY_THE_MINUTE = (
    " The SDK names tuning jobs by the minute: wait for the next one, or call fit with a job_name."
)
"""Tuning jobs are over sooner here than AWS starts one, so people meet this."""


class Resource(Service):
    """Operations on one kind of thing; `SageMakerService` is made of these."""

    name = "sagemaker"

    def __init__(self, platform: Platform, tuning: TuningService, holding: Holding) -> None:
        self.platform, self.tuning, self.holding = platform, tuning, holding
        self.jobs, self.store = platform.jobs, platform.jobs.store

    def arn(self, call: Call, kind: Kind, name: str) -> str:
        """The ARN of a resource in the caller's region."""
        check_name(name)
        return f"arn:aws:sagemaker:{call.region}:{self.platform.account}:{ARN_TYPES[kind]}/{name}"

    def find(self, call: Call, kind: Kind, name: str) -> Record:
        """The record of that name.

        Raises:
            AwsError: there is none, in the words that the clients look for.
        """
        try:
            return self.store.get(kind, name)
        except NotFoundError as error:
            if kind in WORDS:
                arn = self.arn(call, kind, name)
                raise validation_error(f'Could not find {WORDS[kind]} "{arn}".') from error
            raise validation_error("Requested resource not found.") from error

    def exists(self, call: Call, kind: Kind, name: str) -> AwsError:
        """The error for a name that is taken."""
        arn = self.arn(call, kind, name)
        if kind in WORDS:
            return validation_error(f'Cannot create already existing {WORDS[kind]} "{arn}".')
        training = kind == Kind.TRAINING_JOB
        what = "Training" if training else "Hyperparameter tuning"
        text = (
            f"{what} job names must be unique within an AWS account and region, and a"
            f" {what.lower()} job with this name already exists ({arn})."
        )
        return AwsError("ResourceInUse", text if training else text + BY_THE_MINUTE)

    def refuse_existing(self, call: Call, kind: Kind, name: str) -> None:
        """Raise when the name is taken, before anything is kept under it."""
        try:
            self.store.get(kind, name)
        except NotFoundError:
            return
        raise self.exists(call, kind, name)

    def page(
        self, call: Call, kind: Kind, *, sort_by: str, descending: bool, **where: Any
    ) -> tuple[Sequence[Record], dict[str, Any]]:
        """A page of a listing by the parameters that all of them share, and its `NextToken`."""
        asked = call.parameters
        order = asked.get("SortOrder") or ("Descending" if descending else "Ascending")
        page = self.store.list(
            kind,
            name_contains=asked.get("NameContains") or "",
            status=asked.get("StatusEquals") or "",
            created_after=_epoch(asked.get("CreationTimeAfter")),
            created_before=_epoch(asked.get("CreationTimeBefore")),
            modified_after=_epoch(asked.get("LastModifiedTimeAfter")),
            modified_before=_epoch(asked.get("LastModifiedTimeBefore")),
            sort_by=asked.get("SortBy") or sort_by,
            descending=order == "Descending",
            limit=asked.get("MaxResults") or DEFAULT_RESULTS,
            token=asked.get("NextToken") or None,
            **where,
        )
        return page.records, {"NextToken": page.next_token} if page.next_token else {}


def validation_error(message: str) -> AwsError:
    """What SageMaker calls nearly everything that cannot be done."""
    return AwsError("ValidationException", message)


def tags_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    """`Tags` as a mapping."""
    return {row["Key"]: row["Value"] for row in parameters.get("Tags") or ()}


def without_empty(reply: Mapping[str, Any]) -> dict[str, Any]:
    """A reply without the members that have no value; numbers that are not finite are none."""
    return {key: value for key, value in reply.items() if not _empty(value)}


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _epoch(moment: Any) -> float | None:
    return None if moment is None else float(moment.timestamp())
