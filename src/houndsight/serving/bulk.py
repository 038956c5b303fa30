"""Predicting a folder of any size into one Parquet file, and going on after a crash.

Rows go batch by batch into a journal beside the target, `TARGET.partial/`; at the end they
become the Parquet file, by rename. A killed prediction that is started again goes on after the
last whole batch, and photos that came in between are added.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from houndsight.data.decoding import DecodedBatch, decode_batches
from houndsight.errors import DataError, RunLockedError
from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted
from houndsight.files import write_atomic
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.backends import InferenceBackend, load_backend
from houndsight.serving.journal import Journal
from houndsight.serving.photos import PhotoPaths, scan_photos

__all__ = ["BulkResult", "finished", "predict_folder"]

FORMAT_VERSION = 1
_META = b"houndsight"
_GROUP_BYTES = 64_000_000
_SYNC_SECONDS = 10.0


@dataclass(frozen=True)
class BulkResult:
    """What a bulk prediction did."""

    photos: int
    """Rows of the Parquet file."""
    errors: int
    """Rows of photos that could not be read."""
    reused: int
    """Rows that an earlier, interrupted prediction had finished."""


def predict_folder(
    artifact: ModelArtifact,
    folder: Path,
    out: Path,
    *,
    backend: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> BulkResult:
    """Predict every photo below `folder` into the Parquet file `out`.

    Columns: `path` (relative to `folder`), `class`, `confidence` (the class's probability),
    `probabilities` (fixed-size list, in the order of the classes in the file's metadata), and
    `error`; a photo that could not be read has its error and nulls.

    Args:
        backend: as for `load_backend`.
        workers: processes that decode; by default one a core, 0 for this process.
        overwrite: replace a finished `out`, and drop an unfinished one of another model.

    Raises:
        DataError: there is no photo, `out` is finished already, or an unfinished prediction of
            another model or folder is in the way.
        RunLockedError: another process writes `out`.
    """
    emit = Emitter([] if listener is None else [listener])
    aside = out.with_name(out.name + ".partial")
    if out.exists() and not aside.exists() and not overwrite:
        raise DataError(f"{out} is there already; name another file, or add --overwrite.")
    photos = scan_photos(folder, leave_out=[aside])
    started = time.monotonic()
    emit(StageStarted(stage="predict", text="Predicting", total=_total(photos)))
    with _claimed(aside, _key(artifact, folder), overwrite):
        journal = Journal(aside / "rows.arrow", _schema(artifact))
        try:
            done = _names_done(journal)
            todo = photos.without(done)
            reused = _total(photos) - _total(todo)
            emit(StageProgress(stage="predict", done=reused, total=_total(photos)))
            engine = load_backend(artifact, backend) if _total(todo) else None
            if engine is not None:
                rows = _predicted(artifact, engine, todo, batch_size, workers)
                _append(journal, rows, reused, _total(photos), emit)
            errors, count = _write_parquet(journal, photos, artifact, out)
        finally:
            journal.close()
    seconds = time.monotonic() - started
    text = f"Predicted {count:,} photos, {errors:,} of them could not be read"
    emit(StageEnded(stage="predict", seconds=seconds, text=text))
    return BulkResult(photos=count, errors=errors, reused=reused)


def finished(artifact: ModelArtifact, folder: Path, out: Path) -> BulkResult | None:
    """What `out` holds if it is this model's finished prediction of `folder`, else None."""
    if not out.is_file() or out.with_name(out.name + ".partial").exists():
        return None
    try:
        with pq.ParquetFile(out) as file:
            meta = json.loads((file.schema_arrow.metadata or {}).get(_META, b"{}"))
            if (meta.get("model"), meta.get("root")) != (artifact.digest, str(folder.resolve())):
                return None
            column = file.read(columns=["error"])["error"]
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    count = len(column)
    return BulkResult(photos=count, errors=count - column.null_count, reused=count)


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


def _write_parquet(
    journal: Journal, photos: PhotoPaths, artifact: ModelArtifact, out: Path
) -> tuple[int, int]:
    """Turn the journal into the Parquet file; returns how many errors and how many rows."""
    meta = {
        "v": FORMAT_VERSION,
        "model": artifact.digest,
        "root": str(photos.root.resolve()),
        "classes": [[c.name, c.original] for c in artifact.classes],
    }
    schema = journal.schema.with_metadata({_META: json.dumps(meta, ensure_ascii=False)})
    group = max(1024, _GROUP_BYTES // (4 * len(artifact.classes)))
    present = pa.concat_arrays([photos.names, pa.array(photos.unnameable, pa.string())])
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    errors = count = 0
    try:
        with aside.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for table in _grouped(journal, present, group):
                    errors += len(table) - table["error"].null_count
                    count += len(table)
                    writer.write_table(table.cast(schema), row_group_size=group)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return errors, count


def _grouped(journal: Journal, present: pa.Array, group: int) -> Iterator[pa.Table]:
    """The journal's rows in tables of about `group`, without photos that have gone since."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in journal.batches():
        batch = batch.filter(pc.is_in(batch["path"], present))
        waiting.append(batch)
        rows += len(batch)
        if rows >= group:
            yield pa.Table.from_batches(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.Table.from_batches(waiting)


def _names_done(journal: Journal) -> pa.Array:
    chunks = [batch["path"] for batch in journal.batches()]
    return pa.concat_arrays([pa.array([], pa.string()), *chunks])


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
