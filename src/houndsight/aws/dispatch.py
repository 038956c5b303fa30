"""From an HTTP request to the operation of a service and back: routing, identity, limits.

A request's way: `Host`; which service (the credential scope, then `X-Amz-Target`, then a form's
`Action`, then the path); its body, up to a limit; the signature; the model's rules; the operation
itself, in a worker thread. Whatever goes wrong is answered in the service's own protocol.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from houndsight.aws.models import load_model
from houndsight.aws.protocol import (
    Incoming,
    JsonProtocol,
    Outgoing,
    Protocol,
    QueryProtocol,
    RestJsonProtocol,
)
from houndsight.aws.protocol.query import read_form
from houndsight.aws.service import AwsError, Call, Service
from houndsight.aws.signature import Claim, Verifier, check_payload, read_claim
from houndsight.aws.validation import validate
from houndsight.errors import HoundsightError

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

__all__ = ["Dispatcher", "Route", "lower_headers"]

MIB = 1024 * 1024
BODY_LIMITS = {"sagemaker-runtime": 25 * MIB}
BODY_LIMIT = 8 * MIB
VALIDATION_CODES = {
    "sagemaker": "ValidationException",
    "logs": "InvalidParameterException",
}
"""What a service calls a parameter that breaks its model; `ValidationError` for the others."""
SIGNATURE_CODES = {
    "json": {
        "AccessDenied": "AccessDeniedException",
        "AuthorizationHeaderMalformed": "IncompleteSignatureException",
        "InvalidAccessKeyId": "UnrecognizedClientException",
        "InvalidRequest": "IncompleteSignatureException",
        "RequestTimeTooSkewed": "InvalidSignatureException",
        "SignatureDoesNotMatch": "InvalidSignatureException",
        "XAmzContentSHA256Mismatch": "InvalidSignatureException",
    },
    "query": {
        "AuthorizationHeaderMalformed": "IncompleteSignature",
        "InvalidAccessKeyId": "InvalidClientTokenId",
        "InvalidRequest": "IncompleteSignature",
        "RequestTimeTooSkewed": "SignatureDoesNotMatch",
    },
}
"""The same errors have other names in each family of protocols; the verifier tells S3's."""
log = logging.getLogger("houndsight.aws")


@dataclass(frozen=True)
class Route:
    """Where a request goes: a service, spoken in a protocol."""

    service: Service
    model: ServiceModel
    protocol: Protocol
    family: str
    """`json` or `query`."""
    implemented: frozenset[str]

    @property
    def body_limit(self) -> int:
        """The longest body it takes, bytes."""
        return BODY_LIMITS.get(self.service.name, BODY_LIMIT)


