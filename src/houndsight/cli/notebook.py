"""`houndsight notebook`: Jupyter, or a notebook run from its first cell to its last."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from houndsight.cli.platform import running_environment
from houndsight.errors import HoundsightError, MissingExtraError, require_extra

__all__ = ["notebook"]


def notebook(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A notebook, or a folder of them.")
    ] = None,
    execute: Annotated[
        bool, typer.Option("--execute", help="Run every cell and write the notebook with outputs.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to. Default: FILE.executed.ipynb."
        ),
    ] = None,
    timeout: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="The longest a cell may take.")
    ] = None,
) -> None:
    """Open Jupyter in the environment of the platform, or run a notebook there."""
    if file is not None and not file.exists():
        raise HoundsightError(f"There is no {file}.")
    if execute and (file is None or file.is_dir()):
        raise HoundsightError("--execute needs a notebook: houndsight notebook --execute FILE.")
    if not execute and (output is not None or timeout is not None):
        raise HoundsightError("--output and --timeout go with --execute.")
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise HoundsightError(f"{output} cannot be written: name a file in a folder that is there.")
    environ = running_environment().applied(os.environ)
    # What cells call with ! is this Python's pip and aws, as in the kernel.
    here = str(Path(sys.executable).parent)
    environ["PATH"] = os.pathsep.join([here, environ.get("PATH", os.defpath)])
    if file is not None and execute:
        _execute(file, output or file.with_suffix(".executed.ipynb"), timeout, environ)
    else:
        _open(file, environ)


def _open(file: Path | None, environ: dict[str, str]) -> None:
    import importlib.util

    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtraError("houndsight notebook", "notebook")
    arguments = [sys.executable, "-m", "jupyterlab", *([str(file)] if file is not None else [])]
    if os.geteuid() == 0:
        # Jupyter refuses root its service otherwise, and what jobs do is done as root anyway.
        arguments.append("--allow-root")
    sys.stdout.flush()
    os.execve(sys.executable, arguments, environ)


def _execute(file: Path, output: Path, timeout: int | None, environ: dict[str, str]) -> None:
    nbclient: Any = require_extra("nbclient", what="houndsight notebook", extra="notebook")
    require_extra("ipykernel", what="houndsight notebook", extra="notebook")
    nbformat: Any = require_extra("nbformat", what="houndsight notebook", extra="notebook")
    try:
        content = nbformat.read(file, as_version=4)
    except Exception as error:
        raise HoundsightError(f"{file} is no notebook: {error}.") from error
    os.environ.clear()
    os.environ.update(environ)
    # The kernel named in the file may not be installed here; this Python's always is.
    client = nbclient.NotebookClient(
        content,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(file.absolute().parent)}},
        on_cell_start=_told(content),
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        raise HoundsightError(_what_failed(content, error, output)) from error
    except nbclient.exceptions.CellTimeoutError as error:
        raise HoundsightError(
            f"A cell of {file} took longer than {timeout} s; {output} has what was done."
        ) from error
    except nbclient.exceptions.DeadKernelError as error:
        raise HoundsightError(f"The kernel that ran {file} died: {error}.") from error
    finally:
        nbformat.write(content, output)
    typer.echo(f"Every cell ran; {output} holds the outputs.")


def _told(content: Any) -> Any:
    """Says which cell begins; what is text only passes by, too."""
    cells = [index for index, cell in enumerate(content.cells) if cell.cell_type == "code"]

    def begin(cell: Any, cell_index: int) -> None:
        if cell_index not in cells:
            return
        first = next((line for line in cell.source.splitlines() if line.strip()), "")
        typer.echo(f"[{cells.index(cell_index) + 1}/{len(cells)}] {first[:80]}", err=True)

    return begin


def _what_failed(content: Any, error: Any, output: Path) -> str:
    done = [cell for cell in content.cells if cell.cell_type == "code" and cell.execution_count]
    return (
        f"Cell {len(done)} failed: {error.ename}: {error.evalue}. {output} has the outputs so far."
    )
