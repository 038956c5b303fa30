"""How one host sees a channel: writable, and whatever it writes is its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from houndsight.jobs.container.clone import clone_tree

__all__ = ["ChannelView", "make_view"]


@dataclass(frozen=True)
class ChannelView:
    """A channel's folder on one host; `overlay` is what `enter` mounts there, if anything."""

    folder: Path
    source: Path
    overlay: dict[str, str] | None = None

    def read(self, path: str) -> bytes | None:
        """A file as the script will see it, None when there is none."""
        for place in (self._writable / path, self.source / path):
            if place.is_file():
                return place.read_bytes()
        return None

    def write(self, path: str, content: bytes) -> None:
        """Change or add a file for this host alone, before its script starts."""
        target = self._writable / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    @property
    def _writable(self) -> Path:
        return Path(self.overlay["upper"]) if self.overlay else self.folder


def make_view(source: Path, folder: Path, aside: Path, *, overlay: bool) -> ChannelView:
    """Let `folder` show what `source` holds.

    With `overlay` what is written goes to `aside/upper`, once `enter` has mounted it; without,
    `folder` is a copy, which costs no space where the file system can share blocks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not overlay:
        clone_tree(source, folder)
        return ChannelView(folder, source)
    upper, work = aside / "upper", aside / "work"
    for made in (upper, work):
        made.mkdir(parents=True, exist_ok=True)
    mount = {"target": folder, "lower": source, "upper": upper, "work": work}
    return ChannelView(folder, source, {k: str(v) for k, v in mount.items()})
