"""Stage 5: evaluate once on the test photos."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from houndsight.data.folder import ImageFolder
from houndsight.stages.boundary import evaluation_batches
from houndsight.stages.context import Context
from houndsight.stages.features import FeatureTable
from houndsight.stages.plan import HELD_OUT
from houndsight.stages.train import PROBE, Trained
from houndsight.stages.tune import Search
from houndsight.training.evaluate import evaluate as run_over
from houndsight.training.metrics import (
    evaluate_probabilities,
    reliability_bins,
    softmax,
    wilson_interval,
)

__all__ = ["OUT_OF_FOLD", "Judged", "evaluate"]

OUT_OF_FOLD = "out-of-fold"


@dataclass(frozen=True)
class Judged:
    """What the classifier says about photos it was not trained on."""

    split: str
    """`valid`, `test`, or `out-of-fold` when every photo was held out in turn."""
    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    """`(n, classes)` float32, calibrated"""


def evaluate(
    context: Context,
    photos: ImageFolder,
    table: FeatureTable,
    trained: Trained,
    search: Search,
) -> list[Judged]:
    """The calibrated probabilities of the validation and test photos, the test last.

    Under the k-fold protocol they are out-of-fold probabilities of all photos. Figures,
    reliability and predictions are written to the run.
    """
    with context.stage("evaluate", "Evaluating on the test photos") as outcome:
        if search.nested is not None:
            nested = search.nested
            judged = [Judged(OUT_OF_FOLD, table.ids, table.labels, nested.probabilities)]
            metrics: dict[str, Any] = {"test": nested.to_json()}
            protocol = nested.protocol
        else:
            judged = [_judge(context, photos, table, trained, name) for name in ("valid", "test")]
            metrics = {j.split: _figures(j) for j in judged}
            protocol = HELD_OUT
        last = judged[-1]
        context.run.set_results(
            metrics=metrics,
            protocol=protocol,
            temperature=trained.temperature,
            reliability={
                "bins": [asdict(b) for b in reliability_bins(last.probabilities, last.labels)]
            },
        )
        _write_predictions(context, photos, judged)
        test = metrics["test"]
        outcome.text = f"Evaluated {len(last.ids):,} photos: top-1 {test['top1']:.1%}"
    return judged


def _judge(
    context: Context, photos: ImageFolder, table: FeatureTable, trained: Trained, split: str
) -> Judged:
    """Probabilities of one split; a probe reads cached features, a fine-tuned net activations."""
    if trained.model == PROBE:
        features, labels = table.part(split)
        logits, ids = trained.logits(features), table.ids_of(split)
    else:
        backbone = trained.classifier.backbone
        batches = evaluation_batches(context, photos, backbone, split, stage="evaluate")
        said = run_over(trained.classifier, batches)
        logits, labels, ids = said.logits, said.labels, said.ids
    probabilities = softmax(logits, trained.temperature).astype(np.float32)
    return Judged(split, ids, labels, probabilities)


def _figures(judged: Judged) -> dict[str, Any]:
    figures: dict[str, Any] = dict(evaluate_probabilities(judged.probabilities, judged.labels))
    interval = wilson_interval(figures["top1"], len(judged.ids))
    return figures | {"top1_interval": list(interval)}


def _write_predictions(context: Context, photos: ImageFolder, judged: list[Judged]) -> None:
    """`predictions.parquet`, a row a photo, written aside and renamed."""
    paths = dict(
        zip(
            photos.table["id"].to_pylist(),
            photos.table["path"].to_pylist(),
            strict=True,
        )
    )
    path = context.run.predictions
    aside = path.with_name(f".{path.name}")
    with pq.ParquetWriter(aside, _schema(judged[0].probabilities.shape[1])) as writer:
        for part in judged:
            writer.write_table(_rows(part, paths, writer.schema))
    aside.replace(path)


def _schema(classes: int) -> Any:
    return pa.schema(
        {
            "id": pa.int64(),
            "path": pa.string(),
            "split": pa.string(),
            "class_index": pa.int32(),
            "predicted": pa.int32(),
            "confidence": pa.float32(),
            "probabilities": pa.list_(pa.float32(), classes),
        }
    )


def _rows(judged: Judged, paths: dict[int, str], schema: Any) -> Any:
    flat = pa.array(np.ascontiguousarray(judged.probabilities, np.float32).ravel())
    return pa.table(
        {
            "id": judged.ids,
            "path": [paths[int(i)] for i in judged.ids],
            "split": [judged.split] * len(judged.ids),
            "class_index": judged.labels.astype(np.int32),
            "predicted": judged.probabilities.argmax(1).astype(np.int32),
            "confidence": judged.probabilities.max(1),
            "probabilities": pa.FixedSizeListArray.from_arrays(flat, judged.probabilities.shape[1]),
        },
        schema=schema,
    )
