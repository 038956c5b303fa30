"""The `context` that handlers may take, as TorchServe's `ts.context` has it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from typing import Any

__all__ = ["Context"]


class _Headers(dict[str, str]):
    """Headers whose names are found in any case."""

    def get(self, key: str, default: Any = None) -> Any:
        wanted = key.lower()
        return next((value for name, value in self.items() if name.lower() == wanted), default)

    def __getitem__(self, key: str) -> str:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return str(found)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None


class _RequestProcessor:
    """One request's headers, and what its answer is to carry."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = _Headers(headers)
        self._status, self._reason = 200, "OK"
        self._response: dict[str, str] = {}

    def get_request_properties(self) -> Mapping[str, str]:
        return self._headers

    def get_request_property(self, key: str) -> str | None:
        found: str | None = self._headers.get(key)
        return found

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        self._status, self._reason = int(code), reason_phrase or ""

    def get_response_status_code(self) -> int:
        return self._status

    def get_response_status_phrase(self) -> str:
        return self._reason

    def add_response_property(self, key: str, value: str) -> None:
        self._response[key] = value

    def get_response_headers(self) -> dict[str, str]:
        return self._response

    def get_response_header(self, key: str) -> str | None:
        return self._response.get(key)


class Context:
    """What is known of the model and of one request; batches have always one."""

    def __init__(self, model_dir: str, headers: Mapping[str, str] | None = None) -> None:
        self.model_name = "model"
        self.manifest: dict[str, Any] = {"model": {"modelName": "model", "modelVersion": "1.0"}}
        self._system_properties = {
            "model_dir": model_dir,
            "gpu_id": _first_gpu(),
            "batch_size": 1,
            "server_name": "houndsight",
            "server_version": "1.0",
        }
        self._request_processor = [_RequestProcessor(headers or {})]
        self.request_ids = {0: str(uuid.uuid4())}
        self.metrics = None

    @property
    def system_properties(self) -> dict[str, Any]:
        """`model_dir`, `gpu_id`, `batch_size` …"""
        return self._system_properties

    @property
    def request_processor(self) -> list[_RequestProcessor]:
        """The requests of the batch: one."""
        return self._request_processor

    def get_request_id(self, idx: int = 0) -> str:
        """A name for the request."""
        return self.request_ids[idx]

    def get_request_header(self, idx: int, key: str) -> str | None:
        """A header of the request."""
        return self._request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> Mapping[str, str]:
        """All headers of the request."""
        return self._request_processor[idx].get_request_properties()

    def set_response_content_type(self, idx: int, value: str) -> None:
        """The answer's `Content-Type`."""
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        """The answer's `Content-Type`, if it was set."""
        return self._request_processor[idx].get_response_header("content-type")

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """The answer's status."""
        self._request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """The status of all answers."""
        self.set_response_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        """The answer's status and phrase."""
        processor = self._request_processor[idx]
        return processor.get_response_status_code(), processor.get_response_status_phrase()

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """A header of the answer."""
        self._request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """The headers set so far."""
        return self._request_processor[idx].get_response_headers()


def _first_gpu() -> int | None:
    torch = sys.modules.get("torch")
    return 0 if torch is not None and torch.cuda.is_available() else None
