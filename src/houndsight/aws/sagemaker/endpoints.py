"""CreateEndpoint, DescribeEndpoint, UpdateEndpoint, UpdateEndpointWeightsAndCapacities,
DeleteEndpoint, ListEndpoints: what is said of endpoints; what runs them is an `EndpointControl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from houndsight.aws.sagemaker.resource import Resource, tags_of, validation_error, without_empty
from houndsight.aws.service import AwsError, Call, operation
from houndsight.jobs.request import check_name
from houndsight.jobs.states import ExistsError, Kind, StateError
from houndsight.jobs.store import Record

__all__ = ["EndpointControl", "Endpoints"]

MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
SLOW_POLL_S = 20.0
"""Who waits so long between two looks is held longer: SDK 2 sleeps 30 s."""
HOLD_S = {"slow": 25.0, "quick": 5.0}


class EndpointControl(Protocol):
    """What runs endpoints. It keeps their records (`Kind.ENDPOINT`) in the store, and in each::

    status   Creating, InService, Updating, RollingBack, Failed, Deleting
    request  as given to `create` or the last `update`
    detail   {"config": name of the configuration in service, "failure_reason": "…",
              "variants": rows of DescribeEndpoint's ProductionVariants}
    """

    def create(
        self,
        name: str,
        arn: str,
        request: Mapping[str, Any],
        *,
        config: Mapping[str, Any],
        models: Mapping[str, Mapping[str, Any]],
    ) -> Record:
        """Keep the record and start the endpoint; returns at once.

        `config` is the request of the endpoint configuration, `models` those of its models by name:
        both may be deleted afterwards.

        Raises:
            ExistsError: there is one of that name.
        """

    def update(
        self,
        name: str,
        request: Mapping[str, Any],
        *,
        config: Mapping[str, Any],
        models: Mapping[str, Mapping[str, Any]],
    ) -> Record:
        """Put another configuration in service without dropping a request.

        Raises:
            StateError: it is not in service.
        """

    def reweigh(self, name: str, wanted: Sequence[Mapping[str, Any]]) -> Record:
        """Change weights and instance counts; rows of `DesiredWeightsAndCapacities`.

        Raises:
            StateError: it is not in service.
            JobsError: there is no such variant.
        """

    def delete(self, name: str) -> None:
        """Stop the endpoint and forget it."""

    def describe(self, name: str) -> Record:
        """The record as it is now.

        Raises:
            NotFoundError: there is none.
        """


class Endpoints(Resource):
    """Endpoints."""

    @operation("CreateEndpoint")
    def create(self, call: Call) -> Mapping[str, Any]:
        """Start an endpoint."""
        request, name = call.parameters, call.parameters["EndpointName"]
        arn = self.arn(call, Kind.ENDPOINT, name)
        self.refuse_existing(call, Kind.ENDPOINT, name)
        config, models = self._deployment(call, request["EndpointConfigName"])
        control = self._control()
        self.store.add_tags(arn, tags_of(request))
        try:
            control.create(name, arn, request, config=config, models=models)
        except ExistsError as error:
            raise self.exists(call, Kind.ENDPOINT, name) from error
        self.holding.note(call.access_key, arn)
        return {"EndpointArn": arn}

    @operation("DescribeEndpoint")
    def describe(self, call: Call) -> Mapping[str, Any]:
        """An endpoint; held open while it is being made or changed."""
        record = self._found(call)
        since = self.holding.note(call.access_key, record.arn)
        if since is not None and record.status in MOVING:
            hold_s = HOLD_S["slow" if since >= SLOW_POLL_S else "quick"]
            record = self.holding.until(
                self.store,
                record,
                lambda now: now.status not in MOVING,
                client=call.access_key,
                seconds=min(call.patience_s, hold_s),
            )
        detail = record.detail
        return without_empty(
            {
                "EndpointName": record.name,
                "EndpointArn": record.arn,
                "EndpointConfigName": detail.get("config") or record.request["EndpointConfigName"],
                "ProductionVariants": detail.get("variants") or None,
                "EndpointStatus": record.status,
                "FailureReason": str(detail.get("failure_reason") or "")[:1_024] or None,
                "CreationTime": record.created,
                "LastModifiedTime": record.modified,
            }
        )

    @operation("UpdateEndpoint")
    def update(self, call: Call) -> Mapping[str, Any]:
        """Put another endpoint configuration in service."""
        record, request = self._found(call), call.parameters
        config, models = self._deployment(call, request["EndpointConfigName"])
        try:
            self._control().update(record.name, request, config=config, models=models)
        except StateError as error:
            raise self._not_now(record.name, error) from error
        self.holding.note(call.access_key, record.arn)
        return {"EndpointArn": record.arn}

    @operation("UpdateEndpointWeightsAndCapacities")
    def reweigh(self, call: Call) -> Mapping[str, Any]:
        """Change the weights and instance counts of variants."""
        record = self._found(call)
        try:
            self._control().reweigh(record.name, call.parameters["DesiredWeightsAndCapacities"])
        except StateError as error:
            raise self._not_now(record.name, error) from error
        return {"EndpointArn": record.arn}

    @operation("DeleteEndpoint")
    def delete(self, call: Call) -> None:
        """Stop an endpoint and forget it."""
        record = self._found(call)
        self._control().delete(record.name)

    @operation("ListEndpoints")
    def list(self, call: Call) -> Mapping[str, Any]:
        """Endpoints, the newest first unless asked otherwise."""
        records, token = self.page(call, Kind.ENDPOINT, sort_by="CreationTime", descending=True)
        rows = [
            {
                "EndpointName": r.name,
                "EndpointArn": r.arn,
                "CreationTime": r.created,
                "LastModifiedTime": r.modified,
                "EndpointStatus": r.status,
            }
            for r in records
        ]
        return {"Endpoints": rows, **token}

    def _deployment(
        self, call: Call, config_name: str
    ) -> tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]:
        """A configuration's request and those of its models."""
        check_name(config_name, what="name of an endpoint configuration")
        config = self.find(call, Kind.ENDPOINT_CONFIG, config_name).request
        names = [variant["ModelName"] for variant in config["ProductionVariants"]]
        return config, {name: self.find(call, Kind.MODEL, name).request for name in names}

    def _control(self) -> EndpointControl:
        control = self.platform.endpoints
        if control is None:
            raise AwsError(
                "NotImplementedException",
                "This Houndsight runs no endpoints yet: models and endpoint configurations are"
                " kept, CreateEndpoint is not.",
                status=501,
            )
        return control

    def _not_now(self, name: str, error: StateError) -> AwsError:
        status = self.store.get(Kind.ENDPOINT, name).status
        return validation_error(f"Cannot update in-progress endpoint: it is {status}. {error}")

    def _found(self, call: Call) -> Record:
        name = call.parameters["EndpointName"]
        check_name(name)
        return self.find(call, Kind.ENDPOINT, name)
