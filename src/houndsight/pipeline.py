"""The main job: a folder of photos becomes a tuned, explained, saved classifier."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.config import Settings, require_cache_home
from houndsight.data.settings import DataSettings
from houndsight.debugger.settings import DebuggerSettings
from houndsight.errors import RunError, SettingError
from houndsight.events import Emitter, Listener
from houndsight.models.settings import ModelSettings
from houndsight.runs import Run, RunStatus
from houndsight.stages.settings import RunSettings, run_settings
from houndsight.training.recipe import Recipe
from houndsight.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from houndsight.data.folder import ImageFolder
    from houndsight.models.backbone import Backbone
    from houndsight.stages.context import Context

__all__ = ["SECTIONS", "RunConfig", "located", "open_or_create", "run", "run_exists"]

SECTIONS: tuple[type[Settings], ...] = (
    RunSettings,
    DataSettings,
    ModelSettings,
    TuningSettings,
    Recipe,
    DebuggerSettings,
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run was asked to do: where the photos are and each package's settings."""

    source: str
    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    training: Recipe = field(default_factory=Recipe)
    debugger: DebuggerSettings = field(default_factory=DebuggerSettings)

    def __post_init__(self) -> None:
        # A seed of its own, other than 0, goes before the run's.
        for name in ("tuning", "training"):
            section = getattr(self, name)
            if section.seed == 0 and self.run.seed != 0:
                object.__setattr__(self, name, replace(section, seed=self.run.seed))

    def to_json(self) -> dict[str, Any]:
        """Plain values by section, as they stand in `run.json`."""
        sections = {cls.section: getattr(self, cls.section).to_json() for cls in SECTIONS}
        return {"source": self.source, **sections}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration in a `run.json`."""
        sections: dict[str, Any] = {
            c.section: c.from_json(values.get(c.section, {})) for c in SECTIONS
        }
        return cls(source=values["source"], **sections)


def run(
    photos: str | Path | None = None,
    *,
    folder: str | Path | None = None,
    config: RunConfig | None = None,
    listeners: Iterable[Listener] = (),
    **settings: Any,
) -> Run:
    """Check, choose, tune, train, calibrate, evaluate, explain and save; return the run folder.

    `folder` with an unfinished run of the same configuration is resumed: finished stages are
    not repeated. `settings` are fields of `RunSettings`, such as `minutes=5`.

    Raises:
        HoundsightError: the photos, weights or settings cannot be used; the sentence says why.
    """
    if config is None:
        if photos is None:
            raise SettingError("run() needs photos, or a config that names them.")
        config = RunConfig(source=located(photos), run=run_settings(settings))
    elif photos is not None or settings:
        given = ", ".join(["photos"] * (photos is not None) + list(settings))
        raise SettingError(f"run() got a config and beside it {given}; put it into the config.")
    require_cache_home()
    target = (
        Path(folder) if folder is not None else Path("runs") / (Path(config.source).stem or "run")
    )
    record = open_or_create(target, config)
    with record.lock(), _stop_on_sigterm():
        record.set_status(RunStatus.RUNNING)
        try:
            _stages(record, config, Emitter(listeners))
        except KeyboardInterrupt:
            record.set_status(RunStatus.STOPPED, "interrupted")
            raise
        except Exception as error:
            record.set_status(RunStatus.FAILED, str(error))
            raise
        record.set_status(RunStatus.COMPLETED)
    return record


def open_or_create(folder: Path, config: RunConfig) -> Run:
    """The unfinished run in `folder` if it has this configuration, else a new one.

    One that failed at its photos or at the name of its backbone made nothing worth keeping:
    with that put right, it begins again.

    Raises:
        RunError: the folder holds a finished run, or one with other settings.
    """
    if not run_exists(folder):
        return Run.create(folder, kind="run", config=config.to_json())
    record = Run.open(folder)
    if record.status == RunStatus.COMPLETED:
        raise RunError(f"{folder} holds a finished run; name another folder with --out.")
    different = _differences(RunConfig.from_json(record.config).to_json(), config.to_json())
    if different and record.status == RunStatus.FAILED and set(record.stages) <= {"check"}:
        record.begin_again(config.to_json())
    elif different:
        raise RunError(
            f"{folder} holds an unfinished run with other settings ({'; '.join(different)}); "
            "give the same ones to resume it, or another folder with --out."
        )
    return record


def run_exists(folder: Path) -> bool:
    """Whether `folder` holds a run, finished or not."""
    return (folder / "run.json").exists()


def _stages(record: Run, config: RunConfig, emit: Emitter) -> None:
    """The job itself.

    Packages load when their turn comes: importing this module stays quick, and the photos are
    being checked before PyTorch is imported.
    """
    from houndsight.stages import backbone, check
    from houndsight.stages.context import Context

    context = Context(run=record, config=config, emit=emit)
    try:
        backbone.require_known(config.run.backbone)
        photos = check.check_photos(context)
        _learn(context, photos, backbone.choose(context, photos))
    finally:
        context.note_time()


def _learn(context: Context, photos: ImageFolder, chosen: Backbone) -> None:
    """From the first feature to the report."""
    from houndsight.stages import (
        evaluate,
        explain,
        features,
        look,
        plan,
        report,
        save,
        train,
        tune,
    )

    planned = plan.fix(context, photos, chosen)
    table = features.compute(context, photos, chosen)
    search = tune.search(context, table, planned)
    look.look(context, photos, chosen, search)
    trained = train.fit(context, photos, chosen, search, planned)
    judged = evaluate.evaluate(context, photos, table, trained, search)
    explain.find(context, photos, table, trained, judged, search)
    save.save_model(context, photos, trained)
    report.report(context, photos, trained.classifier)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if before["source"] != now["source"]:
        return [f"photos {before['source']}, not {now['source']}"]
    return [
        f"{cls.section}.{name} {before[cls.section][name]}, not {value}"
        for cls in SECTIONS
        for name, value in now[cls.section].items()
        if before[cls.section][name] != value
    ]


def located(photos: str | Path) -> str:
    """The source as it stands in `run.json`: local paths absolute, addresses as given."""
    text = str(photos)
    return text if "://" in text else str(Path(text).expanduser().absolute())


@contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does: what is finished is kept and can be resumed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
