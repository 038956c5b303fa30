"""The rows of an unfinished bulk prediction, batch by batch, safe against death at any moment.

An Arrow stream without its end: the schema, then one message a batch. A batch is there or not;
what a killed writer left half is cut off when the next one opens the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from houndsight.errors import ArtifactError

__all__ = ["Journal"]


class Journal:
    """Appends record batches to a file and reads back those that are whole."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """Open `path`, cutting off a torn end; a new file gets `schema`.

        Raises:
            ArtifactError: the file holds rows of another schema.
        """
        self.path = path
        self.schema = schema
        end = self._whole_bytes() if path.exists() else 0
        self._file = path.open("ab", buffering=0)
        self._file.truncate(end)
        if end == 0:
            self._file.write(schema.serialize())

    def append(self, batch: pa.RecordBatch) -> None:
        """Add a batch; once this returns, death of the process does not lose it."""
        message = memoryview(batch.serialize())
        while message:
            message = message[self._file.write(message) or 0 :]

    def sync(self) -> None:
        """Bring it to the disk, so that the machine may lose power."""
        os.fsync(self._file.fileno())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches so far, in order, one in memory at a time."""
        yield from (batch for batch, _ in _read(self.path))

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

    def _whole_bytes(self) -> int:
        """How many bytes of the file are schema and whole batches."""
        end = 0
        for batch, after in _read(self.path):
            if batch.schema != self.schema:
                raise ArtifactError(f"{self.path} holds other rows; remove {self.path.parent}.")
            end = after
        return end


def _read(path: Path) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Every whole batch and where it ends in the file."""
    # Unbuffered, so that the position after a batch is the batch's end.
    with pa.OSFile(str(path), "rb") as file:
        size = file.size()
        try:
            reader: Any = pa.ipc.open_stream(file)
        except (pa.ArrowInvalid, OSError):
            return
        while True:
            try:
                batch = reader.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):
                return
            if file.tell() > size:
                return
            yield batch, file.tell()
