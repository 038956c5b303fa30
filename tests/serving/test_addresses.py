import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.serving.addresses import is_odd_number, why_refused


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "shared"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("168.63.129.16", "cloud platform"),
        ("192.0.0.192", "reserved"),
        ("198.18.0.1", "benchmarks"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "reserved"),
        ("::ffff:127.0.0.1", "IPv4"),
        ("::ffff:8.8.8.8", "IPv4"),
        ("64:ff9b::7f00:1", "translated"),
        ("64:ff9b::8.8.8.8", "translated"),
        ("64:ff9b:1::a00:1", "translated"),
        ("2002:7f00:1::", "tunnelled"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "tunnel"),
        ("2600:1f18::5efe:a00:1", "tunnelled"),
        ("fd00:ec2::254", "metadata"),
        ("fc00::1", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("2600::1%eth0", "network card"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "documentation"),
        ("4000::1", "reserved"),
    ],
)
def test_addresses_that_are_refused(address: str, kind: str) -> None:
    assert kind in (why_refused(ipaddress.ip_address(address)) or "allowed")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert why_refused(ipaddress.ip_address(address)) is None


def test_a_setting_allows_a_network_and_no_other() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16")]
    assert why_refused(ipaddress.ip_address("10.1.2.3"), allowed) is None
    assert why_refused(ipaddress.ip_address("10.2.2.3"), allowed)
    assert why_refused(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)


@given(st.ip_addresses())
def test_nothing_local_passes(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    local = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or not address.is_global
    )
    embedded = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if local or embedded or getattr(address, "teredo", None):
        assert why_refused(address) is not None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_never_passes_inside_ipv6(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for wrapped in (
        number,
        0xFFFF << 32 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80,
    ):
        assert why_refused(ipaddress.IPv6Address(wrapped)) is not None


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "1.2.3.256", "1.1.1.1.", "foo.1"],
)
def test_odd_ways_to_write_a_number(host: str) -> None:
    assert is_odd_number(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "example.com", "1.example", "0x7f.example", "::1"])
def test_names_and_plain_addresses(host: str) -> None:
    assert not is_odd_number(host)
