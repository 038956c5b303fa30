"""What a training saved: its tensors by step and mode."""

from __future__ import annotations

import difflib
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, KeysView, Mapping
from typing import Any

from houndsight.debugger.saved import Files, SavedReader

from ..core.collection import Collection, CollectionKeys
from ..core.collection_manager import CollectionManager
from ..core.logger import get_logger
from ..core.modes import ModeKeys
from ..core.tensor import StepState, Tensor
from ..core.utils import flatten, match_inc
from ..exceptions import MissingCollectionFiles, NoMoreData, StepUnavailable, TensorUnavailable

__all__ = ["Trial"]

AWAIT_SECONDS = 60.0
"""How long the first tensors of a training that has not ended are waited for."""
EVERY_SECONDS = 2.0


class Trial(ABC):
    """Tensors by name; more come while the training goes on.

    Raises:
        MissingCollectionFiles: nothing was saved, and nothing comes.
    """

    def __init__(
        self,
        name: str,
        *,
        path: str,
        range_steps: tuple[int | None, int | None] | None = None,
        **ignored: Any,
    ) -> None:
        del ignored
        self.name, self.path, self.range_steps = name, path, range_steps
        self.logger = get_logger()
        self.dynamic_refresh = True
        self.loaded_all_steps = False
        self.last_complete_step = -1
        self.num_workers = 0
        self.collection_manager = CollectionManager()
        self._tensors: dict[str, Tensor] = {}
        self._readers: dict[str, SavedReader] = {}
        self._read: dict[str, int] = {}
        """How many rows of each reader were taken in."""
        self._global_to_mode: dict[int, tuple[ModeKeys, int]] = {}
        self._mode_to_global: dict[ModeKeys, dict[int, int]] = {}
        self._names_at: dict[int, set[str]] = {}
        self._await_first()

    @abstractmethod
    def _find(self) -> Mapping[str, Files]:
        """The `saved` folders of the training's processes, by where they are."""

    @abstractmethod
    def _has_end_marker(self) -> bool:
        """Whether the job says that it has ended."""

    # -- reading ----------------------------------------------------------------------------

    def _await_first(self) -> None:
        end = time.monotonic() + AWAIT_SECONDS
        while True:
            over = self._has_end_marker() or time.monotonic() >= end
            self._open_readers()
            if self._readers:
                self.refresh_data()
                return
            if over:
                raise MissingCollectionFiles(
                    f"No tensors were saved under {self.path}. Either the job had no debugger "
                    "hook, or no model was trained in it, or the path is another one."
                )
            self.logger.warning("Waiting for the first tensors under %s", self.path)
            time.sleep(EVERY_SECONDS)

    def _open_readers(self) -> None:
        found = self._find()
        # Further models that a script trained have folders of their own in `watched/`.
        own = {k: v for k, v in found.items() if "/watched/" not in k and "/hosts/" not in k}
        for where, files in (own or found).items():
            if where not in self._readers:
                self._readers[where] = SavedReader(files, where)
        self.num_workers = len(self._readers)

    def refresh_data(self) -> None:
        """Take in what is new."""
        if self.loaded_all_steps:
            return
        self._open_readers()
        ended = all(reader.ended for reader in self._readers.values()) or self._has_end_marker()
        for where, reader in self._readers.items():
            rows = reader.rows()
            for row in rows[self._read.get(where, 0) :]:
                self._take_in(reader, row)
            self._read[where] = len(rows)
        self._read_collections()
        self.last_complete_step = max(self._global_to_mode, default=-1)
        self.loaded_all_steps = ended and bool(self._readers)

    def maybe_refresh(self, name: str | None = None) -> None:
        """Take in what is new, unless that is switched off."""
        del name
        if self.dynamic_refresh:
            self.refresh_data()

    refresh_tensor = maybe_refresh

    def _take_in(self, reader: SavedReader, row: Mapping[str, Any]) -> None:
        step, mode, mode_step = row["step"], ModeKeys[row["mode"]], row["mode_step"]
        first, end = self.range_steps or (None, None)
        if (first is not None and step < first) or (end is not None and step >= end):
            return
        self._global_to_mode.setdefault(step, (mode, mode_step))
        if mode is not ModeKeys.GLOBAL:
            self._mode_to_global.setdefault(mode, {}).setdefault(mode_step, step)
        reductions, shapes = row.get("reductions") or {}, row.get("shapes") or {}
        names = [*(row.get("values") or ()), *(row.get("tensors") or ()), *reductions, *shapes]
        for name in dict.fromkeys(names):
            tensor = self._tensors.get(name)
            if tensor is None:
                tensor = self._tensors[name] = Tensor(name, self)
            tensor.add(reader, row)
            self._names_at.setdefault(step, set()).add(name)

    def _read_collections(self) -> None:
        for reader in self._readers.values():
            found = reader.collections()
            if found:
                self.collection_manager = CollectionManager.from_json_dict(found)
                return

    # -- tensors ----------------------------------------------------------------------------

    def tensor(self, tname: str) -> Tensor:
        """The tensor of that name.

        Raises:
            TensorUnavailable: none was saved; the nearest names are told.
        """
        if not self.has_tensor(tname):
            near = difflib.get_close_matches(tname, self._tensors, n=3, cutoff=0.4)
            raise TensorUnavailable(tname, f"Saved were {_listed(near, self._tensors)}.")
        return self._tensors[tname]

    def has_tensor(self, tname: str) -> bool:
        """Whether one of that name was saved."""
        if tname not in self._tensors:
            self.maybe_refresh(tname)
        return tname in self._tensors

    def tensor_names(
        self,
        show_prefixed_tensors: bool = False,
        *,
        step: int | None = None,
        mode: ModeKeys = ModeKeys.GLOBAL,
        regex: Any = None,
        collection: Collection | str | None = None,
    ) -> list[str]:
        """Names, in order; those of a step or mode, that match an expression, of a collection.

        Raises:
            ValueError: both an expression and a collection are given.
        """
        del show_prefixed_tensors
        if regex is not None and collection is not None:
            raise ValueError("Only one of `regex` or `collection` can be passed to this method")
        self.maybe_refresh()
        names = self._names(step, mode)
        if regex is not None:
            chosen = flatten([regex])
            names = {name for name in names if match_inc(name, chosen)}
            what = f"matching the regex pattern:{regex} given"
        elif collection is not None:
            own = collection if isinstance(collection, Collection) else None
            own = own or self.collection(str(collection))
            patterns = own.include_regex or ([".*"] if own.name == CollectionKeys.ALL else [])
            names = {n for n in names if n in own.tensor_names or match_inc(n, patterns)}
            what = f"from the collection {own.name}"
        if (regex is not None or collection is not None) and not names:
            self.logger.warning("No tensors %s were saved", what)
        return sorted(names)

    def _names(self, step: int | None, mode: ModeKeys) -> set[str]:
        if step is not None:
            number = self._global_step_currently(mode, step)
            return set() if number is None else set(self._names_at.get(number, ()))
        if mode is ModeKeys.GLOBAL:
            return set(self._tensors)
        steps = self._mode_to_global.get(mode, {}).values()
        return {name for number in steps for name in self._names_at.get(number, ())}

    # -- steps ------------------------------------------------------------------------------

    def steps(
        self, mode: ModeKeys | None = ModeKeys.GLOBAL, show_incomplete_steps: bool = False
    ) -> list[int]:
        """The steps at which something was saved, counted over all modes or in one."""
        del show_incomplete_steps
        self.maybe_refresh()
        if mode is None or mode is ModeKeys.GLOBAL:
            return sorted(self._global_to_mode)
        return sorted(self._mode_to_global.get(mode, ()))

    def modes(self) -> KeysView[ModeKeys]:
        """The modes that were seen, GLOBAL left out."""
        self.maybe_refresh()
        return self._mode_to_global.keys()

    def mode(self, global_step: int) -> ModeKeys | None:
        """The mode of a step."""
        return self.mode_modestep(global_step)[0]

    def mode_step(self, global_step: int) -> int | None:
        """Its number in that mode."""
        return self.mode_modestep(global_step)[1]

    def mode_modestep(self, global_step: int) -> tuple[ModeKeys | None, int | None]:
        """Both."""
        if global_step not in self._global_to_mode:
            self.maybe_refresh()
        return self._global_to_mode.get(global_step, (None, None))

    def global_step(self, mode: ModeKeys, mode_step: int) -> int | None:
        """The number of a mode's step among all; None where it was not saved."""
        found = self._global_step_currently(mode, mode_step)
        if found is None:
            self.maybe_refresh()
            found = self._global_step_currently(mode, mode_step)
        return found

    def _global_step_currently(self, mode: ModeKeys, mode_step: int) -> int | None:
        if mode is ModeKeys.GLOBAL:
            return mode_step
        return self._mode_to_global.get(mode, {}).get(mode_step)

    def has_passed_step(self, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> StepState:
        """Whether a step is there, is yet to come, or was not saved."""
        steps = self.steps(mode=mode)
        at = bisect_left(steps, step)
        if at < len(steps):
            return StepState.AVAILABLE if steps[at] == step else StepState.UNAVAILABLE
        return StepState.UNAVAILABLE if self.loaded_all_steps else StepState.NOT_YET_AVAILABLE

    def wait_for_steps(
        self, required_steps: Iterable[int], mode: ModeKeys = ModeKeys.GLOBAL
    ) -> None:
        """Return when these steps are there.

        Raises:
            StepUnavailable: one was not saved, and later ones were.
            NoMoreData: the training has ended before one.
        """
        for step in required_steps:
            while (state := self._state_now(step, mode)) is not StepState.AVAILABLE:
                if state is StepState.UNAVAILABLE:
                    last = max(self.steps(mode=mode), default=-1)
                    if self.loaded_all_steps and step >= last:
                        raise NoMoreData(step, mode, last)
                    raise StepUnavailable(step, mode)
                time.sleep(EVERY_SECONDS)

    def _state_now(self, step: int, mode: ModeKeys) -> StepState:
        self.refresh_data()
        return self.has_passed_step(step, mode)

    # -- the rest ---------------------------------------------------------------------------

    def workers(self) -> list[str]:
        """The processes that saved."""
        self.maybe_refresh()
        return sorted({reader.worker for reader in self._readers.values()})

    def collections(self) -> dict[str, Collection]:
        """All collections."""
        return self.collection_manager.collections

    def collection(self, coll_name: str) -> Collection:
        """A collection."""
        return self.collection_manager.get(coll_name)

    def __hash__(self) -> int:
        return hash((self.name, self.path))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trial):
            return NotImplemented
        return (self.name, self.path) == (other.name, other.path)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__module__}.{type(self).__name__} object at {hex(id(self))}>:(\n"
            f"    name={self.name},\n    path={self.path},\n    steps={self.steps()},\n"
            f"    collections={list(self.collections())},\n"
            f"    tensor_names={self.tensor_names()},\n)"
        )


def _listed(near: list[str], every: Iterable[str]) -> str:
    names = near or sorted(every)[:5]
    return ", ".join(names) if names else "none at all"
