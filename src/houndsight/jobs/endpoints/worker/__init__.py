"""An endpoint's worker: the one process that holds PyTorch and the person's inference script.

`python -m houndsight.jobs.endpoints.worker WORKER.json` loads the model, listens on a unix socket,
and answers `GET /ping` and `POST /invocations` until SIGTERM, after which it answers what it has
already taken. Nothing else of `jobs` imports this package.
"""
