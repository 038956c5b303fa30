"""What a job asks for, as the clients send it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from job_helper import rule

from houndsight.jobs.debugging.asked import read_debug_rules, read_profiler_rules
from houndsight.jobs.debugging.hook_config import profiling_parameters


def test_a_rule_as_the_sdk_sends_it() -> None:
    (asked,) = read_debug_rules([rule("VanishingGradient", threshold="0.001")])
    assert asked.configuration == asked.rule == "VanishingGradient"
    assert asked.parameters == {"threshold": "0.001"}
    assert asked.refusal == ""


def test_a_rule_twice_with_other_parameters_is_refused_once() -> None:
    again = {**rule("overfit", patience="2"), "RuleConfigurationName": "Again"}
    same = {**rule("Overfit"), "RuleConfigurationName": "Same"}
    found = read_debug_rules([rule("Overfit"), again, same])
    assert [bool(asked.refusal) for asked in found] == [False, True, False]
    assert "asked for already, by Overfit" in found[1].refusal


@pytest.mark.parametrize(
    ("action", "names"),
    [
        ('{"name": "StopTraining", "training_job_prefix": "x"}', ["StopTraining"]),
        ('[{"Name": "email"}, 7, {"name": "sms"}]', ["email", "sms"]),
        ("", []),
        ("{broken", []),
    ],
)
def test_actions(action: str, names: list[str]) -> None:
    (asked,) = read_debug_rules([rule("Overfit", action_json=action)])
    assert [found["name"] for found in asked.actions] == names
    assert asked.parameters == {}


def test_profiler_rules() -> None:
    found = read_profiler_rules([rule("ProfilerReport"), rule("BatchSize"), rule("Speed")])
    assert [bool(asked.refusal) for asked in found] == [False, False, True]
    assert "There is no profiler rule 'Speed'" in found[2].refusal


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ('{"StartStep": 0, "NumSteps": 10, }', {"StartStep": 0, "NumSteps": 10}),
        ("60", "60"),
        ("{broken", "{broken"),
        ("__import__('os').abort()", "__import__('os').abort()"),
    ],
)
def test_profiling_parameters_may_have_a_comma_too_many(value: str, read: Any) -> None:
    found = profiling_parameters({"ProfilingParameters": {"DetailedProfilingConfig": value}})
    assert found == {"DetailedProfilingConfig": read}


def test_what_the_hook_finds(make_job: Any) -> None:
    job = make_job(
        debug_hook={"S3OutputPath": "s3://b/x", "HookParameters": None}, instance_count=2
    )
    environment = job.attendant.environment()
    assert environment["HOUNDSIGHT_JOB_RUN"] == str(job.folder.run)
    for host in ("algo-1", "algo-2"):
        place = job.folder.host(host).ml / "input" / "config"
        config = json.loads((place / "debughookconfig.json").read_text())
        assert config == {"LocalPath": "/opt/ml/output/tensors", "S3OutputPath": "s3://b/x"}
        assert not (place / "profilerconfig.json").exists()
    assert Path(environment["PYTHONPATH"], "smdebug", "__init__.py").exists()


def test_a_job_without_a_hook_is_not_watched(make_job: Any) -> None:
    environment = make_job(profiler={"S3OutputPath": "s3://b"}).attendant.environment()
    assert "HOUNDSIGHT_JOB_WATCH" not in environment
