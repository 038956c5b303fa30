"""Findings that need features or predictions: labels, look-alikes, groups, classes, fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from houndsight import quality
from houndsight.data.facts import gather_facts
from houndsight.data.folder import ImageFolder
from houndsight.findings import Finding
from houndsight.stages.context import Context
from houndsight.stages.evaluate import OUT_OF_FOLD, Judged
from houndsight.stages.features import FeatureTable
from houndsight.stages.train import PROBE, Trained
from houndsight.stages.tune import Search
from houndsight.training.metrics import evaluate_logits
from houndsight.tuning.cross_validation import out_of_fold_probabilities
from houndsight.wording import plural

__all__ = ["find"]

Integers = npt.NDArray[np.int64]

FEWEST_IN_A_GROUP = 2
"""A class with fewer training photos cannot be divided into folds."""


def find(
    context: Context,
    photos: ImageFolder,
    table: FeatureTable,
    trained: Trained,
    judged: list[Judged],
    search: Search,
) -> None:
    """Write down what is wrong with labels, photos and model, each with cause and fix."""
    if context.done("explain") is not None:
        return
    with context.stage("explain", "Looking for causes", unit="checks") as outcome:
        told = _Told(photos, table)
        last = judged[-1]
        findings = [
            *_disputed(told, table, judged, search),
            *quality.embedding_duplicates(
                table.features,
                labels=table.labels,
                splits=table.splits.tolist(),
                paths=told.paths(table.ids),
                classes=told.classes,
            ),
            *_failing(context, told, photos, table, last),
            *quality.explain(_result(told, table, trained, last)),
        ]
        context.run.add_findings(findings)
        outcome.text = f"Looked for causes: {plural(len(findings), 'finding')}"


class _Told:
    """Photos and classes as people read them."""

    def __init__(self, photos: ImageFolder, table: FeatureTable) -> None:
        self.classes = [c.name for c in photos.classes]
        self._paths = photos.table["path"]
        ids = photos.table["id"].to_numpy()
        self._place: Integers = np.full(int(ids.max()) + 1, -1, np.int64)
        self._place[ids] = np.arange(len(ids))
        self._row: Integers = np.full(int(ids.max()) + 1, -1, np.int64)
        self._row[table.ids] = np.arange(len(table.ids))

    def places(self, ids: Integers) -> Integers:
        """Rows `(n,)` of the photos' table."""
        return self._place[ids]

    def rows(self, ids: Integers) -> Integers:
        """Rows `(n,)` of the feature table."""
        return self._row[ids]

    def paths(self, ids: Integers) -> list[str]:
        """Paths relative to the photos' folder."""
        return [str(p) for p in self._paths.take(self.places(ids)).to_pylist()]


def _disputed(
    told: _Told, table: FeatureTable, judged: list[Judged], search: Search
) -> list[Finding]:
    """Labels that models which have not seen the photo dispute, in every split."""
    parts = [(j.split, j.ids, j.labels, j.probabilities) for j in judged]
    if judged[-1].split != OUT_OF_FOLD:
        features, labels = table.part("train")
        counts = np.bincount(labels)
        groups = None if table.groups is None else table.groups[table.splits == "train"]
        divisible = groups is None or len(np.unique(groups)) >= FEWEST_IN_A_GROUP
        if divisible and counts[counts > 0].min() >= FEWEST_IN_A_GROUP:
            probabilities = out_of_fold_probabilities(
                features,
                labels,
                len(told.classes),
                search.fitted.parameters,
                groups=groups,
            )
            parts.append(("train", table.ids_of("train"), labels, probabilities))
    ids = np.concatenate([ids for _, ids, _, _ in parts])
    return quality.disputed_labels(
        np.concatenate([p for *_, p in parts]),
        np.concatenate([labels for _, _, labels, _ in parts]),
        paths=told.paths(ids),
        classes=told.classes,
        splits=[split for split, ids, _, _ in parts for _ in ids],
    )


def _failing(
    context: Context, told: _Told, photos: ImageFolder, table: FeatureTable, judged: Judged
) -> list[Finding]:
    """Groups of photos that the model fails: by the person's groups, looks, and shape."""
    places = told.places(judged.ids)
    data = context.config.data
    facts = gather_facts(photos, workers=data.workers, max_pixels=data.max_pixels).take(places)
    given = photos.table["group"].take(places).to_pylist()
    width, height = facts["width"].to_numpy(), facts["height"].to_numpy()
    groups = [
        *quality.category_groups("group", given),
        *quality.slices("brightness", facts["brightness"].to_numpy()),
        *quality.slices("sharpness", facts["sharpness"].to_numpy()),
        *quality.slices("shorter side", np.minimum(width, height), unit="px"),
        *quality.cluster_groups(table.features[told.rows(judged.ids)]),
    ]
    predicted = judged.probabilities.argmax(1)
    return quality.failing_groups(predicted, judged.labels, groups, paths=told.paths(judged.ids))


def _result(told: _Told, table: FeatureTable, trained: Trained, judged: Judged) -> quality.Result:
    """The finished model, with its figures on its own training photos where that is cheap."""
    held_out = judged.split != OUT_OF_FOLD
    features, labels = table.part("train") if held_out else (table.features, table.labels)
    train_metrics: dict[str, float] = {}
    if held_out and trained.model == PROBE:
        logits = trained.logits(features)
        train_metrics = evaluate_logits(logits, labels, temperature=trained.temperature)
    return quality.Result(
        probabilities=judged.probabilities,
        labels=judged.labels,
        classes=told.classes,
        paths=told.paths(judged.ids),
        train_counts=np.bincount(labels, minlength=len(told.classes)).tolist(),
        train_metrics=train_metrics,
    )
