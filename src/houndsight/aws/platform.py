"""Everything the services share: the home folder, the keys, the object store, the jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from houndsight.aws.keys import KeyRing
from houndsight.errors import require_extra
from houndsight.jobs.layout import PlatformHome

if TYPE_CHECKING:
    from houndsight.aws.sagemaker.endpoints import EndpointControl
    from houndsight.jobs.objects import ObjectStore
    from houndsight.jobs.service import JobService

__all__ = ["ACCOUNT", "REGION", "ROLE", "Attached", "Platform"]

ACCOUNT = "000000000000"
"""Twelve digits, as AWS's; no real account has this number."""
REGION = "us-east-1"
"""The SDKs read container registries by region, so it has to be a real one."""
ROLE = "houndsight"
"""The role that `get_execution_role()` finds."""


class Attached(Protocol):
    """Something that lives as long as the control plane, and needs the jobs to be there."""

    def start(self) -> None:
        """Take up its work."""

    def close(self) -> None:
        """Leave it."""


@dataclass
class Platform:
    """What one control plane holds."""

    home: PlatformHome
    keys: KeyRing
    objects: ObjectStore
    jobs: JobService
    address: str = ""
    """`http://127.0.0.1:PORT`, where jobs and people reach it."""
    account: str = ACCOUNT
    region: str = REGION
    endpoints: EndpointControl | None = None
    """What runs endpoints, when there is anything."""
    attached: list[Attached] = field(default_factory=list)
    """Started after the jobs, closed before them."""

    def start(self) -> None:
        """Take up the jobs of an earlier control plane, and start queued ones."""
        self.jobs.start()
        for part in self.attached:
            part.start()

    def close(self) -> None:
        """Stop following jobs; they go on by themselves."""
        for part in reversed(self.attached):
            part.close()
        self.jobs.close()


def build_platform(home: PlatformHome) -> Platform:
    """The platform whose state lies in `home`, with the local engine.

    Raises:
        MissingExtraError: the extra `platform` is not installed.
    """
    require_extra("sqlalchemy", what="The platform", extra="platform")
    from houndsight.jobs.endpoints.service import EndpointService
    from houndsight.jobs.local.engine import LocalEngine
    from houndsight.jobs.objects import ObjectStore
    from houndsight.jobs.service import JobService
    from houndsight.jobs.store import JobStore

    home.root.mkdir(parents=True, exist_ok=True)
    objects = ObjectStore(home.objects, account=ACCOUNT)
    jobs = JobService(home, JobStore.open(home.database), objects, LocalEngine(home))
    endpoints = EndpointService(
        home, jobs.store, region=REGION, account=ACCOUNT, reserve=jobs.reserve_memory
    )
    return Platform(
        home=home,
        keys=KeyRing(home.keys),
        objects=objects,
        jobs=jobs,
        endpoints=endpoints,
        attached=[endpoints],
    )
