"""`rule-output/<RuleConfigurationName>/<Rule>.json`: what each of the debugger's rules says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from houndsight.files import write_atomic
from houndsight.jobs.debugging.asked import Asked
from houndsight.jobs.debugging.places import Places
from houndsight.jobs.debugging.verdicts import Verdicts
from houndsight.jobs.status import RuleStatus

__all__ = ["write_rule_output"]


def write_rule_output(
    places: Places,
    rules: Sequence[Asked],
    statuses: Mapping[str, RuleStatus],
    verdicts: Verdicts,
) -> None:
    """Write one file a rule, with SageMaker's fields and the findings as they are."""
    for asked in rules:
        found = verdicts.findings_of(asked)
        status = statuses[asked.configuration]
        record = {
            "RuleTriggered": int(status.status == "IssuesFound"),
            "Violations": sum(finding.count for finding in found),
            "Details": {"findings": [finding.to_json() for finding in found]},
            "Datapoints": len(found),
            "RuleParameters": "\n".join(f"{k}:{v}" for k, v in asked.parameters.items()),
            "RuleEvaluationStatus": status.status,
            "StatusDetails": status.details,
        }
        place = places.rule_output / asked.configuration
        place.mkdir(parents=True, exist_ok=True)
        write_atomic(place / f"{asked.rule}.json", json.dumps(record, indent=1).encode())
