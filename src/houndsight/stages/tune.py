"""Stage 3, second half: search the head's hyperparameters on the cached features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from houndsight.stages.context import Context
from houndsight.stages.features import FeatureTable
from houndsight.stages.plan import K_FOLD, Plan
from houndsight.training.head import FittedHead
from houndsight.tuning.heads import search_heads
from houndsight.tuning.nested import NestedResult, nested_search

__all__ = ["Search", "search"]


@dataclass(frozen=True)
class Search:
    """The best head, and with few photos how the figures were obtained."""

    fitted: FittedHead
    nested: NestedResult | None = None
    """Only under the k-fold protocol: out-of-fold probabilities and figures."""

    @property
    def temperature(self) -> float:
        """What the head's logits are divided by."""
        if self.nested is not None:
            return self.nested.chosen.temperature
        return self.fitted.temperature


def search(context: Context, table: FeatureTable, plan: Plan) -> Search:
    """The best head by validation, or by nested cross-validation with few photos.

    Trials and folds that a killed run had finished are not repeated.
    """
    text = f"Tuning the head, {plan.trials} trials"
    unit = "folds" if plan.protocol == K_FOLD else "trials"
    with context.stage("tune", text, total=plan.trials, unit=unit) as outcome:
        found = (_nested if plan.protocol == K_FOLD else _held_out)(context, table, plan)
        parameters = found.fitted.parameters
        context.run.set_results(parameters=parameters.to_json())
        outcome.text = (
            f"Tuned the head: weight decay {parameters.weight_decay:.2g}, "
            f"label smoothing {parameters.label_smoothing:.2g}"
            + (f", balance by {parameters.balance}" if parameters.balance != "none" else "")
        )
    return found


def _held_out(context: Context, table: FeatureTable, plan: Plan) -> Search:
    features, labels = table.part("train")
    found = search_heads(
        features,
        labels,
        _classes(context),
        valid=table.part("valid"),
        settings=replace(context.config.tuning, trials=plan.trials),
        log=context.run.trials,
        listener=context.within("tune"),
        stage="tune",
    )
    return Search(found.fitted)


def _nested(context: Context, table: FeatureTable, plan: Plan) -> Search:
    nested = nested_search(
        np.ascontiguousarray(table.features),
        table.labels,
        _classes(context),
        groups=table.groups,
        settings=replace(context.config.tuning, trials=plan.trials),
        repeats=plan.repeats,
        log=context.run.trials,
        keep=context.run.checkpoints / "folds",
        listener=context.within("tune"),
        stage="tune",
    )
    return Search(nested.fitted, nested)


def _classes(context: Context) -> int:
    return len(context.run.results["classes"])
