"""`houndsight serve`: an HTTP endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from houndsight.cli.options import SetOption, resolve_all, with_settings
from houndsight.serving.settings import ServingSettings

__all__ = ["serve"]


@with_settings({ServingSettings: ("host", "port", "backend", "max_batch", "top")})
def serve(
    model: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, a model folder or a model.tar.gz.")
    ],
    *,
    given: dict[str, dict[str, Any]],
    assignments: SetOption = None,
) -> None:
    """Serve a model over HTTP: GET /ping and POST /invocations with a photo or JSON."""
    from houndsight.models.artifact import ModelArtifact
    from houndsight.serving.handler import ImageClassifier
    from houndsight.serving.server import serve as serve_handler

    settings = resolve_all([ServingSettings], given=given, assignments=assignments or ())[
        "serving"
    ].value
    handler = ImageClassifier(ModelArtifact.load(model), settings)

    def ready(address: str) -> None:
        typer.echo(
            f"Serving {model} at {address}; try: curl --data-binary @photo.jpg "
            f"-H 'Content-Type: image/jpeg' {address}/invocations"
        )

    serve_handler(handler, settings, ready=ready)
