"""Which `Host` headers are answered, and the one path that needs no signature.

A web page may point a name of its own at 127.0.0.1 and so reach this machine's ports from a
browser (DNS rebinding); the `Host` header then holds that name, and is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from houndsight.aws.service import AwsError

__all__ = ["HEALTH", "AllowedHosts", "bucket_of_host", "is_loopback"]

HEALTH = "/_houndsight/health"
"""Answered without a signature. No bucket can be called so: names have no underscore."""

_VIRTUAL = ".localhost"
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(?::[0-9]{1,5})?")


class AllowedHosts:
    """Loopback always; `names` too; and every IP address when `addresses` (no rebinding there)."""

    def __init__(self, names: Iterable[str] = (), *, addresses: bool = False) -> None:
        self._names = {name.lower() for name in names}
        self._addresses = addresses
        self._known: dict[str, bool] = {}

    def check(self, host: str) -> None:
        """Let `host`, a header's value, pass.

        Raises:
            AwsError: it is not known here.
        """
        allowed = self._known.get(host)
        if allowed is None:
            allowed = self._allows(host)
            if len(self._known) < 1000:
                self._known[host] = allowed
        if not allowed:
            raise AwsError(
                "AccessDenied",
                f"The Host header {host[:100]!r} is none of this server's. Use 127.0.0.1 or"
                " localhost, or start it with houndsight up --allow-host NAME.",
                status=403,
            )

    def _allows(self, host: str) -> bool:
        matched = _HOST.fullmatch(host)
        if matched is None:
            return False
        name = matched["name"].strip("[]").lower().removesuffix(".")
        if name in self._names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._addresses or address.is_loopback


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bucket_of_host(host: str) -> str:
    """The bucket that stands before `.s3.localhost` or `.localhost`; "" where none does."""
    name = host.rpartition(":")[0] or host
    if not name.endswith(_VIRTUAL):
        return ""
    name = name.removesuffix(_VIRTUAL)
    return "" if name == "s3" else name.removesuffix(".s3")
