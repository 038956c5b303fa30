"""`ImageFolder`: the photos of a data set as one Arrow table, and `Split`, a part of them.

No photo is read here; paths are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from houndsight.data import photos
from houndsight.data.apportion import apportion
from houndsight.data.leakage import drawing_findings, split_findings
from houndsight.data.listing import SPLITS, Listing
from houndsight.data.names import ClassName, readable_names
from houndsight.data.settings import DataSettings
from houndsight.data.sources import list_source
from houndsight.data.split import photo_keys, units_of
from houndsight.data.subset import PathList, Split, integers
from houndsight.errors import DataError
from houndsight.events import Listener
from houndsight.findings import Finding

__all__ = ["ImageFolder", "PathList", "Split"]

Integers = npt.NDArray[np.int64]
_CHUNK = 65_536


@dataclass(frozen=True)
class ImageFolder:
    """The photos of a data set, with class, split, group and hash.

    `table` has a row a photo, ordered by path: `id` int64 (0..n-1, the same for the same
    listing, kept by `without`), `path` string relative to `root`, `class_index` int32, `split`
    string (`train`, `valid`, `test`, or empty before splits are drawn), `group` string or null,
    `hash` string, null before the photos are hashed.
    """

    root: Path
    table: Any
    classes: tuple[ClassName, ...]
    splits_given: bool
    """Whether the layout had a split to validate or test on."""
    findings: tuple[Finding, ...] = ()
    """What the scan left out, and what is wrong with the splits."""

    @classmethod
    def open(
        cls,
        source: str | Path,
        settings: DataSettings | None = None,
        *,
        listener: Listener | None = None,
    ) -> ImageFolder:
        """List the photos of a folder, a label table, an archive or an address.

        What has to be fetched or unpacked goes into the cache first. No photo is read.

        Raises:
            DataError: the source is not there, or holds no photos of two classes.
            NetworkError: it had to be fetched and could not be.
        """
        listing = list_source(source, settings or DataSettings(), listener)
        folder = cls.from_listing(listing)
        folder.require_classes()
        return replace(folder, findings=folder.findings + tuple(split_findings(folder)))

    @classmethod
    def from_listing(cls, listing: Listing) -> ImageFolder:
        """The folder of what a scan found."""
        count = len(listing.paths)
        names = pa.array((*SPLITS, ""), pa.string())
        codes = np.full(count, -1, np.int8) if listing.splits is None else listing.splits
        columns = {
            "id": pa.array(np.arange(count, dtype=np.int64)),
            "path": listing.paths,
            "class_index": pa.array(listing.labels.astype(np.int32)),
            "split": names.take(pa.array(codes.astype(np.int64) % len(names))),
            "group": pa.nulls(count, pa.string()) if listing.groups is None else listing.groups,
            "hash": pa.nulls(count, pa.string()),
            "together": pa.nulls(count, pa.int64()),
        }
        return cls(
            root=listing.root,
            table=pa.table(columns),
            classes=readable_names(listing.originals),
            splits_given=listing.splits is not None,
            findings=listing.findings,
        )

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def labels(self) -> Integers:
        """(n,): class indices, in the order of the table."""
        return integers(self.table["class_index"])

    @property
    def split_sizes(self) -> dict[str, int]:
        """Photos in each split that has any, in the order train, valid, test."""
        counts = {
            item["values"]: item["counts"]
            for item in pc.value_counts(self.table["split"].combine_chunks()).to_pylist()
        }
        return {name: counts[name] for name in (*SPLITS, "") if name in counts}

    def require_classes(self) -> None:
        """Stop unless there are photos of at least two classes.

        Raises:
            DataError: there are none, or of one class only.
        """
        present = np.unique(self.labels)
        if len(present) < 2:
            found = f"one class, {self.classes[present[0]].original!r}" if len(present) else "none"
            raise DataError(
                f"{self.root}: photos of at least two classes are needed, and there is "
                f"{found} ({len(self):,} photos). {photos.LAYOUT_HINT}"
            )

    def split(self, name: str) -> Split:
        """The photos of `train`, `valid` or `test`, in the order of the table."""
        rows = pc.equal(self.table["split"], name)
        return Split(name, self.root, self.table.filter(rows).combine_chunks())

    def all(self) -> Split:
        """Every photo, in the order of the table."""
        return Split("all", self.root, self.table)

    def with_splits(
        self, settings: DataSettings | None = None, keep_together: Integers | None = None
    ) -> ImageFolder:
        """Draw the splits that are missing; a folder that has all three stays as it is.

        Nothing given: valid and test are drawn. Only a test split given: valid is drawn from
        train. Only a validation split given: it becomes the test split, so that nothing is
        chosen on what is tested, and valid is drawn from train.

        Args:
            settings: seed and shares.
            keep_together: (n,) group numbers in the order of the table, such as near-duplicates
                to be kept on one side; negative numbers stand alone.

        Returns:
            The folder with splits; what could not be drawn as asked is added to its findings.
        """
        settings = settings or DataSettings()
        sizes = self.split_sizes
        if "test" in sizes and "valid" in sizes:
            return self
        split = np.asarray(self.table["split"].to_numpy(zero_copy_only=False), object)
        if "valid" in sizes:
            split = np.where(split == "valid", "test", split)
        given_test = "valid" in sizes or "test" in sizes
        draw_from = np.flatnonzero((split == "train") | (split == ""))
        drawn = {"valid": settings.valid_share}
        if not given_test:
            drawn["test"] = settings.test_share
        units = units_of(len(self), _group_codes(self.table["group"]), keep_together)
        part = apportion(
            self.labels[draw_from],
            units[draw_from],
            [1 - sum(drawn.values()), *drawn.values()],
            photo_keys(_texts(self.table["path"].take(pa.array(draw_from))), settings.seed),
        )
        split[draw_from] = np.array(SPLITS, object)[part]
        folder = self._with_column("split", pa.array(split, pa.string()))
        found = drawing_findings(folder, drawn) if len(draw_from) else []
        return replace(folder, findings=(*self.findings, *found))

    def without(self, ids: Iterable[int]) -> ImageFolder:
        """The folder less these photos; the others keep their ids."""
        left_out = pa.array(np.fromiter(ids, np.int64))
        keep = pc.invert(pc.is_in(self.table["id"], value_set=left_out))
        return replace(self, table=self.table.filter(keep).combine_chunks())

    def with_hashes(self, hashes: Sequence[str | None]) -> ImageFolder:
        """The folder with content hashes, given in the order of the table."""
        return self._with_column("hash", pa.array(hashes, pa.string()))

    def kept_together(self, look_alikes: Integers) -> ImageFolder:
        """The folder with the numbers of what must stay on one side of any division.

        That are photos of one group and near-duplicates `(n,)`, of equal numbers, and whatever
        the two bind together between them.
        """
        units = units_of(len(self), _group_codes(self.table["group"]), look_alikes)
        return self._with_column("together", pa.array(units, pa.int64()))

    @property
    def together(self) -> Integers | None:
        """(n,): photos with equal numbers must stay on one side; None when each stands alone."""
        column = self.table["together"]
        if column.null_count or not len(column):
            return None
        units = integers(column)
        return None if len(np.unique(units)) == len(units) else units

    def without_empty_classes(self) -> ImageFolder:
        """The folder with the classes that have photos, numbered anew."""
        present = np.unique(self.labels)
        if len(present) == len(self.classes):
            return self
        numbers = np.zeros(len(self.classes), np.int32)
        numbers[present] = np.arange(len(present))
        folder = self._with_column("class_index", pa.array(numbers[self.labels]))
        return replace(folder, classes=tuple(self.classes[index] for index in present))

    def fingerprint(self) -> str:
        """A hash of what there is to learn from: 32 hex digits.

        Over (path, content hash or else size, class, split) of every photo, ordered by path.
        """
        return photos.fingerprint(self.root, self.table, self.classes)

    def write_photos(self, path: Path) -> None:
        """Write the table and the classes as Parquet, replacing `path` at once."""
        photos.write_photos(path, self.table, self.classes, self.splits_given)

    @classmethod
    def read_photos(cls, path: Path, root: Path) -> ImageFolder:
        """The folder that `write_photos` wrote, with its photos below `root`.

        Raises:
            DataError: the file is missing, damaged or from a newer version.
        """
        table, classes, splits_given = photos.read_photos(path)
        return cls(root=root, table=table, classes=classes, splits_given=splits_given)

    def _with_column(self, name: str, values: Any) -> ImageFolder:
        assert len(values) == len(self), f"{len(values)} values for {len(self)} photos"
        index = self.table.schema.get_field_index(name)
        return replace(self, table=self.table.set_column(index, name, values))


def _texts(column: Any) -> Iterator[str]:
    """The strings of a column, made in pieces, as a million at once would take 100 MB."""
    for chunk in column.chunks:
        for start in range(0, len(chunk), _CHUNK):
            yield from chunk.slice(start, _CHUNK).to_pylist()


def _group_codes(column: Any) -> Integers:
    """(n,): a number for each group, -1 where there is none."""
    codes = pc.fill_null(column.combine_chunks().dictionary_encode().indices, -1)
    return integers(codes)
