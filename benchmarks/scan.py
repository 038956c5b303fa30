"""Claim: one million file names are scanned in under 1 GiB, with splits drawn.

Makes a tree of hard links (a thousand class folders, one inode each) in a temporary folder,
lists it in fresh processes in two ways, prints one table and deletes the tree:

- houndsight: `ImageFolder.open` and `with_splits`, as a run does;
- a list of (path, class) tuples made by `os.walk`, as torchvision's `ImageFolder` holds them.

    python benchmarks/scan.py [--photos 1000000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLASSES = 1000
LIMIT_BYTES = 1 << 30


def main() -> None:
    """Make the tree, measure both ways, print the table."""
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_measure(SIDES[arguments.side], arguments.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="houndsight-scan-") as folder:
        _make_tree(Path(folder), arguments.photos)
        sides = {
            side: [_in_fresh_process(side, folder) for _ in range(arguments.repeats)]
            for side in SIDES
        }
    _print_table(arguments.photos, sides)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def _make_tree(root: Path, photos: int) -> None:
    """A thousand class folders; the photos of one share an inode, to spare the disk."""
    for label in range(CLASSES):
        folder = f"{root}/n{label:08d}-class_{label:04d}"
        os.mkdir(folder)  # noqa: PTH102 - a million calls
        first = f"{folder}/n{label:08d}_0.jpg"
        with open(first, "wb"):  # noqa: PTH123
            pass
        for number in range(1, photos // CLASSES):
            os.link(first, f"{folder}/n{label:08d}_{number}.jpg")


def _houndsight(folder: str) -> int:
    from houndsight.data.folder import ImageFolder

    photos = ImageFolder.open(folder).with_splits()
    assert set(photos.split_sizes) == {"train", "valid", "test"}
    return len(photos)


def _list_of_tuples(folder: str) -> int:
    classes = {entry.name: n for n, entry in enumerate(os.scandir(folder)) if entry.is_dir()}
    samples = []
    for label, index in classes.items():
        for root, _, names in sorted(os.walk(os.path.join(folder, label))):  # noqa: PTH118
            for name in sorted(names):
                if name.lower().endswith((".jpg", ".png")):
                    samples.append((os.path.join(root, name), index))  # noqa: PERF401, PTH118
    return len(samples)


SIDES: dict[str, Callable[[str], int]] = {
    "houndsight": _houndsight,
    "list of tuples": _list_of_tuples,
}


def _measure(side: Callable[[str], int], folder: str) -> dict[str, float]:
    start = time.perf_counter()
    photos = side(folder)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "photos": photos,
        "seconds": seconds,
        "peak_bytes": peak * (1 if sys.platform == "darwin" else 1024),
    }


def _in_fresh_process(side: str, folder: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--folder", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _print_table(photos: int, sides: dict[str, list[dict[str, float]]]) -> None:
    # Imported here: the fresh processes would carry it otherwise.
    from _common import Table, machine

    print(f"{photos:,} file names in {CLASSES:,} class folders, {machine()},")
    print("median (range) of fresh processes, imports in")
    print()
    rows = [
        [
            side,
            _spread([run["seconds"] for run in runs]),
            _spread([run["peak_bytes"] / 2**20 for run in runs]),
        ]
        for side, runs in sides.items()
    ]
    print(Table(["way", "seconds", "peak RSS, MiB"], rows))
    print()
    worst = max(run["peak_bytes"] for run in sides["houndsight"])
    verdict = "holds" if worst < LIMIT_BYTES else "FAILS"
    print(f"Under 1 GiB: {verdict}, {worst / LIMIT_BYTES:.2f} of it at the worst.")


def _spread(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.1f} ({ordered[0]:.1f}-{ordered[-1]:.1f})"


if __name__ == "__main__":
    main()
