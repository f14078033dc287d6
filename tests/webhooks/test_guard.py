"""Which addresses webhooks may reach."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.webhooks.guard import AddressInfo, AddressRefusedError, Guard, is_public

REFUSED = [
    "0.0.0.0",  # noqa: S104 - an address to refuse, nothing listens
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.88.99.1",
    "192.168.1.1",
    "198.19.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
ODD = ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost", "", "127.0.0.1 "]


@pytest.mark.parametrize("address", [*REFUSED, *ODD])
def test_refused(address: str) -> None:
    assert not Guard().permits(address)


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::8.8.8.8"])
def test_permitted(address: str) -> None:
    assert Guard().permits(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"])
def test_an_allowed_network_holds_in_every_form(address: str) -> None:
    guard = Guard(["10.1.0.0/16", "fd00::/8"])

    assert guard.permits(address)
    assert guard.permits("fd00::1")
    assert not guard.permits("10.2.0.1")
    assert not guard.permits("127.0.0.1")


@given(st.ip_addresses())
def test_nothing_passes_that_python_knows_to_be_private(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        assert not address.is_private
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast
        assert not address.is_reserved
        assert not address.is_unspecified


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_inside_ipv6(address: IPv4Address) -> None:
    assert Guard().permits(f"::ffff:{address}") == Guard().permits(str(address))


def test_a_refused_address_gets_no_socket() -> None:
    info: AddressInfo = (
        socket.AF_INET,
        socket.SOCK_STREAM,
        socket.IPPROTO_TCP,
        "",
        ("169.254.169.254", 80),
    )

    with pytest.raises(AddressRefusedError, match=r"169\.254\.169\.254.*delivery\.allow_networks"):
        Guard().open_socket(info)
    Guard(["169.254.169.254/32"]).open_socket(info).close()
