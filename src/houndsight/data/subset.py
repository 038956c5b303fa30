"""`Split`: some photos of a folder in an order of their own, with paths made when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from houndsight.errors import DataError

__all__ = ["PathList", "Split", "integers"]

Integers = npt.NDArray[np.int64]


def integers(column: Any) -> Integers:
    """An Arrow column of integers without nulls as NumPy (n,)."""
    return np.asarray(column.to_numpy(), np.int64)


class PathList(Sequence[Path]):
    """Paths that are made when asked for; a million of them are one Arrow array."""

    def __init__(self, root: Path, relative: Any) -> None:
        self.root = root
        self.relative = relative

    def __len__(self) -> int:
        return len(self.relative)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> PathList: ...

    def __getitem__(self, index: int | slice) -> Path | PathList:
        if isinstance(index, slice):
            rows = pa.array(np.arange(len(self))[index])
            return PathList(self.root, self.relative.take(rows))
        return self.root / str(self.relative[index].as_py())


@dataclass(frozen=True)
class Split:
    """Some of the photos of a folder, in an order of their own."""

    name: str
    root: Path
    table: Any
    """The rows of `ImageFolder.table`."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> Integers:
        """(n,): the photos' ids."""
        return integers(self.table["id"])

    @property
    def labels(self) -> Integers:
        """(n,): class indices."""
        return integers(self.table["class_index"])

    @property
    def hashes(self) -> list[str]:
        """Content hashes, in order.

        Raises:
            DataError: the photos have not been hashed yet.
        """
        if self.table["hash"].null_count:
            raise DataError(
                f"{self.table['hash'].null_count:,} photos of {self.root} have no content hash "
                "yet; check the folder first and use the folder that the check returns."
            )
        return list(self.table["hash"].to_pylist())

    def paths(self) -> PathList:
        """The photos' paths, made when asked for."""
        return PathList(self.root, self.table["path"].combine_chunks())

    def take(self, indices: npt.ArrayLike) -> Split:
        """The photos at these positions, in this order."""
        rows = np.asarray(indices, np.int64)
        return replace(self, table=self.table.take(pa.array(rows)).combine_chunks())
