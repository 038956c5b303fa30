"""Actions of rules that a person runs over a trial: they are told in the log."""

from __future__ import annotations

import json
from typing import Any

from ...core.logger import get_logger

__all__ = ["Actions"]


class Actions:
    """What `action_str`, JSON, asks for. Jobs carry out the actions of the rules they ask for."""

    def __init__(self, action_str: str | None = None, rule_name: str = "") -> None:
        self.rule_name = rule_name
        text = (action_str or "").strip()
        found: Any = json.loads(text) if text else []
        self.actions = [found] if isinstance(found, dict) else list(found)

    def invoke(self, message: str = "") -> None:
        """Say what would be done."""
        for action in self.actions:
            get_logger().info(
                "%s asks for the action %s. %s", self.rule_name, action.get("name"), message
            )
