"""Rules that a person writes over trials. Houndsight's own are `houndsight.debugger.rules`."""

from __future__ import annotations

from .req_tensors import RequiredTensors, RequiredTensorsForTrial
from .rule import Rule
from .rule_invoker import invoke_rule

__all__ = ["RequiredTensors", "RequiredTensorsForTrial", "Rule", "invoke_rule"]
