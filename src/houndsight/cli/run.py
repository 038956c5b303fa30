"""`houndsight run`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from houndsight.cli.options import SetOption, resolve_all, with_settings
from houndsight.data.settings import DataSettings
from houndsight.errors import SettingError
from houndsight.stages.settings import RunSettings
from houndsight.training.recipe import Recipe
from houndsight.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from houndsight.pipeline import RunConfig

__all__ = ["run"]


@with_settings(
    {
        RunSettings: ("minutes", "backbone", "finetune", "seed"),
        DataSettings: ("group", "fit", "size"),
        TuningSettings: ("trials", "strategy"),
        Recipe: ("epochs", "mixup", "randaugment"),
    }
)
def run(
    photos: Annotated[
        str | None,
        typer.Argument(
            metavar="PHOTOS", help="A folder, a CSV or Parquet table, an archive or an address."
        ),
    ] = None,
    *,
    given: dict[str, dict[str, Any]],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The run folder; an unfinished run in it is resumed. Default runs/NAME.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Finish this run, with its own settings.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A public data set instead of PHOTOS: solar-cells, dogs, flowers, pets.",
        ),
    ] = None,
    assignments: SetOption = None,
) -> None:
    """Train a classifier on PHOTOS and explain it: check, choose, tune, train, evaluate, report."""
    from houndsight.cli.progress import ProgressDisplay
    from houndsight.cli.summary import print_summary
    from houndsight.pipeline import RunConfig
    from houndsight.pipeline import run as run_job
    from houndsight.runs import Run

    if sum(x is not None for x in (photos, dataset, resume)) != 1:
        raise SettingError("Name the photos, or --dataset NAME, or --resume RUN: one of the three.")
    if resume is not None:
        _refuse_beside_resume(out, given, assignments or [])
        folder, config = resume, RunConfig.from_json(Run.open(resume).config)
    else:
        config = _config(_source(photos, dataset), given, assignments or [])
        folder = out or _next_folder(config, dataset)
    with ProgressDisplay() as display:
        finished = run_job(config=config, folder=folder, listeners=[display])
    print_summary(finished)


def _refuse_beside_resume(
    out: Path | None, given: dict[str, dict[str, Any]], assignments: list[str]
) -> None:
    """A resumed run keeps its settings; one given beside it would be silently ignored."""
    others = [
        f"--{name.replace('_', '-')}" for s in given.values() for name in s if s[name] is not None
    ]
    others += ["--out"] * (out is not None) + ["--set"] * bool(assignments)
    if others:
        raise SettingError(
            f"--resume finishes a run with its own settings and takes no {', '.join(others)}; "
            "for other settings begin a new run."
        )


def _source(photos: str | None, dataset: str | None) -> str:
    from houndsight.pipeline import located

    if dataset is None:
        assert photos is not None
        return located(photos)
    if dataset == "solar-cells":
        from houndsight.data.solar_cells import solar_cells

        return located(solar_cells())
    from houndsight.data.catalogue import PUBLIC_SETS, fetch_dataset

    if dataset not in PUBLIC_SETS:
        names = ", ".join(["solar-cells", *PUBLIC_SETS])
        raise SettingError(f"--dataset {dataset}: there is no such data set; there are {names}.")
    return located(fetch_dataset(dataset))


def _config(source: str, given: dict[str, dict[str, Any]], assignments: list[str]) -> RunConfig:
    from houndsight.pipeline import SECTIONS, RunConfig
    from houndsight.stages.check import data_folder_of

    resolved = resolve_all(
        SECTIONS, given=given, assignments=assignments, data_folder=data_folder_of(source)
    )
    return RunConfig(source=source, **{name: r.value for name, r in resolved.items()})


def _next_folder(config: RunConfig, dataset: str | None) -> Path:
    """`runs/NAME`, or `runs/NAME-2` and so on: the first that is new or can be resumed."""
    from houndsight.errors import RunError
    from houndsight.pipeline import open_or_create, run_exists

    name = dataset or Path(config.source).stem or "run"
    for number in range(1, 10_000):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if not run_exists(folder):
            return folder
        try:
            open_or_create(folder, config)
        except RunError:
            continue
        typer.echo(f"Going on in {folder}, where a run is unfinished.", err=True)
        return folder
    raise RunError("runs/ holds 9,999 runs of this name; name a folder with --out.")
