"""What SDK 3 sends along: its drivers (channel `sm_drivers`) and the source (channel `code`)."""

from __future__ import annotations

import json
import re

from houndsight.jobs.container.channels.view import ChannelView
from houndsight.jobs.container.host import Host

__all__ = ["CHANNEL", "CODE", "adapt", "requirements_name"]

CHANNEL = "sm_drivers"
CODE = "code"
ENVIRONMENT = "scripts/environment.py"
MAX_DRIVER_BYTES = 1_000_000
_PREFIX = re.compile(rb"/opt/ml(?![\w.-])")
_PORT = re.compile(rb"^SM_MASTER_PORT = \d+$", re.M)


def adapt(view: ChannelView, host: Host) -> None:
    """Give the drivers this host's port and, without a private view, the real folder."""
    for path in sorted(view.source.rglob("*")):
        if not path.is_file() or path.stat().st_size > MAX_DRIVER_BYTES:
            continue
        name = str(path.relative_to(view.source))
        before = after = path.read_bytes()
        if not host.private:
            after = _PREFIX.sub(host.ml.encode().replace(b"\\", rb"\\"), after)
        if name == ENVIRONMENT:
            after = _PORT.sub(f"SM_MASTER_PORT = {host.master_port}".encode(), after)
        if after != before:
            view.write(name, after)


def requirements_name(view: ChannelView | None) -> str:
    """The requirements file that the source is said to have."""
    if view is None:
        return ""
    try:
        said = json.loads(view.read("sourcecode.json") or b"{}")
    except ValueError:
        return ""
    name = said.get("requirements") if isinstance(said, dict) else None
    return name if isinstance(name, str) and ".." not in name else ""
