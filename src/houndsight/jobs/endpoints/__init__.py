"""Endpoints: a model behind handlers, in processes of their own, called by name.

`service.EndpointService` is the control plane's side. A `supervisor` for each endpoint outlives it
and keeps `worker`s in service, each a process with PyTorch and the person's inference script. Both
start for every endpoint, so this module imports nothing.
"""
