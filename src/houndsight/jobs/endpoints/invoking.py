"""One invocation: to a worker and back, with SageMaker's errors where something goes wrong."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from houndsight.errors import HoundsightError
from houndsight.jobs.endpoints.connection import (
    BrokenOffError,
    LateError,
    NotBegunError,
    WorkerReply,
    exchange,
)
from houndsight.jobs.endpoints.routing import Lease, NoVariantError, NoWorkerError, Router
from houndsight.jobs.endpoints.settings import EndpointsSettings
from houndsight.wording import size

__all__ = ["Invocation", "InvocationError", "Invoker", "Reply"]

OUTCOME = "x-houndsight-outcome"
PATIENCE_S = 15.0
"""How long a request waits for a worker that is started again."""
CUSTOM = "x-amzn-sagemaker-custom-attributes"
SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack", "OutOfService")
LONGEST_MESSAGE = 1_000


class InvocationError(HoundsightError):
    """What the client of an invocation is told: SageMaker's code, HTTP status and members."""

    def __init__(
        self, code: str, message: str, *, status: int, fields: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.fields = code, status, dict(fields or {})


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """A request."""

    body: bytes
    content_type: str = ""
    accept: str = ""
    custom_attributes: str = ""
    target_variant: str = ""
    headers: Mapping[str, str] | None = None
    """More that the script may see, such as the inference id."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer."""

    body: bytes
    content_type: str
    custom_attributes: str
    variant: str


class Invoker:
    """Sends requests to the workers of one endpoint."""

    def __init__(
        self, name: str, router: Router, settings: EndpointsSettings, *, region: str, account: str
    ) -> None:
        self._name, self._router, self._settings = name, router, settings
        self._group = f"/aws/sagemaker/Endpoints/{name}"
        self._group_arn = f"arn:aws:logs:{region}:{account}:log-group:{self._group}"
        self._account = account

    def invoke(self, request: Invocation) -> Reply:
        """The answer of a worker.

        Raises:
            InvocationError: there is none.
        """
        self._check_body(request)
        deadline = time.monotonic() + self._settings.answer_seconds
        while True:
            self._check_state()
            variant = self._choose(request)
            # Who found the worker gone is sent to another; what was begun is never sent twice.
            with contextlib.suppress(NotBegunError, NoVariantError):
                return self._read(self._ask(variant, request, deadline), variant)
            if time.monotonic() >= deadline:
                raise self._late()
            time.sleep(0.02)

    def _ask(self, variant: str, request: Invocation, deadline: float) -> WorkerReply:
        try:
            with self._router.lease(variant, deadline, PATIENCE_S) as lease:
                return self._send(lease, request, deadline)
        except NoWorkerError as error:
            raise (self._unavailable(error.note) if error.all_down else self._late()) from error

    def _choose(self, request: Invocation) -> str:
        try:
            return self._router.choose(request.target_variant)
        except NoVariantError as error:
            raise self._invalid(f"Endpoint {self._name}: {error}") from error

    def _check_body(self, request: Invocation) -> None:
        longest = self._settings.max_body_bytes
        if len(request.body) > longest:
            raise self._invalid(
                f"The body has {len(request.body):,} bytes; a real-time endpoint takes"
                f" {longest:,} at most ({size(longest)}), as on SageMaker. Send less, such as a"
                " smaller photo or its URL, or set HOUNDSIGHT_ENDPOINTS_MAX_BODY_BYTES."
            )

    def _check_state(self) -> None:
        state = self._router.state()
        if state is None or state.status == "Creating":
            raise InvocationError(
                "ModelNotReadyException",
                f"Endpoint {self._name} is being created; wait until it is InService.",
                status=429,
            )
        if state.status == "Failed":
            raise self._invalid(f"Endpoint {self._name} has failed: {state.failure}")
        if state.status not in SERVING:
            raise self.not_found(self._name, self._account)
        if state.status == "OutOfService":
            raise self._unavailable(state.failure)

    @staticmethod
    def not_found(name: str, account: str) -> InvocationError:
        """There is no such endpoint."""
        text = f"Endpoint {name} of account {account} not found."
        return InvocationError("ValidationError", text, status=400)

    def _send(self, lease: Lease, request: Invocation, deadline: float) -> WorkerReply:
        left = max(0.1, deadline - time.monotonic())
        try:
            return exchange(
                lease.socket,
                "POST",
                "/invocations",
                body=request.body,
                headers=_headers(request, left),
                timeout_s=left,
                longest=self._settings.max_body_bytes,
            )
        except LateError as error:
            raise self._late() from error
        except BrokenOffError as error:
            raise self._model_error(
                0, "An error occurred while handling request as the model process exited."
            ) from error

    def _read(self, reply: WorkerReply, variant: str) -> Reply:
        outcome = reply.headers.get(OUTCOME, "")
        if outcome == "late":
            raise self._late()
        if outcome == "failed":
            raise self._script_failed(reply)
        if reply.status >= 400:
            raise self._model_error(reply.status, _text_of(reply.body))
        longest = self._settings.max_body_bytes
        if len(reply.body) > longest:
            raise self._model_error(
                413,
                f"The answer has over {longest:,} bytes, the most that a real-time endpoint gives"
                " (HOUNDSIGHT_ENDPOINTS_MAX_BODY_BYTES).",
            )
        return Reply(
            body=reply.body,
            content_type=reply.headers.get("content-type", "application/octet-stream"),
            custom_attributes=reply.headers.get(CUSTOM, ""),
            variant=variant,
        )

    def _script_failed(self, reply: WorkerReply) -> InvocationError:
        try:
            told = json.loads(reply.body)
        except ValueError:
            told = {"message": _text_of(reply.body)}
        where = f" It was raised in {told['stage']}" if told.get("stage") else ""
        where += f" ({told['where']})" if told.get("where") and where else ""
        extra = f"{where}." if where else ""
        extra += f" {told['advice']}" if told.get("advice") else ""
        return self._model_error(reply.status, str(told.get("message", "")), extra=extra)

    def _model_error(self, status: int, message: str, *, extra: str = "") -> InvocationError:
        message = message[:LONGEST_MESSAGE]
        kind = "client" if 400 <= status < 500 else "server"
        return InvocationError(
            "ModelError",
            f'Received {kind} error ({status}) from primary with message "{message}".{extra} See'
            f" the log group {self._group} in account {self._account} for more information.",
            status=424,
            fields={
                "OriginalStatusCode": status,
                "OriginalMessage": message,
                "LogStreamArn": self._group_arn,
            },
        )

    def _late(self) -> InvocationError:
        return self._model_error(
            0,
            "Your invocation timed out while waiting for a response from container primary."
            f" It may take {self._settings.answer_seconds:g} s.",
        )

    def _unavailable(self, note: str) -> InvocationError:
        return InvocationError(
            "ServiceUnavailable",
            f"No worker of endpoint {self._name} answers. {note} See {self._group}.",
            status=503,
        )

    def _invalid(self, text: str) -> InvocationError:
        return InvocationError("ValidationError", text, status=400)


def _headers(request: Invocation, seconds: float) -> dict[str, str]:
    headers = {"X-Houndsight-Seconds": f"{seconds:.3f}", **(request.headers or {})}
    named = {
        "Content-Type": request.content_type,
        "Accept": request.accept,
        "X-Amzn-SageMaker-Custom-Attributes": request.custom_attributes,
        "X-Amzn-SageMaker-Target-Variant": request.target_variant,
    }
    told = headers | {name: value for name, value in named.items() if value}
    return {name: _one_line(value) for name, value in told.items()}


def _one_line(value: str) -> str:
    return "".join(c if c.isprintable() and c < "\u0100" else " " for c in value)


def _text_of(body: bytes) -> str:
    """The sentence in an error's body."""
    text = body[:LONGEST_MESSAGE].decode(errors="replace").strip()
    with contextlib.suppress(ValueError):
        row = json.loads(body)
        if isinstance(row, dict):
            found = row.get("error") or row.get("message")
            return str(found) if found else text
    return text
