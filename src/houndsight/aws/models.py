"""botocore's service models, cut down to what is answered here and kept in the cache.

The model of SageMaker alone is 6 MB of JSON with 425 operations. What the implemented operations
need of it is a few per cent; it is written once per version of botocore into the cache folder, so
that a start reads kilobytes. Of the other operations only names and paths are kept: an error
names them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from houndsight.config import cache_home
from houndsight.errors import require_extra
from houndsight.files import write_atomic

if TYPE_CHECKING:
    from botocore.model import ServiceModel

__all__ = ["load_model"]

FORMAT = 1
SILENT = frozenset(
    {"documentation", "documentationUrl", "examples", "endpoint", "staticContextParams"}
)


def load_model(service: str, operations: Iterable[str]) -> ServiceModel:
    """The model of `service` with `operations` whole and the names of all others.

    An operation that botocore does not know is left out: a client cannot ask for it either.

    Raises:
        MissingExtraError: botocore is not installed.
    """
    require_extra("botocore", what="The platform", extra="platform")
    return _load(service, frozenset(operations))


@functools.cache
def _load(service: str, operations: frozenset[str]) -> ServiceModel:
    from botocore.model import ServiceModel

    return ServiceModel(_description(service, operations), service)


def _description(service: str, operations: frozenset[str]) -> dict[str, Any]:
    import botocore

    wanted = json.dumps([FORMAT, botocore.__version__, service, sorted(operations)])
    digest = hashlib.blake2b(wanted.encode(), digest_size=8).hexdigest()
    path = cache_home() / "aws-models" / f"{service}-{digest}.json"
    with contextlib.suppress(OSError, ValueError):
        kept: dict[str, Any] = json.loads(path.read_bytes())
        return kept
    cut = _cut_down(_whole(service), operations)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(cut, separators=(",", ":")).encode())
    return cut


def _whole(service: str) -> Mapping[str, Any]:
    from botocore.loaders import Loader

    description: Mapping[str, Any] = Loader().load_service_model(service, "service-2")
    return description


def _cut_down(whole: Mapping[str, Any], operations: frozenset[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, operation in whole["operations"].items():
        if name in operations:
            kept[name] = _without_prose(operation)
        else:
            kept[name] = {"name": name, "http": operation["http"]}
    reached: dict[str, Any] = {}
    waiting = [
        reference["shape"]
        for name in operations & kept.keys()
        for reference in _references(whole["operations"][name])
    ]
    while waiting:
        shape = waiting.pop()
        if shape not in reached:
            reached[shape] = _without_prose(whole["shapes"][shape])
            waiting += [r["shape"] for r in _references(reached[shape])]
    return {
        "version": "2.0",
        "metadata": whole["metadata"],
        "operations": kept,
        "shapes": reached,
    }


def _references(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What an operation or a shape refers to."""
    single = [described[k] for k in ("input", "output", "member", "key", "value") if k in described]
    return [*single, *described.get("errors", ()), *described.get("members", {}).values()]


def _without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_prose(v) for k, v in value.items() if k not in SILENT}
    if isinstance(value, list):
        return [_without_prose(item) for item in value]
    return value
