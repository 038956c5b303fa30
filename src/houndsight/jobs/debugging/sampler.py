"""Samples the machine while a job runs, in the layout of SageMaker's system metrics.

`system/incremental/<YYYYMMDDHH>/<minute's first second>.<node>.json` holds a JSON line for each
figure of each sample: Type, Name, Dimension, Value, NodeId, Timestamp (seconds).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Row", "SystemSampler", "gpu_reader"]

Row = tuple[str, str, str, float]
"""Type, name, dimension, value."""
DEFAULT_INTERVAL_MS = 500
SHORTEST_MS, LONGEST_MS = 100, 60_000


class SystemSampler:
    """A thread that appends a sample every `interval_ms`, until it is closed.

    Args:
        folder: what S3 has as `profiler-output`.
        interval_ms: between samples; 100 to 60,000.
        node: the host, as the figures name it.
        until: a file that ends it when it appears.
    """

    def __init__(
        self,
        folder: Path,
        *,
        interval_ms: int = DEFAULT_INTERVAL_MS,
        node: str = "algo-1",
        until: Path | None = None,
    ) -> None:
        self.folder, self.node, self.until = folder, node, until
        self.interval_s = min(max(interval_ms, SHORTEST_MS), LONGEST_MS) / 1000
        self._closed = threading.Event()
        self._gpus = gpu_reader()
        self._cpu = psutil.cpu_times(percpu=True)
        self._network, self._network_at = _network(), time.monotonic()
        self._thread = threading.Thread(target=self._work, name="houndsight-sampler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Take the last sample and end."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _work(self) -> None:
        due = time.monotonic()
        while not self._closed.is_set() and not (self.until and self.until.exists()):
            due = max(due + self.interval_s, time.monotonic())
            self._closed.wait(due - time.monotonic())
            try:
                self.write(time.time(), list(self.sample()))
            except (OSError, psutil.Error):
                # A full disk, or a figure that the system does not give now: the next may work.
                continue

    def sample(self) -> Iterator[Row]:
        """The figures now, over the time since the call before."""
        yield from self._cores()
        yield ("memory", "MemoryUsedPercent", "Memory", psutil.virtual_memory().percent)
        yield from self._traffic()
        yield from self._gpus()

    def write(self, at: float, rows: list[Row]) -> None:
        """Append a sample to the file of its minute."""
        hour = time.strftime("%Y%m%d%H", time.gmtime(at))
        place = self.folder / "system" / "incremental" / hour
        place.mkdir(parents=True, exist_ok=True)
        lines = "".join(
            json.dumps(
                {
                    "Type": kind,
                    "Name": name,
                    "Dimension": dimension,
                    "Value": round(value, 2),
                    "NodeId": self.node,
                    "Timestamp": round(at, 4),
                }
            )
            + "\n"
            for kind, name, dimension, value in rows
        )
        with (place / f"{int(at // 60 * 60)}.{self.node}.json").open("a") as file:
            file.write(lines)

    def _cores(self) -> Iterator[Row]:
        before, self._cpu = self._cpu, psutil.cpu_times(percpu=True)
        for number, (old, new) in enumerate(zip(before, self._cpu, strict=False)):
            spent = {f: getattr(new, f) - getattr(old, f) for f in new._fields}
            # Linux counts a guest's time in the user's as well.
            total = sum(v for f, v in spent.items() if not f.startswith("guest"))
            waiting = spent.get("iowait", 0.0)
            idle = spent.get("idle", 0.0) + waiting
            busy = 100 * (total - idle) / total if total > 0 else 0.0
            wait = 100 * waiting / total if total > 0 else 0.0
            yield ("cpu", f"cpu{number}", "CPUUtilization", min(max(busy, 0.0), 100.0))
            yield ("cpu", f"cpu{number}", "I/OWaitPercentage", min(max(wait, 0.0), 100.0))

    def _traffic(self) -> Iterator[Row]:
        before, at = self._network, self._network_at
        self._network, self._network_at = _network(), time.monotonic()
        seconds = max(self._network_at - at, 1e-3)
        for name, old, new in zip(
            ("ReceiveBytesPerSecond", "TransmitBytesPerSecond"), before, self._network, strict=True
        ):
            yield ("network", name, "Algorithm", max(new - old, 0) / seconds)


def _network() -> tuple[int, int]:
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)


def gpu_reader() -> Callable[[], Iterator[Row]]:
    """Gives the figures of each GPU; nothing where there is none or no library for it."""
    try:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:
        return lambda: iter(())

    def read() -> Iterator[Row]:
        for number, handle in enumerate(handles):
            try:
                used: Any = pynvml.nvmlDeviceGetUtilizationRates(handle)
                memory: Any = pynvml.nvmlDeviceGetMemoryInfo(handle)
            except pynvml.NVMLError:
                continue
            share = 100 * memory.used / max(memory.total, 1)
            yield ("gpu", f"gpu{number}", "GPUUtilization", float(used.gpu))
            yield ("gpu", f"gpu{number}", "GPUMemoryUtilization", float(share))

    return read
