"""Which network addresses a photo may be fetched from: public ones, unless a setting allows more.

The rule is a list of what is allowed, not of what is refused: IPv4 and IPv6 addresses that IANA
registers as globally reachable, without those that lead elsewhere by translation. The
registries: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Address", "Network", "is_odd_number", "why_refused"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_KINDS: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a carrier's shared address"),
    ("127.0.0.0/8", "a loopback address"),
    ("168.63.129.16/32", "a cloud platform's own address"),
    ("169.254.0.0/16", "a link-local or metadata address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "an address for documentation"),
    ("192.31.196.0/24", "a reserved address"),
    ("192.52.193.0/24", "a reserved address"),
    ("192.88.99.0/24", "a translation relay"),
    ("192.168.0.0/16", "a private address"),
    ("192.175.48.0/24", "a reserved address"),
    ("198.18.0.0/15", "an address for benchmarks"),
    ("198.51.100.0/24", "an address for documentation"),
    ("203.0.113.0/24", "an address for documentation"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "an unspecified address"),
    ("::1/128", "a loopback address"),
    ("::ffff:0:0/96", "an IPv4 address written as IPv6"),
    ("64:ff9b::/96", "an address translated to IPv4"),
    ("64:ff9b:1::/48", "an address translated to IPv4"),
    ("2001::/23", "a reserved or tunnel address"),
    ("2001:db8::/32", "an address for documentation"),
    ("2002::/16", "an address tunnelled to IPv4"),
    ("2620:4f:8000::/48", "a reserved address"),
    ("3fff::/20", "an address for documentation"),
    ("fc00::/7", "a private or metadata address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a private address"),
    ("ff00::/8", "a multicast address"),
)
_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), kind) for network, kind in _KINDS
)
_ISATAP = re.compile(r"[0-9a-f:]*:0?[02]00:5efe:[0-9a-f]+:[0-9a-f]+")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)


def why_refused(address: Address, allowed: Iterable[Network] = ()) -> str | None:
    """What kind of address it is when nothing may be fetched from it, else None.

    Args:
        allowed: networks that a setting allows; an IPv4 address inside IPv6 counts by itself
            only when its IPv6 form is in one of them.
    """
    if any(address in network for network in allowed):
        return None
    for network, kind in _REFUSED:
        if address in network:
            return kind
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return "an address of one network card"
        if address not in _GLOBAL_UNICAST:
            return "a reserved address"
        if _ISATAP.fullmatch(address.exploded):
            return "an address tunnelled to IPv4"
    return None if address.is_global and not address.is_multicast else "a reserved address"


def is_odd_number(host: str) -> bool:
    """Whether a host would be read as an IPv4 address without being written as one.

    `2130706433`, `0x7f.1` and `0177.0.0.1` all lead to 127.0.0.1 in resolvers and browsers
    (WHATWG URL, "ends in a number"); only four plain decimal parts are taken.
    """
    last = host.rstrip(".").rpartition(".")[2]
    if not _NUMBER.fullmatch(last):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False
