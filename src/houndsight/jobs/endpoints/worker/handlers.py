"""The person's inference script: its functions, found, checked and called as SageMaker does it.

`model_fn(model_dir)`; then `input_fn(body, content_type)`, `predict_fn(data, model)` and
`output_fn(prediction, accept)`, or `transform_fn(model, body, content_type, accept)` in their
place. Each may take one argument more, the `context`; each that is missing has a default.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from houndsight.jobs.endpoints.worker import codec, defaults
from houndsight.jobs.endpoints.worker.context import Context

__all__ = ["Answer", "Script"]

FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Script:
    """The script's functions and its model."""

    def __init__(self, model_dir: str, program: str) -> None:
        self.model_dir, self.program = model_dir, program
        self.stage = ""
        self.model: Any = None
        self._functions: dict[str, Callable[..., Any]] = {}

    def load(self) -> None:
        """Import the script, if there is one, and load the model.

        Raises:
            BaseException: whatever the script raises.
        """
        if self.program:
            self.stage = f"importing {self.program}"
            self._functions = _functions_of(_load(Path(self.model_dir) / "code", self.program))
        context = Context(self.model_dir)
        if "pre_model_fn" in self._functions:
            self._call("pre_model_fn", (self.model_dir,), context)
        self.model = self._or_default("model_fn", (self.model_dir,), context)
        if "model_warmup_fn" in self._functions:
            self._call("model_warmup_fn", (self.model_dir, self.model), context)

    def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One request through the functions. `stage` says which one is at work.

        Raises:
            BaseException: whatever the script raises.
        """
        context = Context(self.model_dir, headers)
        request = context.get_all_request_header(0)
        content_type = request.get("content-type")
        accept = request.get("accept")
        if not accept or accept == "*/*":
            accept = defaults.default_accept()
        data: Any = bytearray(body)
        if codec.media(content_type) in codec.TEXT_TYPES:
            self.stage = "decoding the body"
            data = body.decode("utf-8")
        return self._pack(self._transform(data, content_type, accept, context), accept, context)

    def _transform(self, data: Any, content_type: str | None, accept: str, context: Context) -> Any:
        if "transform_fn" in self._functions:
            return self._call("transform_fn", (self.model, data, content_type, accept), context)
        data = self._or_default("input_fn", (data, content_type), context)
        prediction = self._or_default("predict_fn", (data, self.model), context)
        return self._or_default("output_fn", (prediction, accept), context)

    def _or_default(self, name: str, arguments: tuple[Any, ...], context: Context) -> Any:
        if name in self._functions:
            return self._call(name, arguments, context)
        self.stage = name
        function: Callable[..., Any] = getattr(defaults, f"default_{name}")
        return function(*arguments)

    def _call(self, name: str, arguments: tuple[Any, ...], context: Context) -> Any:
        self.stage = name
        function = self._functions[name]
        return function(*arguments, *([context] if _takes_context(function, arguments) else []))

    def _pack(self, result: Any, accept: str, context: Context) -> Answer:
        self.stage = "output_fn" if "transform_fn" not in self._functions else "transform_fn"
        content_type = accept
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
            result, content_type = result
        headers = dict(context.get_response_headers(0))
        headers.setdefault("content-type", content_type)
        status, _ = context.get_response_status(0)
        return Answer(status, _as_bytes(result), headers)


def _as_bytes(result: Any) -> bytes:
    """As TorchServe writes what a handler returns."""
    if isinstance(result, bytes | bytearray | memoryview):
        return bytes(result)
    if isinstance(result, str):
        return result.encode()
    return json.dumps(result, default=codec.plain).encode()


def _load(code: Path, program: str) -> ModuleType:
    """Run the script as a module of its own name."""
    path = code / program
    # The SDK packs a model's `dependencies` into `code/lib`.
    for folder in dict.fromkeys((code / "lib", code, path.parent)):
        sys.path.insert(0, str(folder))
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(code), before]))
    name = path.stem.replace("-", "_")
    if name in sys.modules:
        name = f"user_{name}"
    sys.argv = [str(path)]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _functions_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    named = (*FUNCTIONS, "pre_model_fn", "model_warmup_fn")
    found = {name: getattr(module, name) for name in named if callable(getattr(module, name, None))}
    rest = [name for name in ("input_fn", "predict_fn", "output_fn") if name in found]
    if "transform_fn" in found and rest:
        raise ValueError(
            f"The script has transform_fn and also {', '.join(rest)}: transform_fn takes the place"
            " of all three. Keep one way."
        )
    return found


def _takes_context(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Whether it takes one argument more than these.

    Raises:
        TypeError: it takes a number of arguments that cannot be.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return False
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    count = len(arguments)
    if len(placed) in (count, count + 1):
        return len(placed) == count + 1
    if sum(p.default is p.empty for p in placed) <= count < len(placed):
        return False
    raise TypeError(
        f"{function.__name__} takes {len(placed)} arguments but {count} were given (or"
        f" {count + 1} with context)."
    )
