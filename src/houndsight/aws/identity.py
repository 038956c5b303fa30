"""STS and IAM, as far as the SDKs ask: who am I, what is my role, may I."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from houndsight.aws.platform import ROLE, Platform
from houndsight.aws.service import AwsError, Call, Service, operation

__all__ = ["IamService", "StsService"]

EPOCH = 1_500_000_000.0
"""When the role was made, as far as anybody asks."""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class StsService(Service):
    """Who asks."""

    name = "sts"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    @operation("GetCallerIdentity")
    def get_caller_identity(self, call: Call) -> Mapping[str, Any]:
        """An assumed role: of another principal the SDK makes no execution role."""
        account = self._platform.account
        session = _session_name(self._platform.keys.name(call.access_key))
        return {
            "UserId": f"AROAHOUNDSIGHT0000000:{session}",
            "Account": account,
            "Arn": f"arn:aws:sts::{account}:assumed-role/{ROLE}/{session}",
        }


class IamService(Service):
    """Every role exists, and may do everything: what is asked for is done by this machine."""

    name = "iam"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    @operation("GetRole")
    def get_role(self, call: Call) -> Mapping[str, Any]:
        """The role by its name."""
        name = str(call.parameters["RoleName"])
        return {
            "Role": {
                "Path": "/",
                "RoleName": name,
                "RoleId": "AROAHOUNDSIGHT0000000",
                "Arn": f"arn:aws:iam::{self._platform.account}:role/{name}",
                "CreateDate": EPOCH,
                "AssumeRolePolicyDocument": quote(json.dumps(TRUST), safe=""),
                "Description": "A role of this machine; whoever has a key may do everything.",
                "MaxSessionDuration": 43_200,
            }
        }

    @operation("SimulatePrincipalPolicy")
    def simulate_principal_policy(self, call: Call) -> Mapping[str, Any]:
        """Allowed, for each action and resource."""
        parameters = call.parameters
        _refuse_foreign(str(parameters["PolicySourceArn"]))
        resources = parameters.get("ResourceArns") or ["*"]
        return {
            "IsTruncated": False,
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": "allowed",
                    "MatchedStatements": [],
                    "MissingContextValues": [],
                }
                for action in parameters["ActionNames"]
                for resource in resources
            ],
        }


def _refuse_foreign(arn: str) -> None:
    if not re.fullmatch(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:(role|user|assumed-role|group)/.+", arn):
        raise AwsError("InvalidInput", f"{arn[:200]!r} is no ARN of a role, user or group.")


def _session_name(name: str) -> str:
    return re.sub(r"[^\w+=,.@-]", "-", name, flags=re.ASCII)[:64] or "session"
