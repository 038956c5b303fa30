"""Claim: features come at 4 times the rate of eager PyTorch (2 without bf16 instructions),
decoding included, and at 80 % or more of the bare graph's rate on photos of 1 MP and more.

Makes JPEGs of 1 to 2 MP (enlarged photos with fresh noise, so that they are as hard to decode as
a camera's), and sends the same ones, a chunk a round, through four ways that take turns:

- houndsight: `FeatureCache.features` into an empty cache: workers started, photos decoded, rows
  written and synced; the graph is compiled beforehand;
- bare graph: the same compiled graph on pixels that are decoded and normalised already;
- eager: PyTorch in float32 behind a `DataLoader` as it comes (decoding in the same process), as
  the original project runs it;
- eager, workers: the same behind a `DataLoader` with a worker for each core.

    python benchmarks/features.py [--photos 64] [--rounds 5] [--weights FILE] [--source FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _common import DOGS, RESNET50, Table, machine, there
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from houndsight.data.decode import decode, normalise
from houndsight.data.folder import ImageFolder, Split
from houndsight.models.backbone import Backbone, load_backbone
from houndsight.models.features import FeatureCache
from houndsight.models.openvino_trunk import cpu_precision
from houndsight.models.runtime import compile_trunk

BATCH = 32
RESAMPLES = 2_000


def main() -> None:
    """Make the photos, let the ways take turns, print the table."""
    arguments = _arguments()
    if not there(arguments.weights, arguments.source):
        return
    backbone = load_backbone(str(arguments.weights))
    with tempfile.TemporaryDirectory(prefix="houndsight-features-") as folder:
        root = Path(folder)
        megapixels = _make_photos(arguments.source, root / "photos", arguments.photos)
        photos = ImageFolder.open(root / "photos").all()
        started = time.perf_counter()
        runtime = compile_trunk(backbone).description
        compiling = time.perf_counter() - started
        ways = _ways(backbone, photos, root / "caches")
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                rates[name].append(len(photos) / (time.perf_counter() - started))
    _print_table(rates, backbone, len(photos), megapixels, runtime, compiling)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", type=Path, default=RESNET50)
    parser.add_argument("--source", type=Path, default=DOGS / "valid")
    return parser.parse_args()


def _make_photos(source: Path, target: Path, count: int) -> float:
    """`count` JPEGs of 1 to 2 MP in two class folders; returns their mean size in megapixels."""
    random = np.random.default_rng(0)
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    pixels = []
    for number, path in enumerate(found[:: max(1, len(found) // count)][:count]):
        area, aspect = random.uniform(1.0e6, 2.0e6), random.uniform(1.2, 1.6)
        size = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        image = Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        grain = random.normal(0, 6, (size[1], size[0], 3))
        noisy = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
        folder = target / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        noisy.save(folder / f"{number:04d}.jpg", quality=90)
        pixels.append(size[0] * size[1])
    return float(np.mean(pixels)) / 1e6


class _Photos(Dataset[torch.Tensor]):
    """Photos through torchvision's usual evaluation transforms."""

    def __init__(self, split: Split, backbone: Backbone) -> None:
        rules = backbone.preprocessing
        self.paths = [str(path) for path in split.paths()]
        self.transform = transforms.Compose(
            [
                transforms.Resize(round(rules.size / rules.crop_fraction)),
                transforms.CenterCrop(rules.size),
                transforms.ToTensor(),
                transforms.Normalize(rules.mean, rules.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = self.transform(Image.open(self.paths[index]).convert("RGB"))
        return image


def _ways(backbone: Backbone, photos: Split, caches: Path) -> dict[str, Callable[[], None]]:
    trunk = compile_trunk(backbone)
    rules = backbone.preprocessing
    first = photos.take(range(trunk.batch_size)).paths()
    images = normalise(np.stack([decode(path, rules) for path in first]), rules)
    passes = iter(range(1_000_000))

    def houndsight() -> None:
        FeatureCache(caches / str(next(passes))).features(backbone, photos)

    def bare_graph() -> None:
        tickets = []
        for _ in range(len(photos) // trunk.batch_size):
            tickets.append(trunk.submit(images))
            if len(tickets) > trunk.ahead:
                trunk.result(tickets.pop(0))
        for ticket in tickets:
            trunk.result(ticket)

    def eager(workers: int) -> None:
        loader = DataLoader(_Photos(photos, backbone), batch_size=BATCH, num_workers=workers)
        with torch.inference_mode():
            for batch in loader:
                backbone(batch)

    return {
        "houndsight": houndsight,
        "bare graph": bare_graph,
        "eager": lambda: eager(0),
        "eager, workers": lambda: eager(torch.get_num_threads()),
    }


def _print_table(
    rates: dict[str, list[float]],
    backbone: Backbone,
    count: int,
    megapixels: float,
    runtime: str,
    compiling: float,
) -> None:
    target = 4.0 if cpu_precision() == "bf16" else 2.0
    print(f"{count} photos of {megapixels:.1f} MP on average, {backbone.name}, {runtime},")
    print(f"{machine()};")
    print(f"median of {len(rates['eager'])} rounds; compiling took {compiling:.1f} s once.")
    print()
    rows = []
    for name, values in rates.items():
        ratio = "" if name == "houndsight" else _interval(rates["houndsight"], values)
        rows.append([name, f"{np.median(values):.1f}", ratio])
    print(Table(["way", "photos/s", "houndsight is (95 % interval)"], rows))
    print()
    _verdict("eager", rates, target)
    _verdict("bare graph", rates, 0.8)


def _interval(ours: list[float], theirs: list[float]) -> str:
    """Median ratio of the rounds with a bootstrap interval."""
    ratios = np.array(ours) / np.array(theirs)
    drawn = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.2f} times ({low:.2f}-{high:.2f})"


def _verdict(other: str, rates: dict[str, list[float]], target: float) -> None:
    ratio = float(np.median(np.array(rates["houndsight"]) / np.array(rates[other])))
    verdict = "holds" if ratio >= target else "FAILS"
    print(f"At least {target:g} times the {other} rate: {verdict}, {ratio:.2f}.")


if __name__ == "__main__":
    main()
