"""A tuning job from its first trial to its end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from houndsight.jobs.states import Kind
from houndsight.jobs.status import JobState
from houndsight.jobs.tuning.states import TuningState


def test_it_runs_as_many_jobs_as_asked_and_never_more_at_once(
    jobs: Any, tune: Callable[..., Any], good_script: Any
) -> None:
    seen = []

    def script(jobs: Any, name: str) -> None:
        seen.append(len(jobs.running()))
        good_script(jobs, name)

    progress = tune(jobs=7, parallel=3).run(script)
    assert progress.state == TuningState.COMPLETED and len(jobs.created) == 7
    assert max(seen) == 3
    assert progress.counters["Completed"] == 7 and progress.counters["InProgress"] == 0
    assert progress.objective_counters == {"Succeeded": 7, "Pending": 0, "Failed": 0}


def test_children_have_the_names_and_hyperparameters_that_sagemaker_gives_them(
    jobs: Any, tune: Callable[..., Any], good_script: Any
) -> None:
    tuning = tune(jobs=3, parallel=1)
    tuning.run(good_script)
    for number, name in enumerate(jobs.created, 1):
        assert re.fullmatch(rf"tuning-{number:03d}-[0-9a-f]{{8}}", name)
        parameters = jobs.hyperparameters(name)
        assert parameters["_tuning_objective_metric"] == "loss"
        assert parameters["epochs"] == "2" and parameters["sagemaker_program"] == '"hpo.py"'
        assert parameters["batch-size"] in ('"32"', '"64"', '"128"')
        assert 0.001 <= float(parameters["lr"]) <= 0.1
        record = jobs.store.get(Kind.TRAINING_JOB, name)
        assert record.parent == "tuning"
        assert record.request["ResourceConfig"]["InstanceType"] == "ml.m5.large"
        assert jobs.specs[name].parallel_jobs == 1


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Grid", "Hyperband"])
def test_every_strategy_finds_the_better_half(
    jobs: Any, tune: Callable[..., Any], good_script: Any, strategy: str
) -> None:
    progress = tune(jobs=9, parallel=2, Strategy=strategy, RandomSeed=1).run(good_script)
    assert progress.state == TuningState.COMPLETED
    assert jobs.hyperparameters(progress.best)["batch-size"] == '"64"'
    assert progress.best_value == min(
        jobs.training_status(n).metrics["loss"][0] for n in jobs.created
    )


def test_a_grid_ends_when_everything_was_tried(
    jobs: Any, tune: Callable[..., Any], make_request: Any
) -> None:
    values = {"CategoricalParameterRanges": [{"Name": "lr", "Values": ["0.1", "0.2", "0.3"]}]}
    tuning = tune(jobs=50, parallel=2, Strategy="Grid", ParameterRanges=values)

    def script(jobs: Any, name: str) -> None:
        jobs.report(name, float(jobs.hyperparameters(name)["lr"]))
        jobs.end(name)

    progress = tuning.run(script)
    assert progress.reason == "nothing is left to try"
    assert sorted(jobs.hyperparameters(n)["lr"] for n in jobs.created) == ["0.1", "0.2", "0.3"]


def test_the_last_value_counts_and_values_that_are_not_finite_do_not(
    jobs: Any, tune: Callable[..., Any]
) -> None:
    reports = [[0.1, 0.9], [0.5], [float("nan")]]

    def script(jobs: Any, name: str) -> None:
        for value in reports[jobs.created.index(name)]:
            jobs.report(name, value)
        jobs.end(name)

    progress = tune(jobs=3, parallel=1).run(script)
    assert progress.best == jobs.created[1]
    assert progress.objective_counters["Failed"] == 1


def test_a_failed_job_hurts_no_other(jobs: Any, tune: Callable[..., Any], good_script: Any) -> None:
    def script(jobs: Any, name: str) -> None:
        if jobs.created.index(name) == 1:
            jobs.end(name, JobState.FAILED, "AlgorithmError: ExecuteUserScriptError")
        else:
            good_script(jobs, name)

    progress = tune(jobs=4, parallel=2).run(script)
    assert progress.state == TuningState.COMPLETED
    assert progress.counters["NonRetryableError"] == 1 and progress.counters["Completed"] == 3


def test_a_job_that_the_platform_lost_is_tried_again_with_the_same_parameters(
    jobs: Any, tune: Callable[..., Any], make_request: Any, make_definition: Any, good_script: Any
) -> None:
    request = make_request(jobs=2, parallel=1)
    request["TrainingJobDefinition"] = make_definition(RetryStrategy={"MaximumRetryAttempts": 1})

    def script(jobs: Any, name: str) -> None:
        if jobs.created.index(name) == 0:
            jobs.end(name, JobState.FAILED, "InternalServerError: the machine was restarted")
        else:
            good_script(jobs, name)

    progress = tune(request=request).run(script)
    first, again, second = jobs.created
    assert first.startswith("tuning-001") and again.startswith("tuning-001")
    assert jobs.hyperparameters(first) == jobs.hyperparameters(again)
    assert second.startswith("tuning-002")
    assert progress.counters["Completed"] == 2 and progress.counters["NonRetryableError"] == 0


def test_when_all_fail_the_first_reason_is_told_and_it_gives_up_early(
    jobs: Any, tune: Callable[..., Any]
) -> None:
    def script(jobs: Any, name: str) -> None:
        jobs.end(name, JobState.FAILED, "AlgorithmError: ModuleNotFoundError: No module 'x'")

    tuning = tune(jobs=40, parallel=2)
    progress = tuning.run(script)
    assert tuning.status == "Failed" and len(jobs.created) <= 6
    assert "ModuleNotFoundError" in progress.failure_reason
    assert progress.failure_reason.startswith("All training jobs failed")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["test loss: 0.5"], "But for case or spaces it would match: 'test loss: 0.5'"),
        (["epoch 1", "accuracy 0.9"], "ends:\nepoch 1\naccuracy 0.9"),
        ([], "is empty"),
        (["Test Loss: ."], "its group is '.', which is no finite number"),
    ],
)
def test_a_metric_that_is_never_printed_is_explained(
    jobs: Any, tune: Callable[..., Any], lines: list[str], said: str
) -> None:
    def script(jobs: Any, name: str) -> None:
        jobs.lines[name] = lines
        jobs.end(name)

    progress = tune(jobs=2, parallel=1).run(script)
    assert progress.state == TuningState.FAILED
    assert progress.failure_reason.startswith(
        "No objective metrics found after running 2 training jobs."
    )
    assert "Test Loss: ([0-9.]+)" in progress.failure_reason and said in progress.failure_reason
    assert len(progress.failure_reason) <= 1_024


@pytest.mark.timeout(60)
def test_an_expression_that_takes_for_ever_holds_nobody_up(
    jobs: Any, tune: Callable[..., Any], make_request: Callable[..., Any]
) -> None:
    request = make_request(jobs=1, parallel=1)
    algorithm = request["TrainingJobDefinition"]["AlgorithmSpecification"]
    algorithm["MetricDefinitions"][0]["Regex"] = "(x+x+)+y"

    def script(jobs: Any, name: str) -> None:
        jobs.lines[name] = ["x" * 60]
        jobs.end(name)

    progress = tune(request=request).run(script)
    assert progress.state == TuningState.FAILED
    assert "avoid repeats within repeats" in progress.failure_reason


def test_reaching_the_target_stops_the_rest(jobs: Any, tune: Callable[..., Any]) -> None:
    tuning = tune(
        jobs=20, parallel=3, TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.2}
    )

    def script(jobs: Any, name: str) -> None:
        if jobs.created.index(name) == 1:
            jobs.report(name, 0.1)
            jobs.end(name)
        elif jobs.created.index(name) > 2:
            raise AssertionError("nothing may be started any more")

    progress = tuning.run(script)
    assert progress.state == TuningState.COMPLETED and "target" in progress.reason
    assert progress.counters["Stopped"] == 2 and progress.counters["Completed"] == 1


def test_it_ends_when_nothing_gets_better(jobs: Any, tune: Callable[..., Any], losses: Any) -> None:
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    tuning = tune(jobs=20, parallel=1, TuningJobCompletionCriteria=criteria)
    progress = tuning.run(losses([0.5, 0.3, *[0.4] * 18]))
    assert len(jobs.created) == 5 and progress.not_improving == 3


def test_too_long_a_search_is_stopped(
    jobs: Any, tune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = tune(jobs=5, parallel=2, limits={"MaxRuntimeInSeconds": 120})
    tuning.driver.step()
    now = tuning.record.created + 121
    monkeypatch.setattr("houndsight.jobs.tuning.driver.time.time", lambda: now)
    progress = tuning.run(lambda jobs, name: None)
    assert tuning.status == "Stopped" and "MaxRuntimeInSeconds" in progress.reason
    assert len(jobs.created) == 2 and progress.counters["Stopped"] == 2


def test_the_median_rule_stops_a_bad_trial(jobs: Any, tune: Callable[..., Any]) -> None:
    def script(jobs: Any, name: str) -> None:
        loss = 5.0 if jobs.created.index(name) == 5 else 1.0
        jobs.report(name, loss)
        if len(jobs.metrics(name)) == 3:
            jobs.end(name)

    progress = tune(jobs=6, parallel=1, TrainingJobEarlyStoppingType="Auto").run(script)
    assert jobs.training_status(jobs.created[5]).state == JobState.STOPPED
    assert progress.counters["Stopped"] == 1 and progress.counters["Completed"] == 5


def test_without_early_stopping_a_bad_trial_runs_on(jobs: Any, tune: Callable[..., Any]) -> None:
    def script(jobs: Any, name: str) -> None:
        jobs.report(name, 5.0 if jobs.created.index(name) == 5 else 1.0)
        if len(jobs.metrics(name)) == 3:
            jobs.end(name)

    assert tune(jobs=6, parallel=1).run(script).counters["Completed"] == 6


def test_hyperband_stops_trials_at_its_rungs(jobs: Any, tune: Callable[..., Any]) -> None:
    resources = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
    tuning = tune(jobs=12, parallel=1, Strategy="Hyperband", StrategyConfig=resources)

    def script(jobs: Any, name: str) -> None:
        jobs.report(name, 1.0 + jobs.created.index(name))
        if len(jobs.metrics(name)) == 9:
            jobs.end(name)

    progress = tuning.run(script)
    assert progress.counters["Stopped"] > 0 and progress.best == jobs.created[0]


def test_several_estimators_take_turns_and_the_best_of_all_wins(
    jobs: Any, tune: Callable[..., Any], make_definition: Any
) -> None:
    def one(name: str, low: str, high: str) -> dict[str, Any]:
        ranges = [{"Name": "lr", "MinValue": low, "MaxValue": high, "ScalingType": "Linear"}]
        return make_definition(
            DefinitionName=name,
            TuningObjective={"Type": "Maximize", "MetricName": "loss"},
            HyperParameterRanges={"ContinuousParameterRanges": ranges},
        )

    tuning = tune(jobs=6, parallel=2, definitions=[one("small", "0", "1"), one("big", "2", "3")])

    def script(jobs: Any, name: str) -> None:
        jobs.report(name, float(jobs.hyperparameters(name)["lr"]))
        jobs.end(name)

    progress = tuning.run(script)
    marks = [
        jobs.store.get(Kind.TRAINING_JOB, n).request["_Tuning"]["Definition"] for n in jobs.created
    ]
    assert Counter(marks) == {"small": 3, "big": 3}
    assert progress.best_value is not None and progress.best_value >= 2


@pytest.mark.parametrize("kind", ["IdenticalDataAndAlgorithm", "TransferLearning"])
def test_a_warm_start_learns_from_its_parents(
    jobs: Any, tune: Callable[..., Any], make_request: Any, good_script: Any, kind: str
) -> None:
    parent = tune(jobs=12, parallel=2, name="parent").run(good_script)
    request = make_request(jobs=3, parallel=1, RandomSeed=3)
    request["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": kind,
    }

    def worse(jobs: Any, name: str) -> None:
        jobs.report(name, 9.0)
        jobs.end(name)

    warm = tune(name="warm", request=request)
    progress = warm.run(worse)
    assert progress.best.startswith("warm-")
    assert progress.overall_best == (parent.best if kind.startswith("Identical") else "")
    earlier = warm.driver._earlier[""]
    assert len(earlier) == 12 and all(record.value is not None for record in earlier)
    cold = tune(name="cold", jobs=3, parallel=1, RandomSeed=3)
    cold.run(worse)
    tried = [
        [jobs.hyperparameters(n)["lr"] for n in jobs.created if n.startswith(which)]
        for which in ("warm", "cold")
    ]
    assert tried[0] != tried[1]


def test_a_seed_makes_the_search_repeat_itself(
    jobs: Any, tune: Callable[..., Any], good_script: Any
) -> None:
    for name in ("first", "second"):
        tune(name=name, jobs=4, parallel=1, RandomSeed=7).run(good_script)
    tried = [
        [{**jobs.hyperparameters(n)} for n in jobs.created if n.startswith(which)]
        for which in ("first", "second")
    ]
    assert tried[0] == tried[1]
