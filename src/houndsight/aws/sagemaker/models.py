"""CreateModel, DescribeModel, DeleteModel, ListModels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from houndsight.aws.sagemaker.resource import Resource, tags_of, validation_error, without_empty
from houndsight.aws.service import Call, operation
from houndsight.jobs.request import check_name
from houndsight.jobs.states import ExistsError, Kind
from houndsight.jobs.store import Record

__all__ = ["Models"]

ECHOED = ("ExecutionRoleArn", "VpcConfig", "InferenceExecutionConfig")


class Models(Resource):
    """Models: an image, an archive and an environment, under a name."""

    @operation("CreateModel")
    def create(self, call: Call) -> Mapping[str, Any]:
        """Keep a model."""
        request, name = call.parameters, call.parameters["ModelName"]
        arn = self.arn(call, Kind.MODEL, name)
        if bool(request.get("PrimaryContainer")) == bool(request.get("Containers")):
            raise validation_error(
                "Give either PrimaryContainer or Containers: a model needs one of the two."
            )
        self.refuse_existing(call, Kind.MODEL, name)
        self.store.add_tags(arn, tags_of(request))
        record = Record(kind=Kind.MODEL, name=name, arn=arn, status="", request=dict(request))
        try:
            self.store.add(record)
        except ExistsError as error:
            raise self.exists(call, Kind.MODEL, name) from error
        return {"ModelArn": arn}

    @operation("DescribeModel")
    def describe(self, call: Call) -> Mapping[str, Any]:
        """A model."""
        record = self._found(call)
        request = record.request
        primary = request.get("PrimaryContainer")
        containers = [_container(row) for row in request.get("Containers") or ()]
        return without_empty(
            {
                "ModelName": record.name,
                "ModelArn": record.arn,
                "PrimaryContainer": _container(primary) if primary else None,
                "Containers": containers or None,
                **{key: request.get(key) for key in ECHOED},
                "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation")),
                "CreationTime": record.created,
            }
        )

    @operation("DeleteModel")
    def delete(self, call: Call) -> None:
        """Forget a model; its archive stays in S3, endpoints that run it go on."""
        self.store.delete(Kind.MODEL, self._found(call).name)

    @operation("ListModels")
    def list(self, call: Call) -> Mapping[str, Any]:
        """Models, the newest first unless asked otherwise."""
        records, token = self.page(call, Kind.MODEL, sort_by="CreationTime", descending=True)
        rows = [
            {"ModelName": r.name, "ModelArn": r.arn, "CreationTime": r.created} for r in records
        ]
        return {"Models": rows, **token}

    def _found(self, call: Call) -> Record:
        name = call.parameters["ModelName"]
        check_name(name)
        return self.find(call, Kind.MODEL, name)


def _container(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"Mode": "SingleModel", "Environment": {}, **row}
