"""The SageMaker service, put together from its resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from houndsight.aws.platform import Platform
from houndsight.aws.sagemaker.endpoint_configs import EndpointConfigs
from houndsight.aws.sagemaker.endpoints import Endpoints
from houndsight.aws.sagemaker.holding import Holding
from houndsight.aws.sagemaker.models import Models
from houndsight.aws.sagemaker.resource import Resource
from houndsight.aws.sagemaker.tags import Tags
from houndsight.aws.sagemaker.training_jobs import TrainingJobs
from houndsight.aws.sagemaker.training_listing import TrainingJobListings
from houndsight.aws.sagemaker.tuning_jobs import TuningJobs
from houndsight.aws.service import Call, Service
from houndsight.jobs.tuning.service import TuningService

__all__ = ["SageMakerService"]


class SageMakerService(Service):
    """Every operation of SageMaker that Houndsight has; each belongs to one of the resources."""

    name = "sagemaker"
    RESOURCES: ClassVar[tuple[type[Resource], ...]] = (
        TrainingJobs,
        TrainingJobListings,
        TuningJobs,
        Models,
        EndpointConfigs,
        Endpoints,
        Tags,
    )

    def __init__(self, platform: Platform) -> None:
        self.tuning = TuningService(platform.jobs)
        platform.attached.append(self.tuning)
        holding = Holding()
        self._by_operation: dict[str, Service] = {}
        for kind in self.RESOURCES:
            resource = kind(platform, self.tuning, holding)
            self._by_operation |= dict.fromkeys(kind.operations(), resource)

    @classmethod
    def operations(cls) -> tuple[str, ...]:
        """The operations that are implemented."""
        return tuple(sorted(name for kind in cls.RESOURCES for name in kind.operations()))

    def call(self, call: Call) -> Mapping[str, Any]:
        """Answer a request."""
        resource = self._by_operation.get(call.operation)
        return super().call(call) if resource is None else resource.call(call)
