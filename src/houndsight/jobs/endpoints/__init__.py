"""Endpoints: a model behind handlers, in processes of their own, called by name.

`EndpointService` is the control plane's side. A `supervisor` for each endpoint outlives it and
keeps `worker`s in service, each a process with PyTorch and the person's inference script.
"""

from houndsight.jobs.endpoints.invoking import Invocation, InvocationError, Reply
from houndsight.jobs.endpoints.service import EndpointService
from houndsight.jobs.endpoints.settings import EndpointsSettings

__all__ = ["EndpointService", "EndpointsSettings", "Invocation", "InvocationError", "Reply"]
