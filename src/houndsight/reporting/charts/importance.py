"""How much each hyperparameter moved the objective.

The share of the objective's variance that a random forest fitted to the trials assigns to each
parameter alone or together with others: functional ANOVA, Hutter, Hoos, Leyton-Brown, "An
Efficient Approach for Assessing Hyperparameter Importance", ICML 2014, as Optuna computes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from houndsight.reporting.charts.bars import bars
from houndsight.reporting.text import percent

__all__ = ["LEAST_TRIALS", "importance_chart", "parameter_importance"]

LEAST_TRIALS = 8
"""Below this many finished trials the shares say nothing."""


def importance_chart(importance: Mapping[str, float]) -> dict[str, Any]:
    """Bars of the shares, the largest first."""
    ranked = sorted(importance.items(), key=lambda item: -item[1])
    return bars([(n, v, percent(v, 0)) for n, v in ranked], title="share of the variance")


def parameter_importance(
    trials: Sequence[Mapping[str, Any]], *, direction: str = "minimize"
) -> dict[str, float]:
    """The share of each varied parameter, summing to 1; empty with too few trials.

    `trials` are finished rows of `trials.jsonl`.
    """
    names = _varied(trials)
    if len(trials) < LEAST_TRIALS or len(names) < 2:
        return {}
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize" if direction == "maximize" else "minimize")
        kinds = {name: _distribution([t["parameters"][name] for t in trials]) for name in names}
        for trial in trials:
            study.add_trial(
                optuna.trial.create_trial(
                    params={n: _plain(trial["parameters"][n], kinds[n]) for n in names},
                    distributions=kinds,
                    value=float(trial["value"]),
                )
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):
        return {}
    finally:
        optuna.logging.set_verbosity(before)
    return {name: float(share) for name, share in found.items() if np.isfinite(share)}


def _varied(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parameters that every trial has and that were not the same in all."""
    if not trials:
        return []
    shared = set.intersection(*(set(t["parameters"]) for t in trials))
    kept = [name for name in trials[0]["parameters"] if name in shared]
    return [n for n in kept if len({str(t["parameters"][n]) for t in trials}) > 1]


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if is_numeric(values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=is_logarithmic(values))
    return CategoricalDistribution(sorted({str(v) for v in values}))


def _plain(value: Any, kind: Any) -> Any:
    return float(value) if hasattr(kind, "low") else str(value)


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether all are finite numbers."""
    return all(
        isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in values
    )


def is_logarithmic(values: Sequence[Any]) -> bool:
    """Whether positive numbers span so much that their logarithm is what was searched."""
    return bool(min(values) > 0 and max(values) / min(values) > 50)
