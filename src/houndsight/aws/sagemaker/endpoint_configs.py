"""CreateEndpointConfig, DescribeEndpointConfig, DeleteEndpointConfig, ListEndpointConfigs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from houndsight.aws.sagemaker.resource import Resource, tags_of, validation_error, without_empty
from houndsight.aws.service import Call, operation
from houndsight.jobs.request import check_name
from houndsight.jobs.states import ExistsError, Kind
from houndsight.jobs.store import Record

__all__ = ["EndpointConfigs"]

ECHOED = (
    "DataCaptureConfig",
    "KmsKeyId",
    "AsyncInferenceConfig",
    "ExplainerConfig",
    "ExecutionRoleArn",
    "VpcConfig",
    "EnableNetworkIsolation",
    "MetricsConfig",
)


class EndpointConfigs(Resource):
    """Endpoint configurations: which models, with which weights, on which instances."""

    @operation("CreateEndpointConfig")
    def create(self, call: Call) -> Mapping[str, Any]:
        """Keep an endpoint configuration whose models are there."""
        request, name = call.parameters, call.parameters["EndpointConfigName"]
        arn = self.arn(call, Kind.ENDPOINT_CONFIG, name)
        if request.get("ShadowProductionVariants"):
            raise validation_error("Houndsight has no shadow variants; leave them out.")
        self._check_variants(call, request["ProductionVariants"])
        self.refuse_existing(call, Kind.ENDPOINT_CONFIG, name)
        self.store.add_tags(arn, tags_of(request))
        record = Record(
            kind=Kind.ENDPOINT_CONFIG, name=name, arn=arn, status="", request=dict(request)
        )
        try:
            self.store.add(record)
        except ExistsError as error:
            raise self.exists(call, Kind.ENDPOINT_CONFIG, name) from error
        return {"EndpointConfigArn": arn}

    def _check_variants(self, call: Call, variants: list[Mapping[str, Any]]) -> None:
        names = [variant["VariantName"] for variant in variants]
        for name in names:
            check_name(name, what="name of a variant")
        if len(set(names)) < len(names):
            raise validation_error(
                f"ProductionVariants: names must differ; they are {', '.join(names)}."
            )
        for variant in variants:
            model = variant.get("ModelName")
            if not model:
                raise validation_error(
                    f"ProductionVariants: variant {variant['VariantName']} has no ModelName;"
                    " Houndsight has no inference components, name a model."
                )
            check_name(model, what="name of a model")
            self.find(call, Kind.MODEL, model)

    @operation("DescribeEndpointConfig")
    def describe(self, call: Call) -> Mapping[str, Any]:
        """An endpoint configuration."""
        record = self._found(call)
        variants = [
            {"InitialVariantWeight": 1.0, **variant}
            for variant in record.request["ProductionVariants"]
        ]
        return without_empty(
            {
                "EndpointConfigName": record.name,
                "EndpointConfigArn": record.arn,
                "ProductionVariants": variants,
                "CreationTime": record.created,
                **{key: record.request.get(key) for key in ECHOED},
            }
        )

    @operation("DeleteEndpointConfig")
    def delete(self, call: Call) -> None:
        """Forget an endpoint configuration; endpoints made from it go on."""
        self.store.delete(Kind.ENDPOINT_CONFIG, self._found(call).name)

    @operation("ListEndpointConfigs")
    def list(self, call: Call) -> Mapping[str, Any]:
        """Endpoint configurations, the newest first unless asked otherwise."""
        records, token = self.page(
            call, Kind.ENDPOINT_CONFIG, sort_by="CreationTime", descending=True
        )
        rows = [
            {
                "EndpointConfigName": r.name,
                "EndpointConfigArn": r.arn,
                "CreationTime": r.created,
            }
            for r in records
        ]
        return {"EndpointConfigs": rows, **token}

    def _found(self, call: Call) -> Record:
        name = call.parameters["EndpointConfigName"]
        check_name(name)
        return self.find(call, Kind.ENDPOINT_CONFIG, name)
