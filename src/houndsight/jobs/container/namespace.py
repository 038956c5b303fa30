"""What this system allows a job: a private `/opt/ml`, and overlays for what it may write into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from houndsight.config import cache_home
from houndsight.files import write_atomic

__all__ = ["ENTER", "Isolation", "isolation"]

ENTER = Path(__file__).with_name("enter.py")
SWITCH = "HOUNDSIGHT_NAMESPACES"
"""`off`: no namespaces, though the system allows them."""
PROBE_SECONDS = 20


@dataclass(frozen=True)
class Isolation:
    """`kind` is `root`, `user` or "" (none, for `reason`)."""

    kind: str = ""
    overlay: bool = False
    reason: str = ""

    @property
    def ml_root(self) -> str:
        """`/opt/ml` when the script will find it there, else ""."""
        return "/opt/ml" if self.kind else ""


def isolation(folder: Path) -> Isolation:
    """Try it, with an overlay on the disk of `folder`; remembered until the machine restarts."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return Isolation(reason=f"{SWITCH} is off")
    if not sys.platform.startswith("linux"):
        return Isolation(reason=f"{sys.platform} has no mount namespaces")
    remembered = cache_home() / "isolation.json"
    key = _key(folder)
    try:
        row = json.loads(remembered.read_bytes())
        if row.pop("key") == key:
            return Isolation(**row)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    found = _try_all(folder)
    _remember(remembered, key, found)
    return found


def _try_all(folder: Path) -> Isolation:
    reason = ""
    for kind in ("root", "user") if os.geteuid() == 0 else ("user",):
        for overlay in (True, False):
            problem = _try(folder, kind, overlay=overlay)
            if not problem:
                return Isolation(kind, overlay)
            reason = problem
    return Isolation(reason=reason)


def _try(folder: Path, kind: str, *, overlay: bool) -> str:
    """Why it does not go; "" when it does."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as name:
        place = Path(name)
        for part in ("ml/channel", "lower", "upper", "work"):
            (place / part).mkdir(parents=True)
        mount = {k: str(place / k) for k in ("lower", "upper", "work")}
        mount["target"] = str(place / "ml" / "channel")
        plan = {
            "namespace": kind,
            "ml": str(place / "ml"),
            "hostname": "algo-1",
            "cwd": "/opt/ml",
            "overlays": [mount] if overlay else [],
        }
        (place / "plan.json").write_text(json.dumps(plan))
        # What a script would do: make a file and a folder, rename what was there.
        script = "mkdir channel/a && echo x > channel/a/b && mv channel/a channel/c"
        command = [sys.executable, "-I", "-S", str(ENTER), str(place / "plan.json"), "--"]
        try:
            done = subprocess.run(
                [*command, "/bin/sh", "-c", script],
                capture_output=True,
                text=True,
                timeout=PROBE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        finally:
            _make_removable(place)
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return "" if done.returncode == 0 else last.rpartition("could not be made: ")[2]


def _make_removable(place: Path) -> None:
    """The kernel leaves a folder that its owner may not even list."""
    inner = place / "work" / "work"
    if inner.is_dir():
        inner.chmod(0o700)


def _key(folder: Path) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"1 {boot} {os.geteuid()} {folder.stat().st_dev} {sys.executable}"


def _remember(path: Path, key: str, found: Isolation) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"key": key, **asdict(found)}).encode())
    except OSError:
        return  # a cache that cannot be written costs a moment at each job
