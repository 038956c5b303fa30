"""The settings of the endpoint: where it listens and every limit it keeps."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting
from houndsight.errors import SettingError

__all__ = ["FORMATS", "ServingSettings"]

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff")
"""The formats that `formats` may name."""


@dataclass(frozen=True, kw_only=True)
class ServingSettings(Settings):
    """What a person may choose about the endpoint; every limit is on by default."""

    section: ClassVar[str] = "serving"

    host: str = setting("127.0.0.1")
    """Address to listen on; `0.0.0.0` is every network this machine is in."""

    port: int = setting(8080, minimum=0, maximum=65_535)
    """Port to listen on; 0 takes a free one and prints it."""

    backend: str = setting("auto", choices=("auto", "openvino", "onnx", "torch"))
    """What computes: `auto` takes the model's graph, or PyTorch where it has none."""

    top: int = setting(5, minimum=1, maximum=100_000)
    """How many of the likeliest classes an answer holds unless the request asks otherwise."""

    max_batch: int = setting(16, minimum=1, maximum=1024)
    """Most photos computed at once."""

    max_wait_ms: float = setting(5.0, minimum=0, maximum=10_000)
    """Longest wait for photos that are still being decoded, so that they join the batch. A photo
    that is alone in the house never waits."""

    max_waiting: int = setting(256, minimum=1, maximum=100_000)
    """Most photos in the house at once; a request above it is answered 503."""

    decode_threads: int | None = setting(None, minimum=1, maximum=256)
    """Threads that decode photos; by default one a processor core."""

    compute_threads: int | None = setting(None, minimum=1, maximum=256)
    """Threads that compute one batch; by default one a processor core."""

    max_upload_bytes: int = setting(20_000_000, minimum=1_000, maximum=2_000_000_000)
    """Longest body of a request, in bytes; a longer one is cut off and answered 413."""

    max_instances: int = setting(64, minimum=1, maximum=10_000)
    """Most photos in one request."""

    max_megapixels: float = setting(100.0, minimum=0.01, maximum=10_000)
    """A photo with more million pixels than this is refused before it is decoded, with 413."""

    formats: tuple[str, ...] = setting(("jpeg", "png", "webp"))
    """Photo formats that are decoded, whatever a request says it sends: some of jpeg, png, webp,
    gif, bmp and tiff."""

    upload_timeout_s: float = setting(30.0, minimum=0.1, maximum=3600)
    """Longest time a request's body may take to arrive, in seconds; then 408."""

    answer_timeout_s: float = setting(60.0, minimum=0.1, maximum=3600)
    """Longest time from the body's end to the answer, in seconds; then 503."""

    shutdown_timeout_s: int = setting(30, minimum=0, maximum=3600)
    """After a stop signal, seconds that requests under way have to finish."""

    urls: bool = setting(True)
    """Whether a request may name a photo by its address, `{"url": ...}`."""

    url_ports: tuple[int, ...] = setting((80, 443))
    """Ports that a photo's address may name."""

    url_networks: tuple[str, ...] = setting(())
    """Networks that a photo's address may lead to although they are private, loopback or
    link-local, such as `10.1.0.0/16`. Empty: public addresses only."""

    url_max_bytes: int = setting(20_000_000, minimum=1_000, maximum=2_000_000_000)
    """Longest photo fetched from an address, in bytes."""

    url_timeout_s: float = setting(10.0, minimum=0.1, maximum=600)
    """Longest time for fetching a photo, redirects included, in seconds."""

    url_redirects: int = setting(3, minimum=0, maximum=20)
    """Most redirects followed; each is checked as the first address was."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.formats:
            if name not in FORMATS:
                raise SettingError(
                    f"serving.formats holds {name!r}; it may hold {', '.join(FORMATS)}."
                )
        for network in filter(None, self.url_networks):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise SettingError(
                    f"serving.url_networks holds {network!r}: {error}; write it as 10.1.0.0/16."
                ) from error

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return round(self.max_megapixels * 1e6)