class Dispatcher:
    """Answers the requests of all services but S3."""

    def __init__(self, services: Sequence[Service], verifier: Verifier) -> None:
        self._verifier = verifier
        self._routes: dict[tuple[str, str], Route] = {}
        """By service and by how it is spoken: `json`, `query`, `rest`."""
        self._prefixes: dict[str, str] = {}
        """Service by the prefix of its targets."""
        self._actions: dict[str, str] = {}
        """Service by the version of its forms."""
        self._scopes: dict[str, list[str]] = {}
        for service in services:
            self._add(service)

    def _add(self, service: Service) -> None:
        model = load_model(service.name, service.operations())
        spoken = set(model.metadata.get("protocols", [model.metadata["protocol"]]))
        scope = model.signing_name
        self._scopes.setdefault(scope, []).append(service.name)
        done = frozenset(service.operations())
        if "json" in spoken:
            protocol: Protocol = JsonProtocol(model)
            self._routes[service.name, "json"] = Route(service, model, protocol, "json", done)
            self._prefixes[model.metadata["targetPrefix"]] = service.name
        if "query" in spoken:
            protocol = QueryProtocol(model)
            self._routes[service.name, "query"] = Route(service, model, protocol, "query", done)
            self._actions[model.metadata["apiVersion"]] = service.name
        if "rest-json" in spoken:
            protocol = RestJsonProtocol(model)
            self._routes[service.name, "rest"] = Route(service, model, protocol, "json", done)

    def is_for_s3(self, incoming: Incoming) -> bool:
        """Whether the S3 store answers: signed for it, or for nobody and no other's."""
        try:
            claim = read_claim(incoming.query, incoming.headers)
        except AwsError:
            return "x-amz-target" not in incoming.headers and not _is_form(incoming)
        if claim is not None:
            return claim.service in ("s3", "s3express")
        return not (
            "x-amz-target" in incoming.headers
            or _is_form(incoming)
            or self._rest_route(incoming) is not None
        )

    def route(self, incoming: Incoming) -> Route:
        """Which service is meant. The body is needed of unsigned forms only.

        Raises:
            AwsError: none that is spoken here.
        """
        claim: Claim | None
        try:
            claim = read_claim(incoming.query, incoming.headers)
        except AwsError:
            claim = None  # the verifier says what is wrong with it, in the service's protocol
        names = self._scopes.get(claim.service) if claim is not None else list(self._every())
        if names is None:
            assert claim is not None
            raise AwsError(
                "NotImplementedException",
                f"Houndsight does not speak the service {claim.service[:60]!r}; it speaks"
                f" {', '.join(sorted({*self._scopes, 's3'}))}.",
                status=501,
            )
        found = self._route_among(names, incoming)
        if found is None:
            raise AwsError(
                "UnknownOperationException",
                f"{incoming.method} {incoming.path[:200]} names no operation: there is neither"
                " X-Amz-Target nor a form's Action nor a path that is known.",
                status=404,
            )
        return found

    def _every(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self._routes))

    def _route_among(self, names: Sequence[str], incoming: Incoming) -> Route | None:
        target = incoming.headers.get("x-amz-target")
        if target is not None:
            name = self._prefixes.get(target.rpartition(".")[0], "")
            if name in names:
                return self._routes[name, "json"]
            return self._routes.get((names[0], "json")) if len(names) == 1 else None
        for name in names:
            route = self._routes.get((name, "rest"))
            if route is not None and incoming.path.strip("/"):
                return route
        if _is_form(incoming) or "Action=" in incoming.query:
            version = read_form(incoming).get("Version", "")
            name = self._actions.get(version, "")
            name = name if name in names else names[0] if len(names) == 1 else ""
            return self._routes.get((name, "query"))
        return self._routes.get((names[0], "json")) if len(names) == 1 else None

    def _rest_route(self, incoming: Incoming) -> Route | None:
        for (_, how), route in self._routes.items():
            if how == "rest":
                try:
                    route.protocol.operation(incoming)
                except AwsError:
                    continue
                return route
        return None

    def answer(self, route: Route, incoming: Incoming, patience_s: float) -> Outgoing:
        """Verify, parse, validate, call, serialise. Runs in a worker thread."""
        request_id = str(uuid.uuid4())
        operation: OperationModel | None = None
        name = ""
        try:
            identity = self._identify(route, incoming)
            name = route.protocol.operation(incoming)
            operation = _operation(route, name)
            parameters = route.protocol.parse(operation, incoming)
            code = VALIDATION_CODES.get(route.service.name, "ValidationError")
            validate(operation.input_shape, parameters, code=code)
            call = Call(
                operation=name,
                parameters=parameters,
                region=identity.region,
                access_key=identity.access_key,
                request_id=request_id,
                patience_s=patience_s,
            )
            response = route.service.call(call)
            return route.protocol.answer(operation, response, request_id)
        except AwsError as error:
            return route.protocol.error(error, request_id, operation)
        except HoundsightError as error:
            code = getattr(error, "code", None) or VALIDATION_CODES.get(
                route.service.name, "ValidationError"
            )
            return route.protocol.error(AwsError(str(code), str(error)), request_id, operation)
        except Exception as error:
            return _unforeseen(route, name, error, request_id)

    def refusal(self, error: AwsError, incoming: Incoming) -> Outgoing:
        """An error before any service was found, in the protocol that the request looks like."""
        route = next(iter(self._routes.values()))
        protocol: Protocol = (
            QueryProtocol(route.model) if _is_form(incoming) else JsonProtocol(route.model)
        )
        return protocol.error(error, str(uuid.uuid4()))

    def _identify(self, route: Route, incoming: Incoming) -> Any:
        try:
            told = incoming.headers.get("x-amz-content-sha256")
            computed = hashlib.sha256(incoming.body).hexdigest()
            identity = self._verifier.verify(
                incoming.method,
                incoming.path,
                incoming.query,
                incoming.headers,
                payload_hash=computed,
            )
            if told is not None and not self._verifier.insecure:
                check_payload(identity, computed)
        except AwsError as error:
            code = SIGNATURE_CODES[route.family].get(error.code, error.code)
            raise AwsError(code, error.message, status=error.status) from error
        return identity


def _operation(route: Route, name: str) -> OperationModel:
    if name not in route.model.operation_names:
        raise AwsError(
            "UnknownOperationException" if route.family == "json" else "InvalidAction",
            f"{route.service.name} has no operation {name[:80]!r}.",
        )
    if name not in route.implemented:
        # Its shapes are not loaded: nothing can be parsed, and nothing needs to.
        route.service.call(Call(operation=name))
    return route.model.operation_model(name)


def _unforeseen(route: Route, name: str, error: Exception, request_id: str) -> Outgoing:
    log.exception("%s of %s failed (request %s)", name or "?", route.service.name, request_id)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    told = AwsError(
        "InternalFailure",
        f"Houndsight failed at {name or 'a request'} of {route.service.name}: {what[:500]}. The"
        f" control plane's log has more (request {request_id}).",
        status=500,
    )
    return route.protocol.error(told, request_id)


def _is_form(incoming: Incoming) -> bool:
    kind = incoming.headers.get("content-type", "")
    form = incoming.method == "POST" and kind.startswith("application/x-www-form-urlencoded")
    return form and incoming.path == "/"


def lower_headers(raw: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """ASGI's headers by lower-case name; several of one name joined by commas."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers
