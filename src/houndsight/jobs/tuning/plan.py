"""What a tuning job is asked to do: its request, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from houndsight.jobs.request import BadRequestError, check_metric_definitions
from houndsight.jobs.tuning.ranges import space_of
from houndsight.tuning.history import Direction
from houndsight.tuning.parameters import Space

__all__ = ["OBJECTIVE_KEY", "Definition", "Plan", "plan_of"]

OBJECTIVE_KEY = "_tuning_objective_metric"
STRATEGIES = ("Bayesian", "Random", "Grid", "Hyperband")
DEFAULT_JOBS = 20
"""Training jobs of a tuning job that sets no limit at all."""
LIMITLESS_JOBS = 750
"""Training jobs of a tuning job that is limited by time or by its result (SageMaker's quota)."""
CONVERGENCE_PATIENCE = 15
"""`CompleteOnConvergence`: so many trials without a better one count as converged."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One training job definition: a script with its search space."""

    name: str
    """Empty when the tuning job has only one."""
    request: Mapping[str, Any]
    objective: str
    """The metric's name."""
    regex: str
    direction: Direction
    space: Space
    static: Mapping[str, str]
    retries: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A tuning job's request as the driver needs it."""

    name: str
    arn: str
    region: str
    created: float
    definitions: tuple[Definition, ...]
    strategy: str
    """`Bayesian`, `Random`, `Grid` or `Hyperband`."""
    resources: tuple[int, int | None]
    """Hyperband's least and most: how many values of the objective a trial reports."""
    early_stopping: bool
    max_jobs: int
    max_parallel: int
    max_runtime_s: int | None
    target: float | None
    patience: int | None
    """End after so many trials without a better one."""
    converges: bool
    parents: tuple[str, ...]
    identical: bool
    """Whether the warm start is `IdenticalDataAndAlgorithm`: a parent's best may be the best."""
    seed: int
    tags: Mapping[str, str]

    def definition(self, name: str) -> Definition:
        """The definition of that name."""
        return next((d for d in self.definitions if d.name == name), self.definitions[0])

    @property
    def watches_trials(self) -> bool:
        """Whether running trials may be stopped by what they report."""
        return self.early_stopping or self.strategy == "Hyperband"


def plan_of(
    name: str,
    arn: str,
    request: Mapping[str, Any],
    *,
    created: float,
    region: str = "us-east-1",
) -> Plan:
    """Read a request of `CreateHyperParameterTuningJob`.

    Raises:
        BadRequestError: something in it cannot be.
    """
    config = request["HyperParameterTuningJobConfig"]
    seed = config.get("RandomSeed")
    return Plan(
        name=name,
        arn=arn,
        region=region,
        created=created,
        definitions=_definitions(request, config),
        strategy=_strategy(config),
        resources=_resources(config),
        early_stopping=config.get("TrainingJobEarlyStoppingType") == "Auto",
        seed=_seed(arn, created) if seed is None else int(seed) % 2**32,
        tags={row["Key"]: row["Value"] for row in request.get("Tags") or ()},
        **_limits(config),
        **_warm_start(request.get("WarmStartConfig") or {}),
    )


def _limits(config: Mapping[str, Any]) -> dict[str, Any]:
    """How long and how far it goes."""
    limits = config.get("ResourceLimits") or {}
    criteria = config.get("TuningJobCompletionCriteria") or {}
    stalled = (criteria.get("BestObjectiveNotImproving") or {}).get(
        "MaxNumberOfTrainingJobsNotImproving"
    )
    converges = (criteria.get("ConvergenceDetected") or {}).get("CompleteOnConvergence")
    return {
        "max_jobs": _max_jobs(limits, criteria, str(config.get("Strategy"))),
        "max_parallel": max(1, int(limits.get("MaxParallelTrainingJobs") or 1)),
        "max_runtime_s": limits.get("MaxRuntimeInSeconds"),
        "target": criteria.get("TargetObjectiveMetricValue"),
        "patience": None if stalled is None else max(1, int(stalled)),
        "converges": converges == "Enabled",
    }


def _warm_start(warm: Mapping[str, Any]) -> dict[str, Any]:
    parents = warm.get("ParentHyperParameterTuningJobs") or ()
    return {
        "parents": tuple(str(row["HyperParameterTuningJobName"]) for row in parents),
        "identical": warm.get("WarmStartType") == "IdenticalDataAndAlgorithm",
    }


def _definitions(request: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Definition, ...]:
    one, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
    if (one is None) == (not several):
        raise BadRequestError(
            "Give either TrainingJobDefinition or TrainingJobDefinitions: a tuning job needs one"
            " of the two."
        )
    if one is not None:
        objective = config.get("HyperParameterTuningJobObjective") or one.get("TuningObjective")
        ranges = config.get("ParameterRanges") or one.get("HyperParameterRanges") or {}
        return (_definition(one, objective, ranges, one.get("DefinitionName") or ""),)
    assert several is not None
    definitions = tuple(_numbered(row) for row in several)
    names = [definition.name for definition in definitions]
    if len(set(names)) < len(names) or "" in names:
        raise BadRequestError(
            "TrainingJobDefinitions: each needs a DefinitionName of its own; they are"
            f" {', '.join(repr(name) for name in names)}."
        )
    if len({definition.direction for definition in definitions}) > 1:
        raise BadRequestError(
            "TrainingJobDefinitions: the Type of every TuningObjective must be the same, all"
            " Maximize or all Minimize: their best training jobs are compared."
        )
    return definitions


def _numbered(row: Mapping[str, Any]) -> Definition:
    ranges = row.get("HyperParameterRanges") or {}
    return _definition(row, row.get("TuningObjective"), ranges, row.get("DefinitionName") or "")


def _definition(
    row: Mapping[str, Any],
    objective: Mapping[str, Any] | None,
    ranges: Mapping[str, Any],
    name: str,
) -> Definition:
    where = f"TrainingJobDefinition {name}".strip()
    if not objective:
        raise BadRequestError(f"{where}: there is no objective: say which metric to optimise.")
    space = space_of(ranges, "ParameterRanges")
    if not space:
        raise BadRequestError(
            f"{where}: there is no hyperparameter to tune; give ParameterRanges at least one range."
        )
    static = dict(row.get("StaticHyperParameters") or {})
    both = sorted(set(space) & set(static))
    if both:
        raise BadRequestError(
            f"{where}: {', '.join(both)} cannot be both static and tuned; leave one of the two out."
        )
    return Definition(
        name=name,
        request=row,
        objective=str(objective["MetricName"]),
        regex=_regex_of(row, str(objective["MetricName"]), where),
        direction=Direction(str(objective["Type"]).lower()),
        space=space,
        static=static,
        retries=int((row.get("RetryStrategy") or {}).get("MaximumRetryAttempts") or 0),
    )


def _regex_of(row: Mapping[str, Any], metric: str, where: str) -> str:
    """The regular expression of the objective among the definition's metrics."""
    algorithm = row.get("AlgorithmSpecification") or {}
    metrics = check_metric_definitions(algorithm.get("MetricDefinitions") or (), where=where)
    for known in metrics:
        if known.name == metric:
            return known.regex
    raise BadRequestError(
        "A metric is required for this hyperparameter tuning job objective. Provide a metric in"
        f" the metric definitions: {where} defines"
        f" {', '.join(repr(known.name) for known in metrics) or 'none'}, and the objective is"
        f" {metric!r}."
    )


def _strategy(config: Mapping[str, Any]) -> str:
    name = str(config.get("Strategy") or "Bayesian")
    if name not in STRATEGIES:
        raise BadRequestError(
            f"HyperParameterTuningJobConfig: there is no strategy {name!r}; there are"
            f" {', '.join(STRATEGIES)}."
        )
    return name


def _resources(config: Mapping[str, Any]) -> tuple[int, int | None]:
    given = (config.get("StrategyConfig") or {}).get("HyperbandStrategyConfig") or {}
    least, most = int(given.get("MinResource") or 1), given.get("MaxResource")
    if most is not None and int(most) < least:
        raise BadRequestError(
            f"HyperbandStrategyConfig: MaxResource is {most}; it must be at least MinResource,"
            f" {least}."
        )
    return least, None if most is None else int(most)


def _max_jobs(limits: Mapping[str, Any], criteria: Mapping[str, Any], strategy: str) -> int:
    given = limits.get("MaxNumberOfTrainingJobs")
    if given is not None:
        return max(1, int(given))
    limited = criteria or limits.get("MaxRuntimeInSeconds") or strategy == "Grid"
    return LIMITLESS_JOBS if limited else DEFAULT_JOBS


def _seed(arn: str, created: float) -> int:
    return int.from_bytes(hashlib.sha256(f"{arn} {created}".encode()).digest()[:4], "big")
