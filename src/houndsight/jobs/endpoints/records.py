"""An endpoint's record in the store, as its supervisor's state has it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from houndsight.jobs.endpoints.spec import EndpointSpec
from houndsight.jobs.endpoints.state import EndpointState, VariantState
from houndsight.jobs.states import Kind, NotFoundError, StateError
from houndsight.jobs.store import JobStore, Record

__all__ = ["detail_of", "move"]

BETWEEN = {
    ("Creating", "OutOfService"): ("InService",),
    ("InService", "RollingBack"): ("Updating",),
    ("OutOfService", "RollingBack"): ("Updating",),
    ("Updating", "OutOfService"): ("InService",),
    ("RollingBack", "OutOfService"): ("InService",),
    ("RollingBack", "Updating"): ("InService",),
}
"""Statuses that were passed while nobody looked."""


def detail_of(state: EndpointState, wanted: EndpointSpec) -> dict[str, Any]:
    """The record's detail: `config`, `failure_reason`, `variants` as DescribeEndpoint has them."""
    detail: dict[str, Any] = {
        "config": state.config or wanted.config,
        "variants": [_variant(variant) for variant in state.variants],
    }
    if state.failure:
        detail["failure_reason"] = state.failure
    return detail


def move(store: JobStore, record: Record, status: str, detail: Mapping[str, Any]) -> None:
    """Change the record, over the statuses that lie between; a status that cannot be is left."""
    with contextlib.suppress(NotFoundError):
        try:
            for step in (*BETWEEN.get((record.status, status), ()), status):
                store.update(Kind.ENDPOINT, record.name, status=step, detail=detail)
        except StateError:
            store.update(Kind.ENDPOINT, record.name, detail=detail)


def _variant(variant: VariantState) -> dict[str, Any]:
    row: dict[str, Any] = {
        "VariantName": variant.name,
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.desired_weight,
        "CurrentInstanceCount": variant.instances,
        "DesiredInstanceCount": variant.desired_instances,
    }
    if variant.image:
        row["DeployedImages"] = [{"SpecifiedImage": variant.image, "ResolvedImage": variant.image}]
    if variant.changing or variant.note:
        told = {"Status": variant.changing or "Updating"}
        if variant.note:
            told["StatusMessage"] = variant.note[:1_024]
        row["VariantStatus"] = [told]
    return row
