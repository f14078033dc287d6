"""Addresses that webhooks do not reach: whatever is not public, unless it is allowed.

A receiver's URL must not become a way into the network that the worker runs in. The address is
judged when the socket for it is made, so after every name was resolved: a name that changes its
address between a check and its use gains nothing, and an odd spelling of an address neither.
"""

import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""Family, type, protocol, canonical name and socket address, as from `socket.getaddrinfo`."""

# Spelled out, as `ipaddress.is_global` differs between patch releases of Python.
# IANA IPv4 Special-Purpose Address Registry (RFC 6890 and its updates), multicast and class E.
_REFUSED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # a platform service of Azure, at a public address
        "169.254.0.0/16",  # link-local: metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Public IPv6 addresses are all in 2000::/3: without unique local (metadata services again),
# link-local, multicast and the rest. What else is special in it, IANA IPv6 Special-Purpose
# Address Registry:
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, with Teredo's 2001::/32
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address is in the last 32 bits


class AddressRefusedError(PermissionError):
    """An address that is not public and not allowed."""

    def __init__(self, address: str) -> None:
        super().__init__(
            errno.EACCES,
            f"{address} is not a public address; delivery.allow_networks can allow it",
        )


class Guard:
    """Lets connections out to public addresses, and to the networks `allow` (CIDR)."""

    def __init__(self, allow: Iterable[str | Network] = ()) -> None:
        self._allow = tuple(ip_network(network) for network in allow)

    def permits(self, address: str) -> bool:
        """Tell whether a connection to an address, in its usual notation, may be made."""
        try:
            target = _embedded(ip_address(address))
        except ValueError:
            return False
        return is_public(target) or any(target in network for network in self._allow)

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Make the socket for a connection: a `socket_factory` of `aiohttp.TCPConnector`.

        Raises:
            AddressRefusedError: if the connection may not be made.
        """
        family, kind, protocol, _, target = info
        if not self.permits(target[0]):
            raise AddressRefusedError(target[0])
        return socket.socket(family, kind, protocol)


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public internet's."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _REFUSED_IPV6)


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it is only its wrapping.

    6to4 and Teredo addresses are not unwrapped: nobody needs them, they are refused as they are.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
