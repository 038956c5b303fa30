"""The folder a saved model stands in: finding it, replacing it in one step, packing it."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from houndsight.errors import ArtifactError
from houndsight.models.manifest import MANIFEST

__all__ = ["find_model", "flush", "pack", "recover", "replace_folder"]


def find_model(path: Path) -> Path:
    """The folder that holds `model.json`: `path`, or `path/model` of a run.

    Raises:
        ArtifactError: there is none.
    """
    inside = path / "model"
    folder = inside if (path / "run.json").is_file() or inside.is_dir() else path
    if (path / MANIFEST).is_file():
        folder = path
    if not folder.is_dir() and _previous(folder).is_dir():
        return _previous(folder)
    if folder == inside and not folder.is_dir():
        raise ArtifactError(f"{path} holds no model yet; finish the run with --resume.")
    if not folder.is_dir():
        raise ArtifactError(f"{path} does not exist; give a run folder, a model or a model.tar.gz.")
    return folder


def _previous(folder: Path) -> Path:
    """Where the old model stands for the moment between the two renames of a save."""
    return folder.with_name(f".{folder.name}.previous")


def recover(folder: Path) -> None:
    """Put the old model back that a save killed between its two renames left aside."""
    previous = _previous(folder)
    if previous.is_dir() and not folder.exists():
        previous.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Let `new` stand where `folder` stood; a crash leaves one of them to be found."""
    if not folder.exists():
        new.rename(folder)
        return
    previous = _previous(folder)
    folder.rename(previous)
    new.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def flush(folder: Path) -> None:
    """Bring every file to the disk before a rename makes it the model."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file, suppress(OSError):
            os.fsync(file.fileno())


def pack(folder: Path, names: Sequence[str], target: Path) -> None:
    """Write files of a model as a tar.gz."""
    # Times and owners are left out so that the same model is the same archive.
    with (
        target.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0, filename="") as plain,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in names:
            info = tar.gettarinfo(str(folder / name), arcname=name)
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            info.mode = 0o644
            with (folder / name).open("rb") as source:
                tar.addfile(info, source)
