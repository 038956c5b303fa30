"""SageMaker's runtime: invocations of endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from houndsight.aws.platform import Platform
from houndsight.aws.service import AwsError, Call, Service, operation
from houndsight.jobs.endpoints.invoking import Invocation, InvocationError
from houndsight.jobs.endpoints.service import EndpointService

__all__ = ["RuntimeService"]

SEEN = {
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "TargetModel": "X-Amzn-SageMaker-Target-Model",
    "SessionId": "X-Amzn-SageMaker-Session-Id",
}
"""What a script may look at beside content type, accept and custom attributes."""
ABSENT = {
    "TargetModel": "multi-model endpoints; create an endpoint or a variant for each model",
    "TargetContainerHostname": "endpoints of several containers",
    "InferenceComponentName": "inference components; name an endpoint",
}


class RuntimeService(Service):
    """`sagemaker-runtime`."""

    name = "sagemaker-runtime"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    @operation("InvokeEndpoint")
    def invoke(self, call: Call) -> Mapping[str, Any]:
        """Send the body to the endpoint's script and its answer back."""
        asked = call.parameters
        for name, what in ABSENT.items():
            if asked.get(name):
                raise AwsError("ValidationError", f"{name}: Houndsight has no {what}.")
        headers = {header: str(asked[name]) for name, header in SEEN.items() if asked.get(name)}
        request = Invocation(
            body=bytes(asked.get("Body") or b""),
            content_type=str(asked.get("ContentType") or "application/octet-stream"),
            accept=str(asked.get("Accept") or ""),
            custom_attributes=str(asked.get("CustomAttributes") or ""),
            target_variant=str(asked.get("TargetVariant") or ""),
            headers=headers,
        )
        try:
            reply = self._endpoints().invoke(str(asked["EndpointName"]), request)
        except InvocationError as error:
            raise AwsError(
                error.code, str(error), status=error.status, fields=error.fields
            ) from error
        return {
            "Body": reply.body,
            "ContentType": reply.content_type,
            "InvokedProductionVariant": reply.variant,
            "CustomAttributes": reply.custom_attributes or None,
        }

    @operation("InvokeEndpointAsync")
    def invoke_later(self, call: Call) -> Mapping[str, Any]:
        """Not here."""
        raise AwsError(
            "ValidationError",
            f"Houndsight has no asynchronous endpoints: {call.parameters['EndpointName']} is a"
            " real-time endpoint. Call InvokeEndpoint, which takes bodies of up to 6 MB here as on"
            " SageMaker; for many photos, `houndsight predict`.",
        )

    @operation("InvokeEndpointWithResponseStream")
    def invoke_stream(self, call: Call) -> Mapping[str, Any]:
        """Not here."""
        raise AwsError(
            "ValidationError",
            f"Houndsight does not stream answers: call InvokeEndpoint of"
            f" {call.parameters['EndpointName']}, which gives the answer in one piece.",
        )

    def _endpoints(self) -> EndpointService:
        endpoints = self._platform.endpoints
        if not isinstance(endpoints, EndpointService):
            raise AwsError("ServiceUnavailable", "This Houndsight runs no endpoints.", status=503)
        return endpoints
