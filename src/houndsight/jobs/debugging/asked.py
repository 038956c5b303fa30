"""The rules that a job asks for, in SageMaker's words, as Houndsight's rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PROFILER_RULES", "Asked", "read_debug_rules", "read_profiler_rules"]

NOT_PARAMETERS = ("rule_to_invoke", "action_json", "scan_interval_us", "opt_out_telemetry")
PROFILER_RULES = (
    "StepOutlier",
    "OverallSystemUsage",
    "OverallFrameworkMetrics",
    "MaxInitializationTime",
    "LowGPUUtilization",
    "LoadBalancing",
    "IOBottleneck",
    "GPUMemoryIncrease",
    "Dataloader",
    "CPUBottleneck",
    "BatchSize",
)
"""Those that ProfilerReport consists of, as their JSON files are named."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One rule configuration."""

    configuration: str
    """`RuleConfigurationName`: what the status is reported under."""
    rule: str
    """`rule_to_invoke`."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""
    """Why it cannot be judged, as a sentence; empty when it can."""
    actions: tuple[Mapping[str, Any], ...] = ()
    s3_uri: str = ""
    """`S3OutputPath` of the configuration."""


def read_debug_rules(configurations: Iterable[Mapping[str, Any]]) -> list[Asked]:
    """`DebugRuleConfigurations`; one that cannot be judged says why.

    Whether there is such a rule, and with such parameters, only the judge's process can say.
    """
    found: list[Asked] = []
    for configuration in configurations:
        asked = _read(configuration)
        refusal = _custom(configuration, asked) or _twice(asked, found)
        found.append(_refused(asked, refusal) if refusal else asked)
    return found


def read_profiler_rules(configurations: Iterable[Mapping[str, Any]]) -> list[Asked]:
    """`ProfilerRuleConfigurations`."""
    found = []
    for configuration in configurations:
        asked = _read(configuration)
        refusal = _custom(configuration, asked)
        if not refusal and asked.rule not in (*PROFILER_RULES, "ProfilerReport"):
            known = ", ".join(("ProfilerReport", *PROFILER_RULES))
            refusal = f"There is no profiler rule {asked.rule!r}; there are {known}."
        found.append(_refused(asked, refusal) if refusal else asked)
    return found


def _read(configuration: Mapping[str, Any]) -> Asked:
    name = str(configuration.get("RuleConfigurationName") or "")
    given = {str(k): str(v) for k, v in (configuration.get("RuleParameters") or {}).items()}
    return Asked(
        configuration=name,
        rule=given.get("rule_to_invoke") or name,
        parameters={k: v for k, v in given.items() if k not in NOT_PARAMETERS},
        actions=_actions(given.get("action_json", "")),
        s3_uri=str(configuration.get("S3OutputPath") or ""),
    )


def _refused(asked: Asked, refusal: str) -> Asked:
    return Asked(
        configuration=asked.configuration, rule=asked.rule, refusal=refusal, s3_uri=asked.s3_uri
    )


def _custom(configuration: Mapping[str, Any], asked: Asked) -> str:
    given = configuration.get("RuleParameters") or {}
    image = str(configuration.get("RuleEvaluatorImage") or "")
    if "source_s3_uri" not in given and ("rule_to_invoke" in given or not image):
        return ""
    return (
        f"{asked.configuration} is a rule of your own in the image {image or 'of a custom rule'}, "
        "and Houndsight runs no images. Run it over the job's tensors: "
        "smdebug.rules.invoke_rule(YourRule(create_trial(estimator."
        "latest_job_debugger_artifacts_path())))."
    )


def _twice(asked: Asked, before: Iterable[Asked]) -> str:
    for other in before:
        alike = plain(other.rule) == plain(asked.rule) and not other.refusal
        if alike and dict(other.parameters) != dict(asked.parameters):
            return (
                f"{asked.rule} is asked for already, by {other.configuration} with other "
                "parameters; a job judges a rule once. Leave one of the two out."
            )
    return ""


def plain(name: str) -> str:
    """A rule's name whatever its spelling."""
    return name.replace("_", "").lower()


def _actions(text: str) -> tuple[Mapping[str, Any], ...]:
    if not text.strip():
        return ()
    try:
        found = json.loads(text)
    except ValueError:
        return ()
    listed = found if isinstance(found, list) else [found]
    return tuple({str(k).lower(): v for k, v in a.items()} for a in listed if isinstance(a, dict))
