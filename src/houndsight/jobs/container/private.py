"""What a script may change as if the machine were its own: the installed packages.

`pip install` inside a script writes into an overlay that ends with the job, as it would in a
container.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

__all__ = ["site_overlays"]


def site_overlays(aside: Path) -> list[dict[str, str]]:
    """Overlays over site-packages and the scripts of the environment this Python runs in.

    Only of a virtual environment that the person owns: nobody else's could be written to anyway,
    and an overlay over foreign files fails where they are not mapped.
    """
    if sys.prefix == sys.base_prefix:
        return []
    names = ("purelib", "platlib", "scripts")
    folders = dict.fromkeys(Path(sysconfig.get_path(name)) for name in names)
    overlays = []
    for number, folder in enumerate(folders):
        if not folder.is_dir() or folder.stat().st_uid != os.geteuid():
            continue
        place = aside / f".site-{number}"
        for part in ("upper", "work"):
            (place / part).mkdir(parents=True, exist_ok=True)
        overlays.append(
            {
                "target": str(folder),
                "lower": str(folder),
                "upper": str(place / "upper"),
                "work": str(place / "work"),
            }
        )
    return overlays
