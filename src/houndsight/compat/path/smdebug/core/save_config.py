"""At which steps tensors are saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..exceptions import SMDebugTypeError, SMDebugValueError
from .modes import ModeKeys
from .utils import step_in_range

__all__ = ["SaveConfig", "SaveConfigMode"]

DEFAULT_SAVE_CONFIG_INTERVAL = 500
DEFAULT_SAVE_CONFIG_START_STEP = 0


class SaveConfigMode:
    """Every `save_interval` steps from `start_step` until before `end_step`, and at `save_steps`.

    Raises:
        SMDebugValueError: a value is no number, or cannot be.
    """

    def __init__(
        self,
        save_interval: int | str | None = None,
        start_step: int | str | None = None,
        end_step: int | str | None = None,
        save_steps: list[int] | None = None,
    ) -> None:
        self.save_interval = _number("save_interval", save_interval, DEFAULT_SAVE_CONFIG_INTERVAL)
        self.start_step = _number("start_step", start_step, DEFAULT_SAVE_CONFIG_START_STEP)
        self.end_step = None if end_step is None else _number("end_step", end_step, 0)
        self.save_steps = [_number("save_steps", step, 0) for step in save_steps or ()]
        if self.save_interval < 0:
            raise SMDebugValueError(f"save_interval={save_interval} must not be negative")

    def should_save_step(self, step_num: int) -> bool:
        """Whether the step is saved; an interval of 0 saves none but `save_steps`."""
        if step_num in self.save_steps:
            return True
        inside = step_in_range((self.start_step, self.end_step), step_num)
        return bool(self.save_interval) and inside and step_num % self.save_interval == 0

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "save_interval": self.save_interval,
            "save_steps": self.save_steps,
            "start_step": self.start_step,
            "end_step": self.end_step,
        }

    @classmethod
    def from_dict(
        cls, params: Mapping[str, Any] | None, default_values: Mapping[str, Any] | None = None
    ) -> SaveConfigMode | None:
        """From plain values; None gives None."""
        if params is None:
            return None
        if not isinstance(params, Mapping):
            raise SMDebugTypeError(f"params={params} is not a dict.")
        known = {**(default_values or {}), **params}
        names = ("save_interval", "start_step", "end_step", "save_steps")
        return cls(**{name: known.get(name) for name in names})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SaveConfigMode):
            return NotImplemented
        return self.to_json_dict() == other.to_json_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"<class SaveConfig: save_interval={self.save_interval}, save_steps={self.save_steps},"
            f" start_step={self.start_step}, end_step={self.end_step}>"
        )


class SaveConfig:
    """A `SaveConfigMode` for each mode.

    Raises:
        SMDebugValueError: `mode_save_configs` maps something else.
    """

    def __init__(
        self,
        mode_save_configs: Mapping[ModeKeys, SaveConfigMode | None] | None = None,
        save_interval: int | None = None,
        start_step: int | None = None,
        end_step: int | None = None,
        save_steps: list[int] | None = None,
    ) -> None:
        if mode_save_configs is None:
            one = SaveConfigMode(save_interval, start_step, end_step, save_steps)
            mode_save_configs = dict.fromkeys(ModeKeys, one)
        for mode, config in mode_save_configs.items():
            if not isinstance(mode, ModeKeys) or not isinstance(config, SaveConfigMode | None):
                raise SMDebugValueError(
                    f"Each key,value in mode_save_configs={mode_save_configs} must be of type "
                    "ModeKey,SaveConfigMode"
                )
        self.mode_save_configs = {mode: mode_save_configs.get(mode) for mode in ModeKeys}

    def get_save_config(self, mode: ModeKeys) -> SaveConfigMode:
        """That of a mode; SageMaker's default where none is set."""
        return self.mode_save_configs[mode] or SaveConfigMode()

    def set_save_config(self, mode: ModeKeys, save_config_mode: SaveConfigMode) -> None:
        """Set that of a mode."""
        if not isinstance(save_config_mode, SaveConfigMode):
            raise SMDebugValueError(
                f"save_config_mode={save_config_mode} must be type SaveConfigMode"
            )
        self.mode_save_configs[mode] = save_config_mode

    def should_save_step(self, mode: ModeKeys, step_num: int) -> bool:
        """Whether the step of that mode is saved."""
        return self.get_save_config(mode).should_save_step(step_num)

    def merge_default_save_config(self, default_save_config: SaveConfig) -> None:
        """Take from another one what is set for no mode here."""
        for mode in ModeKeys:
            if self.mode_save_configs[mode] is None:
                self.mode_save_configs[mode] = default_save_config.get_save_config(mode)

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {m.name: c.to_json_dict() if c else None for m, c in self.mode_save_configs.items()}

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_json_dict())

    @classmethod
    def from_dict(
        cls, params: Mapping[Any, Any] | None, default_values: Mapping[str, Any] | None = None
    ) -> SaveConfig | None:
        """From modes, or their names, with `SaveConfigMode`s or plain values."""
        if params is None:
            return None
        found: dict[ModeKeys, SaveConfigMode | None] = {}
        for key, value in params.items():
            mode = ModeKeys[key] if isinstance(key, str) else key
            plain = value is None or isinstance(value, Mapping)
            found[mode] = SaveConfigMode.from_dict(value, default_values) if plain else value
        return cls(mode_save_configs=found)

    @classmethod
    def from_json(cls, json_str: str) -> SaveConfig | None:
        """From text."""
        return cls.from_dict(json.loads(json_str))

    @classmethod
    def parse(cls, obj: Any) -> SaveConfig:
        """From whatever a hook may be given."""
        if isinstance(obj, SaveConfig):
            return obj
        if obj is None:
            return cls()
        if isinstance(obj, SaveConfigMode):
            return cls(mode_save_configs=dict.fromkeys(ModeKeys, obj))
        found = cls.from_dict(obj) if isinstance(obj, Mapping) else None
        if found is None:
            raise SMDebugTypeError(f"obj={obj} cannot be parsed into a SaveConfig object")
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SaveConfig):
            return NotImplemented
        return self.mode_save_configs == other.mode_save_configs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<class SaveConfig: {self.mode_save_configs}>"


def _number(name: str, value: Any, default: int) -> int:
    if value is None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise SMDebugValueError(f"{name}={value!r} must be a whole number") from error
