"""Who am I, what is my role, may I: as the SDKs ask."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_the_caller_is_an_assumed_role_named_after_the_key(shared_plane: Any) -> None:
    answer = shared_plane.client("sts").get_caller_identity()
    assert answer["Arn"] == "arn:aws:sts::000000000000:assumed-role/houndsight/default"
    assert answer["Account"] == "000000000000"
    key = shared_plane.platform.keys.add("anna & ben")
    client = shared_plane.client("sts", access_key=key.access_key, secret=key.secret)
    assert client.get_caller_identity()["Arn"].endswith("/houndsight/anna---ben")


def test_the_role_is_found_by_its_name(shared_plane: Any) -> None:
    role = shared_plane.client("iam").get_role(RoleName="houndsight")["Role"]
    assert role["Arn"] == "arn:aws:iam::000000000000:role/houndsight"
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Action"] == "sts:AssumeRole"
    with pytest.raises(ClientError, match="regular expression pattern") as caught:
        shared_plane.client("iam").get_role(RoleName="no spaces")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_every_action_is_allowed(shared_plane: Any) -> None:
    results = shared_plane.client("iam").simulate_principal_policy(
        PolicySourceArn="arn:aws:iam::000000000000:role/houndsight",
        ActionNames=["s3:GetObject", "sagemaker:CreateModel"],
        ResourceArns=["arn:aws:s3:::a", "arn:aws:s3:::b"],
    )["EvaluationResults"]
    assert [r["EvalActionName"] for r in results] == [
        "s3:GetObject", "s3:GetObject", "sagemaker:CreateModel", "sagemaker:CreateModel",
    ]  # fmt: skip
    assert {r["EvalDecision"] for r in results} == {"allowed"}
    with pytest.raises(ClientError, match="is no ARN of a role"):
        shared_plane.client("iam").simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::aws:policy/AdministratorAccess", ActionNames=["a:b"]
        )
