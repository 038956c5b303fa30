"""What a request to train becomes."""

from __future__ import annotations

from typing import Any

import pytest

from houndsight.jobs.request import BadRequestError, training_spec

GROUP = {"InstanceGroupName": "a", "InstanceType": "ml.c5.xlarge"}


def asked(resources: dict[str, Any]) -> tuple[str, int]:
    algorithm = {"TrainingImage": "image", "TrainingInputMode": "File"}
    request = {"AlgorithmSpecification": algorithm, "ResourceConfig": resources}
    spec = training_spec("job", "arn:job", request)
    return spec.instance_type, spec.instance_count


def test_instances_are_counted_also_in_groups() -> None:
    assert asked({"InstanceType": "ml.m5.large", "InstanceCount": 2}) == ("ml.m5.large", 2)
    groups = [{**GROUP, "InstanceCount": 2}, {**GROUP, "InstanceCount": 1}]
    assert asked({"InstanceGroups": groups}) == ("ml.c5.xlarge", 3)
    assert asked({}) == ("ml.m5.xlarge", 1)


@pytest.mark.parametrize(
    "resources", [{"InstanceCount": 5000}, {"InstanceGroups": [{**GROUP, "InstanceCount": 5000}]}]
)
def test_more_instances_than_a_machine_can_be_are_refused(resources: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=r"5,000 instances.* 64 at most"):
        asked(resources)
