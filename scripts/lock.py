"""Write requirements.lock: every package with its version and hashes, for Linux on x86-64.

Resolves all extras together, so that the official `sagemaker` 2.x installs beside everything,
with the oldest supported Python; then collects, for the same versions, the hashes of the wheels
for every supported Python. Run it with that oldest Python: `make lock`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
PROJECT = Path(__file__).resolve().parents[1]
INSTALLED_EXTRAS = "demo,doctor,onnx,platform,sagemaker,dev"
ALL_EXTRAS = INSTALLED_EXTRAS
PAIRS = ("torch==2.14.1", "torchvision==0.29.2")
"""torchvision is built for one torch, but its metadata does not always say for which."""
LATER = {"pyyaml-ft": "3.13"}
"""What only that Python needs (libcst): pip reads markers by the Python that it runs with."""


def main() -> None:
    """Resolve, collect, write."""
    oldest = f"{sys.version_info.major}.{sys.version_info.minor}"
    if oldest != PYTHONS[0]:
        sys.exit(f"lock with Python {PYTHONS[0]}, the oldest supported; this is {oldest}")
    with tempfile.TemporaryDirectory() as folder:
        together = _resolve([f"{PROJECT}[{ALL_EXTRAS}]", *PAIRS], Path(folder), None, None)
        pins = {name: version for name, (version, _) in together.items()}
        constraints = Path(folder) / "pins.txt"
        constraints.write_text("".join(f"{n}=={v}\n" for n, v in pins.items()))
        hashes: dict[str, set[str]] = defaultdict(set)
        for python in PYTHONS:
            wanted = [f"{PROJECT}[{INSTALLED_EXTRAS}]"]
            found = _resolve(wanted, Path(folder), python, constraints)
            for name in (name for name, needs in LATER.items() if needs == python):
                alone = ["--no-deps", "--ignore-requires-python", name]
                found |= _resolve(alone, Path(folder), python, constraints)
            for name, (version, digest) in found.items():
                pins.setdefault(name, version)
                hashes[name].add(digest)
    lines = [f"# Made by scripts/lock.py for Linux x86-64 and Python {', '.join(PYTHONS)}.\n"]
    for name in sorted(hashes):
        digests = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(hashes[name]))
        only = f'; python_version == "{LATER[name]}"' if name in LATER else ""
        lines.append(f"{name}=={pins[name]}{only}{digests}\n")
    (PROJECT / "requirements.lock").write_text("".join(lines))


def _resolve(
    wanted: list[str], folder: Path, python: str | None, constraints: Path | None
) -> dict[str, tuple[str, str]]:
    """{package: (version, sha256)} as pip would install it, without installing."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
    command += ["--ignore-installed", "--report", str(report), *wanted]
    if python is not None:
        command += ["--python-version", python, "--only-binary", ":all:"]
        command += ["--target", str(folder / "target")]
    if constraints is not None:
        command += ["--constraint", str(constraints)]
    subprocess.run(command, check=True)
    found = {}
    for item in json.loads(report.read_text())["install"]:
        name = item["metadata"]["name"].lower().replace("_", "-")
        if name == "houndsight":
            continue
        info = item["download_info"]["archive_info"]
        found[name] = (item["metadata"]["version"], info["hashes"]["sha256"])
    return found


if __name__ == "__main__":
    main()
