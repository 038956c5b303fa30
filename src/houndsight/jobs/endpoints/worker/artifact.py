"""Serves a model that Houndsight itself saved, with the handler of `houndsight serve`."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from houndsight.jobs.endpoints.sockets import short_path
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.app import make_app
from houndsight.serving.handler import ImageClassifier
from houndsight.serving.settings import ServingSettings

__all__ = ["ArtifactServing"]


class ArtifactServing:
    """The classifier behind its socket."""

    stage = "loading the model"

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._path = Path(told["socket"])
        self._answer_s = float(told["answer_seconds"])
        self._app: Starlette

    def load(self) -> None:
        """Read the model.

        Raises:
            HoundsightError: it is damaged.
        """
        settings = ServingSettings(
            max_upload_bytes=max(1_000, int(self._told["max_body_bytes"])),
            answer_timeout_s=self._answer_s,
            compute_threads=int(self._told["cores"]),
            decode_threads=int(self._told["cores"]),
        )
        artifact = ModelArtifact.load(Path(self._told["model_dir"]))
        self._app = make_app(ImageClassifier(artifact, settings), settings)

    def run(self) -> int:
        """Answer until SIGTERM."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        aside = self._path.with_name("socket.new")
        aside.unlink(missing_ok=True)
        with short_path(aside) as short:
            listener.bind(short)
        listener.listen(1024)
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(self._answer_s) + 1,
            lifespan="on",
        )
        server = _Server(config, aside, self._path)
        with listener:
            asyncio.run(server.serve(sockets=[listener]))
        return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Has its socket's name only while it takes requests."""

    def __init__(self, config: uvicorn.Config, aside: Path, path: Path) -> None:
        super().__init__(config)
        self._aside, self._path = aside, path

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, then be found."""
        await super().startup(sockets)
        if self.started:
            self._aside.rename(self._path)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Be found no more; take what waits; answer; close."""
        self._path.unlink(missing_ok=True)
        await asyncio.sleep(0.1)
        await super().shutdown(sockets)
