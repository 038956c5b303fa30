"""Predicting a folder of any size into one file, and going on after a crash.

Rows go batch by batch into a journal beside the target, `TARGET.partial/`; at the end they
become the target, by rename. A killed prediction that is started again goes on after the last
whole batch, and photos that came in between are added.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from houndsight.data.decoding import DecodedBatch, decode_batches
from houndsight.errors import DataError, RunLockedError
from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted
from houndsight.files import write_atomic
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.backends import InferenceBackend, load_backend
from houndsight.serving.bulk_file import check_ending, errors_of_all, read_finished, write_rows
from houndsight.serving.journal import Journal
from houndsight.serving.photos import PhotoPaths, scan_photos
from houndsight.wording import plural

__all__ = ["BulkResult", "file_facts", "predict_folder"]

FORMAT_VERSION = 1
_SYNC_SECONDS = 10.0


@dataclass(frozen=True)
class BulkResult:
    """What a bulk prediction did."""

    photos: int
    """Rows of the file."""
    errors: int
    """Rows of photos that could not be read."""
    reused: int
    """Rows that an earlier prediction had finished."""


def predict_folder(
    artifact: ModelArtifact,
    folder: Path,
    out: Path,
    *,
    backend: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    overwrite: bool = False,
    extend: bool = False,
    listener: Listener | None = None,
) -> BulkResult:
    """Predict every photo below `folder` into the file `out`, Parquet or CSV by its ending.

    Columns: `path` (relative to `folder`), `class`, `confidence` (the class's probability),
    `probabilities` (fixed-size list, in the order of the classes in the file's metadata), and
    `error`; a photo that could not be read has its error and nulls. In CSV, whose columns are
    numbers and texts, each class's probability has a column of its own.

    Args:
        backend: as for `load_backend`.
        workers: processes that decode; by default one a core, 0 for this process.
        overwrite: replace a finished `out`, and drop an unfinished one of another model.
        extend: of a finished Parquet `out` of this model and folder, keep its rows and predict
            only the photos that came since.

    Raises:
        SettingError: `out` has the ending of another kind of file.
        DataError: there is no photo, `out` is finished already, or an unfinished prediction of
            another model or folder is in the way.
        RunLockedError: another process writes `out`.
    """
    check_ending(out)
    emit = Emitter([] if listener is None else [listener])
    aside = out.with_name(out.name + ".partial")
    facts = file_facts(artifact, folder)
    kept = read_finished(out, facts) if extend and not overwrite else None
    if kept is None and out.exists() and not aside.exists() and not overwrite:
        raise DataError(f"{out} is there already; name another file, or add --overwrite.")
    photos = scan_photos(folder, leave_out=[aside])
    if kept is not None and not aside.exists() and (errors := errors_of_all(out, photos)) >= 0:
        return BulkResult(photos=_total(photos), errors=errors, reused=_total(photos))
    started = time.monotonic()
    emit(StageStarted(stage="predict", text="Predicting", total=_total(photos)))
    with _claimed(aside, _key(artifact, folder), overwrite):
        journal = Journal(aside / "rows.arrow", _schema(artifact))
        try:
            todo = photos.without(_names_done(journal, kept))
            reused = _total(photos) - _total(todo)
            emit(StageProgress(stage="predict", done=reused, total=_total(photos)))
            if _total(todo):
                engine = load_backend(artifact, backend)
                rows = _predicted(artifact, engine, todo, batch_size, workers)
                _append(journal, rows, reused, _total(photos), emit)
            errors, count = write_rows(out, journal, photos.shown(), facts)
        finally:
            journal.close()
    seconds = time.monotonic() - started
    text = f"Predicted {plural(count, 'photo')}, {errors:,} of them could not be read"
    emit(StageEnded(stage="predict", seconds=seconds, text=text))
    return BulkResult(photos=count, errors=errors, reused=reused)


def file_facts(artifact: ModelArtifact, folder: Path) -> dict[str, Any]:
    """What a Parquet file of predictions says about itself."""
    return {
        "v": FORMAT_VERSION,
        "model": artifact.digest,
        "root": str(folder.resolve()),
        "classes": [[c.name, c.original] for c in artifact.classes],
    }


def _predicted(
    artifact: ModelArtifact,
    backend: InferenceBackend,
    photos: PhotoPaths,
    batch_size: int,
    workers: int | None,
) -> Iterator[pa.RecordBatch]:
    """Rows of every photo, a batch at a time."""
    names = np.array([c.name for c in artifact.classes], dtype=object)
    batches = decode_batches(photos, artifact.preprocessing, batch_size=batch_size, workers=workers)
    for batch in batches:
        yield _rows(batch, photos, backend, names, _schema(artifact))
    for start in range(0, len(photos.unnameable), batch_size):
        shown = photos.unnameable[start : start + batch_size]
        errors = ["unreadable: its name is not valid UTF-8; rename it"] * len(shown)
        missing = pa.nulls(len(shown), pa.string())
        yield _record(_schema(artifact), list(shown), missing, None, None, errors)


def _rows(
    batch: DecodedBatch,
    photos: PhotoPaths,
    backend: InferenceBackend,
    names: Any,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """One batch's rows in the photos' order."""
    indices = np.sort(np.concatenate([batch.indices, np.fromiter(batch.errors, np.int64)]))
    paths = photos.names.take(pa.array(indices))
    errors = [batch.errors.get(int(index)) for index in indices]
    good = np.array([error is None for error in errors])
    classes = np.full(len(indices), None, dtype=object)
    full = np.zeros((len(indices), len(names)), np.float32)
    if good.any():
        full[good] = backend.predict(batch.images)  # both in ascending order of their indices
        classes[good] = names[full[good].argmax(axis=1)]
    return _record(schema, paths, pa.array(classes, pa.string()), full, good, errors)


def _record(
    schema: pa.Schema, paths: Any, classes: Any, full: Any, good: Any, errors: Any
) -> pa.RecordBatch:
    count, width = len(paths), schema.field("probabilities").type.list_size
    if full is None:
        full, good = np.zeros((count, width), np.float32), np.zeros(count, bool)
    missing = pa.array(~good)
    probabilities = pa.FixedSizeListArray.from_arrays(
        pa.array(full.ravel(), pa.float32()), width, mask=missing
    )
    confidence = pa.array(full.max(axis=1), pa.float32(), mask=~good)
    columns = [paths, classes, confidence, probabilities, pa.array(errors, pa.string())]
    return pa.record_batch(columns, schema=schema)


def _append(
    journal: Journal, rows: Iterator[pa.RecordBatch], done: int, total: int, emit: Emitter
) -> None:
    synced = time.monotonic()
    for batch in rows:
        journal.append(batch)
        done += len(batch)
        emit(StageProgress(stage="predict", done=done, total=total))
        if time.monotonic() - synced > _SYNC_SECONDS:
            journal.sync()
            synced = time.monotonic()


def _names_done(journal: Journal, kept: Iterable[pa.RecordBatch] | None) -> pa.Array:
    """The photos in the journal, after the rows of a finished file have been put there."""
    done = pa.concat_arrays([pa.array([], pa.string()), *(b["path"] for b in journal.batches())])
    chunks = [done]
    for batch in kept or ():
        # What a killed process had put there already is not put there twice.
        batch = batch.filter(pc.invert(pc.is_in(batch["path"], done)))
        journal.append(batch.cast(journal.schema))
        chunks.append(batch["path"])
    return pa.concat_arrays(chunks)


def _schema(artifact: ModelArtifact) -> pa.Schema:
    return pa.schema(
        {
            "path": pa.string(),
            "class": pa.string(),
            "confidence": pa.float32(),
            "probabilities": pa.list_(pa.float32(), len(artifact.classes)),
            "error": pa.string(),
        }
    )


def _total(photos: PhotoPaths) -> int:
    return len(photos) + len(photos.unnameable)


def _key(artifact: ModelArtifact, folder: Path) -> dict[str, Any]:
    """What an unfinished prediction must share to be gone on with."""
    return {
        "v": FORMAT_VERSION,
        "model": artifact.digest,
        "temperature": artifact.temperature,
        "preprocessing": artifact.preprocessing.digest(),
        "folder": str(folder.resolve()),
    }


@contextmanager
def _claimed(aside: Path, key: dict[str, Any], overwrite: bool) -> Iterator[None]:
    """Hold the journal's folder for writing; it goes when the work inside is done."""
    try:
        aside.mkdir(parents=True, exist_ok=True)
        lock = (aside / "lock").open("a")
    except OSError as error:
        raise DataError(f"{aside} cannot be written: {error.strerror or error}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunLockedError(f"{aside} is being written by another process.") from error
        _agree(aside, key, overwrite)
        yield
        # By rename first: half a journal would be taken for the beginning of a new prediction.
        emptied = aside.with_name(f".{aside.name}.{os.getpid()}")
        aside.rename(emptied)
        shutil.rmtree(emptied, ignore_errors=True)


def _agree(aside: Path, key: dict[str, Any], overwrite: bool) -> None:
    """Make sure that what lies in the journal's folder belongs to this prediction."""
    path = aside / "key.json"
    try:
        found = json.loads(path.read_bytes()) if path.exists() else None
    except ValueError:
        found = {}
    if found not in (None, key):
        if not overwrite:
            raise DataError(
                f"{aside} holds an unfinished prediction of another model or folder; "
                "finish that one, or drop it with --overwrite."
            )
        found = None
    if found is None:
        (aside / "rows.arrow").unlink(missing_ok=True)
        write_atomic(path, json.dumps(key).encode())
