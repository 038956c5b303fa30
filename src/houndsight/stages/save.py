"""Save the model: weights, JSON and an inference graph that was proven to agree."""

from __future__ import annotations

import shutil
from itertools import islice

import numpy as np

from houndsight.data.decoding import decode_batches
from houndsight.data.folder import ImageFolder
from houndsight.findings import Cause, Finding, Severity
from houndsight.models.artifact import ModelArtifact
from houndsight.models.export import GraphCheck
from houndsight.stages.context import Context
from houndsight.stages.train import Trained

__all__ = ["save_model"]

PROVING_PHOTOS = 256
"""How many validation photos the graph is compared with PyTorch on."""


def save_model(context: Context, photos: ImageFolder, trained: Trained) -> ModelArtifact:
    """The saved model in the run's `model/`."""
    if context.done("save") is not None:
        return ModelArtifact.load(context.run.folder)
    with context.stage("save", "Saving the model", unit="files") as outcome:
        artifact = ModelArtifact(
            classifier=trained.classifier,
            classes=photos.classes,
            preprocessing=trained.classifier.backbone.preprocessing,
            temperature=trained.temperature,
            metrics=context.run.results["metrics"],
            fingerprint=context.run.results["data"]["fingerprint"],
        )
        _sweep(context)
        graph = context.config.run.graph
        check = artifact.save(
            context.run.model,
            graph=None if graph == "none" else graph,
            check_images=_proving_photos(context, photos, trained),
        )
        if check is not None and not check.kept:
            context.run.add_findings([_graph_finding(check)])
        kept = check is not None and check.kept
        outcome.text = "Saved the model" + (f" with its {graph} graph" if kept else "")
    return artifact


def _sweep(context: Context) -> None:
    """Delete what a save that was killed left half written; the run's lock is ours."""
    for left in context.run.folder.glob(".model.*"):
        if left.name != ".model.previous":
            shutil.rmtree(left, ignore_errors=True)


def _proving_photos(context: Context, photos: ImageFolder, trained: Trained) -> np.ndarray:
    """Decoded validation photos `(n, size, size, 3)` uint8, or training photos without any."""
    split = photos.split("valid")
    split = split if len(split) else photos.all()
    chosen = np.linspace(0, len(split) - 1, min(PROVING_PHOTOS, len(split))).astype(np.int64)
    batches = decode_batches(
        split.take(np.unique(chosen)).paths(),
        trained.classifier.backbone.preprocessing,
        batch_size=32,
        workers=context.config.data.workers,
        max_pixels=context.config.data.max_pixels,
    )
    return np.concatenate([batch.images for batch in islice(batches, PROVING_PHOTOS)])


def _graph_finding(check: GraphCheck) -> Finding:
    return Finding(
        rule="GraphNotSaved",
        where=check.kind,
        severity=Severity.WARNING,
        title=f"The {check.kind} graph was not saved: {check.reason}",
        causes=(
            Cause(
                text="The exported graph does not compute what PyTorch computes, or could not be "
                "exported.",
                fix="Serving falls back to PyTorch, which is slower but exact; try "
                "--set run.graph=onnx.",
                evidence=f"Same class on {check.agreement:.1%} of {check.images} photos.",
            ),
        ),
        measured=check.agreement,
        threshold=0.995,
    )
