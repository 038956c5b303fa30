"""ListTrainingJobs and ListTrainingJobsForHyperParameterTuningJob."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from houndsight.aws.sagemaker.resource import DEFAULT_RESULTS, Resource, validation_error
from houndsight.aws.sagemaker.training_reply import training_summary
from houndsight.aws.sagemaker.tuning_reply import trial_summary
from houndsight.aws.service import Call, operation
from houndsight.jobs.request import check_name
from houndsight.jobs.states import Kind
from houndsight.jobs.tuning.earlier import children, stored_plan

__all__ = ["TrainingJobListings"]

BY_VALUE = "FinalObjectiveMetricValue"


class TrainingJobListings(Resource):
    """Training jobs, a page at a time."""

    @operation("ListTrainingJobs")
    def list(self, call: Call) -> Mapping[str, Any]:
        """Training jobs, the oldest first unless asked otherwise."""
        if call.parameters.get("WarmPoolStatusEquals") or call.parameters.get(
            "TrainingPlanArnEquals"
        ):
            return {"TrainingJobSummaries": []}
        records, token = self.page(
            call, Kind.TRAINING_JOB, sort_by="CreationTime", descending=False
        )
        return {"TrainingJobSummaries": [training_summary(r) for r in records], **token}

    @operation("ListTrainingJobsForHyperParameterTuningJob")
    def list_trials(self, call: Call) -> Mapping[str, Any]:
        """The training jobs of a tuning job, by name unless asked otherwise."""
        name = call.parameters["HyperParameterTuningJobName"]
        check_name(name)
        plan = stored_plan(self.find(call, Kind.TUNING_JOB, name))
        if call.parameters.get("SortBy") == BY_VALUE:
            rows = [trial_summary(record, plan) for record in children(self.store, name)]
            return _by_value(rows, call.parameters)
        records, token = self.page(
            call, Kind.TRAINING_JOB, sort_by="Name", descending=False, parent=name
        )
        return {"TrainingJobSummaries": [trial_summary(r, plan) for r in records], **token}


def _by_value(rows: list[dict[str, Any]], asked: Mapping[str, Any]) -> dict[str, Any]:
    """A page by the objective; those without a value come last, whatever the order."""
    wanted = asked.get("StatusEquals")
    rows = [row for row in rows if not wanted or row["TrainingJobStatus"] == wanted]
    sign = -1.0 if asked.get("SortOrder") == "Descending" else 1.0

    def rank(row: Mapping[str, Any]) -> tuple[bool, float, str]:
        final = row.get("FinalHyperParameterTuningJobObjectiveMetric")
        value = 0.0 if final is None else sign * final["Value"]
        return final is None, value, row["TrainingJobName"]

    rows.sort(key=rank)
    first = _offset(asked.get("NextToken"))
    last = first + (asked.get("MaxResults") or DEFAULT_RESULTS)
    reply: dict[str, Any] = {"TrainingJobSummaries": rows[first:last]}
    if last < len(rows):
        reply["NextToken"] = base64.urlsafe_b64encode(f"{BY_VALUE} {last}".encode()).decode()
    return reply


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        kind, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
        if kind == BY_VALUE and number.isdecimal():
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise validation_error("NextToken is not one of this listing: list from the start.")
