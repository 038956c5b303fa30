"""The hook's configuration as a training job finds it: `debughookconfig.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..exceptions import SMDebugValueError
from .collection_manager import CollectionManager
from .config_constants import (
    CONFIG_COLLECTION_CONFIG_KEY,
    CONFIG_COLLECTION_NAME_KEY,
    CONFIG_COLLECTION_PARAMS_KEY,
    CONFIG_FILE_PATH_ENV_STR,
    CONFIG_HOOK_PARAMS_KEY,
    CONFIG_OUTDIR_KEY,
    DEFAULT_CONFIG_FILE_PATH,
    DEFAULT_SAGEMAKER_OUTDIR,
)
from .modes import ModeKeys
from .reduction_config import ReductionConfig
from .save_config import SaveConfig, SaveConfigMode
from .utils import parse_bool, split

__all__ = ["HookConfig", "configuration_path", "read_hook_config"]

JOB_CONFIG = "HOUNDSIGHT_JOB_HOOK"
"""Where the file is for a job that has no `/opt/ml` of its own."""


@dataclass
class HookConfig:
    """What a hook is made with."""

    out_dir: str = DEFAULT_SAGEMAKER_OUTDIR
    save_config: SaveConfig | None = None
    reduction_config: ReductionConfig | None = None
    include_regex: list[str] | None = None
    include_collections: list[str] | None = None
    save_all: bool = False
    include_workers: str = "one"
    dry_run: bool = False
    export_tensorboard: bool = False
    tensorboard_dir: str | None = None
    collections: list[Mapping[str, Any]] = field(default_factory=list)
    """`CollectionConfigurations` as they stand in the file."""
    save_modes: dict[ModeKeys, dict[str, Any]] = field(default_factory=dict)
    """What the file says of when to save, by mode; collections begin from it."""

    def configure(self, manager: CollectionManager) -> None:
        """Set up the collections that the file names."""
        for config in self.collections:
            collection = manager.get(config[CONFIG_COLLECTION_NAME_KEY])
            parameters = _mapping(config.get(CONFIG_COLLECTION_PARAMS_KEY))
            modes = _save_modes(parameters)
            collection.save_config = SaveConfig(
                mode_save_configs={
                    mode: SaveConfigMode.from_dict({**self.save_modes.get(mode, {}), **modes[mode]})
                    for mode in ModeKeys
                }
            )
            if "reductions" in parameters:
                collection.reduction_config = ReductionConfig.from_dict(parameters)
            if "include_regex" in parameters:
                collection.include(split(parameters["include_regex"]))
            if "save_histogram" in parameters:
                collection.save_histogram = parse_bool(parameters["save_histogram"], True)


def configuration_path(json_file_path: str | None = None) -> str:
    """Where the configuration is looked for."""
    if json_file_path:
        return json_file_path
    set_path = os.environ.get(CONFIG_FILE_PATH_ENV_STR)
    if set_path:
        return set_path
    if not Path(DEFAULT_CONFIG_FILE_PATH).exists() and os.environ.get(JOB_CONFIG):
        return os.environ[JOB_CONFIG]
    return DEFAULT_CONFIG_FILE_PATH


def read_hook_config(path: str) -> HookConfig:
    """The configuration in a file.

    Raises:
        FileNotFoundError: there is none.
        SMDebugValueError: it is no configuration, or says what cannot be.
    """
    try:
        record = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise SMDebugValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(record, dict):
        raise SMDebugValueError(f"{path} holds no object.")
    parameters = _mapping(record.get(CONFIG_HOOK_PARAMS_KEY))
    collections = record.get(CONFIG_COLLECTION_CONFIG_KEY) or []
    for config in collections:
        if CONFIG_COLLECTION_NAME_KEY not in config:
            raise SMDebugValueError(f"Must specify '{CONFIG_COLLECTION_NAME_KEY}' in {path}.")
    modes = _save_modes(parameters)
    regex = parameters.get("include_regex")
    return HookConfig(
        out_dir=record.get(CONFIG_OUTDIR_KEY) or DEFAULT_SAGEMAKER_OUTDIR,
        save_config=SaveConfig.from_dict(modes),
        reduction_config=(
            ReductionConfig.from_dict(parameters) if "reductions" in parameters else None
        ),
        include_regex=split(regex) if regex else None,
        include_collections=[c[CONFIG_COLLECTION_NAME_KEY] for c in collections] or None,
        save_all=parse_bool(parameters.get("save_all")),
        include_workers=str(parameters.get("include_workers", "one")),
        dry_run=parse_bool(parameters.get("dry_run")),
        export_tensorboard=parse_bool(parameters.get("export_tensorboard")),
        tensorboard_dir=parameters.get("tensorboard_dir"),
        collections=list(collections),
        save_modes=modes,
    )


def _save_modes(parameters: Mapping[str, Any]) -> dict[ModeKeys, dict[str, Any]]:
    """When to save, by mode: `eval.save_interval` says more than `save_interval`."""
    plain = _save_values(parameters, "")
    return {m: {**plain, **_save_values(parameters, f"{m.name.lower()}.")} for m in ModeKeys}


def _save_values(parameters: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    names = ("save_interval", "start_step", "end_step")
    found = {n: parameters[prefix + n] for n in names if prefix + n in parameters}
    if f"{prefix}save_steps" in parameters:
        found["save_steps"] = split(parameters[f"{prefix}save_steps"])
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
