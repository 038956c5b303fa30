"""`houndsight predict`: one photo as a table, or a folder of any size as a Parquet file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from houndsight.errors import DataError, SettingError
from houndsight.wording import plural

if TYPE_CHECKING:
    from houndsight.models.artifact import ModelArtifact

__all__ = ["predict"]

LINKS = ("auto", "symlink", "hardlink", "copy")
BACKENDS = ("auto", "openvino", "onnx", "torch")


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, a model folder or a model.tar.gz.")
    ],
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTO", help="Photos, or one folder of photos.")
    ],
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many classes to show of each photo.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a photo.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For a folder: the file to write, .parquet or .csv. Interrupted, the same command "
            "goes on.",
        ),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For a folder: link its photos into DIR/CLASS/."),
    ] = None,
    link: Annotated[
        str, typer.Option(metavar="CHOICE", help="How to link: auto, symlink, hardlink or copy.")
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished file.")
    ] = False,
    backend: Annotated[
        str, typer.Option(metavar="CHOICE", help="What computes: auto, openvino, onnx or torch.")
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Photos computed at once.")
    ] = 32,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Processes that decode; default one a core."),
    ] = None,
) -> None:
    """Predict the classes of photos: top classes with probabilities, or a whole folder."""
    from houndsight.models.artifact import ModelArtifact

    _check_choice("--link", link, LINKS)
    _check_choice("--backend", backend, BACKENDS)
    artifact = ModelArtifact.load(model)
    if len(photos) == 1 and photos[0].is_dir():
        _folder(
            artifact,
            photos[0],
            out=out,
            sort_into=sort_into,
            link=link,
            overwrite=overwrite,
            backend=backend,
            batch_size=batch_size,
            workers=workers,
        )
        return
    if out is not None or sort_into is not None:
        raise SettingError("--out and --sort-into are for a folder of photos.")
    _photos(artifact, photos, top=top, as_json=as_json, backend=backend, batch_size=batch_size)


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{option} is {value!r}; it is one of {', '.join(choices)}.")


def _folder(
    artifact: ModelArtifact,
    folder: Path,
    *,
    out: Path | None,
    sort_into: Path | None,
    link: str,
    **options: Any,
) -> None:
    from houndsight.cli.progress import ProgressDisplay
    from houndsight.serving.bulk import file_facts, predict_folder
    from houndsight.serving.sorting import check_target, sort_into_classes

    if out is None and sort_into is None:
        raise SettingError(f"{folder} is a folder; add --out predictions.parquet.")
    target = out or Path(f"{folder.resolve().name}-predictions.parquet")
    if sort_into is not None:
        check_target(target, folder, sort_into, file_facts(artifact, folder))
    with ProgressDisplay() as display:
        # A sorting that was interrupted goes on; only photos that came since are predicted.
        extend = sort_into is not None
        result = predict_folder(
            artifact, folder, target, extend=extend, listener=display, **options
        )
        if sort_into is not None:
            sort_into_classes(target, folder, sort_into, link=link, listener=display)
    photos = plural(result.photos, "photo")
    typer.echo(f"{target}: {photos}, {result.errors:,} of them could not be read.")


def _photos(
    artifact: ModelArtifact,
    photos: list[Path],
    *,
    top: int,
    as_json: bool,
    backend: str,
    batch_size: int,
) -> None:
    errors: list[str] = []
    for start in range(0, len(photos), batch_size):
        some = photos[start : start + batch_size]
        predictions = artifact.predict(some, batch_size=batch_size, backend=backend)
        errors += predictions.errors.values()
        for row, (photo, likeliest) in enumerate(zip(some, predictions.top(top), strict=True)):
            error = predictions.errors.get(row)
            if as_json:
                _print_json(photo, likeliest, error)
            elif error is None or len(photos) > 1:
                _print_table(photo, likeliest, error)
    if len(errors) == len(photos):
        raise DataError(errors[0] if len(photos) == 1 else "No photo could be read.")


def _print_json(photo: Path, likeliest: list[tuple[str, float]], error: str | None) -> None:
    record: dict[str, Any] = {"path": str(photo)}
    if error is not None:
        record["error"] = error
    else:
        record |= {
            "class": likeliest[0][0],
            "probability": likeliest[0][1],
            "top": [{"class": name, "probability": value} for name, value in likeliest],
        }
    typer.echo(json.dumps(record, ensure_ascii=False))


def _print_table(photo: Path, likeliest: list[tuple[str, float]], error: str | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if error is not None:
        console.print(f"[red]{escape(error)}[/red]", highlight=False)
        return
    table = Table(title=escape(str(photo)), title_justify="left", title_style="bold")
    table.add_column("Class")
    table.add_column("Probability", justify="right")
    table.add_column("")
    for name, probability in likeliest:
        bar = "█" * round(24 * probability)
        table.add_row(escape(name), f"{100 * probability:.1f} %", f"[cyan]{bar}[/cyan]")
    console.print(table)
