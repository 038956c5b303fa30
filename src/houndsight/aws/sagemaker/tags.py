"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from houndsight.aws.sagemaker.resource import ARN_TYPES, Resource, tags_of, validation_error
from houndsight.aws.service import Call, operation
from houndsight.jobs.states import NotFoundError

__all__ = ["Tags"]

MOST_TAGS = 50
_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:\d{12}:([a-z-]+)/([a-zA-Z0-9-]{1,63})")


class Tags(Resource):
    """Tags of everything that has an ARN."""

    @operation("AddTags")
    def add(self, call: Call) -> Mapping[str, Any]:
        """Add or replace tags."""
        arn, given = self._known(call), tags_of(call.parameters)
        if len({**self.store.tags(arn), **given}) > MOST_TAGS:
            raise validation_error(f"{arn} would have more than {MOST_TAGS} tags.")
        self.store.add_tags(arn, given)
        return {"Tags": _rows(self.store.tags(arn))}

    @operation("ListTags")
    def list(self, call: Call) -> Mapping[str, Any]:
        """All tags: a resource has at most fifty, so they are one page."""
        return {"Tags": _rows(self.store.tags(self._known(call)))}

    @operation("DeleteTags")
    def delete(self, call: Call) -> None:
        """Take tags away."""
        self.store.delete_tags(self._known(call), call.parameters["TagKeys"])

    def _known(self, call: Call) -> str:
        """The ARN of a resource that exists, in the spelling it was made with."""
        arn = str(call.parameters["ResourceArn"])
        parts = _ARN.fullmatch(arn)
        kinds = {word: kind for kind, word in ARN_TYPES.items()}
        if parts is None or parts[1] not in kinds:
            raise validation_error(
                f"{arn[:200]!r} is no ARN of a training job, tuning job, model, endpoint"
                " configuration or endpoint."
            )
        try:
            return self.store.get(kinds[parts[1]], parts[2]).arn
        except NotFoundError as error:
            raise validation_error(f"Could not find resource {arn}.") from error


def _rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
