"""The settings of the data: how photos are found, split, checked and decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting
from houndsight.data.grouping import parse_group

__all__ = ["DataSettings"]


@dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """What a person may choose about their photos."""

    section: ClassVar[str] = "data"
    beside_data: ClassVar[bool] = True

    seed: int = setting(0, minimum=0, maximum=2**32 - 1)
    """The number that the drawing of splits starts from: the same photos and the same seed give
    the same splits on every machine."""

    valid_share: float = setting(0.15, minimum=0.01, maximum=0.4)
    """The share of the photos drawn for validation, 0.15 for 15 %, where the data brings no
    validation split. Hyperparameters are chosen on it."""

    test_share: float = setting(0.15, minimum=0.01, maximum=0.4)
    """The share of the photos drawn for the test, where the data brings no split to test on. It is
    looked at once, at the end."""

    group: str | None = setting(None)
    """What must never stand on two sides of a split, such as a patient, a camera or a video.
    `level:2` is the second folder of a photo's path below the root, `column:patient` a column of
    the label table, `pattern:(patient[0-9]+)_` what the brackets match in the file name."""

    fit: str = setting("auto", choices=("auto", "crop", "squash", "letterbox"))
    """How a photo becomes a square: `crop` scales the shorter side and cuts the middle out,
    `squash` changes the proportions, `letterbox` adds borders; `auto` takes what fits the
    photos' shapes."""

    size: int | None = setting(None, minimum=32, maximum=2048)
    """Edge of the square that the network sees, in pixels; by default the backbone's own, or less
    for small photos."""

    max_megapixels: float = setting(100.0, minimum=0.01, maximum=10_000)
    """Photos with more million pixels than this are set aside before they are decoded, so that
    a decompression bomb cannot fill the memory."""

    minimum_edge_px: int = setting(32, minimum=1, maximum=4096)
    """Photos whose shorter side has fewer pixels than this are called tiny."""

    near_duplicate_bits: int = setting(6, minimum=0, maximum=16)
    """Two photos can be near-duplicates when at most this many of the 64 bits of their perceptual
    hashes differ; each pair is then confirmed on a finer signature."""

    workers: int | None = setting(None, minimum=0, maximum=256)
    """Processes that decode photos; by default one a processor core, 0 decodes in the main
    process."""

    max_download_gb: float = setting(100.0, minimum=0.001, maximum=100_000)
    """Most gigabytes (10^9 bytes) fetched from an address or a bucket."""

    max_unpacked_gb: float = setting(200.0, minimum=0.001, maximum=100_000)
    """Most gigabytes (10^9 bytes) that an archive may hold unpacked."""

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return round(self.max_megapixels * 1e6)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group is not None:
            parse_group(self.group)
