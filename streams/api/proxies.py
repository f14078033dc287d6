"""Who is behind a proxy: nobody is local through one, unless the proxy is trusted and says so.

Each proxy adds the address that it was asked from: at the right of `X-Forwarded-For`, or as `for=`
of `Forwarded` (RFC 7239). What a client has written is at the left, so a header is read from the
right, and only as far as the addresses there are trusted proxies.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias
from urllib.parse import urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

from streams.configuration.addresses import address_of, is_loopback

Headers: TypeAlias = CIMultiDict[str] | CIMultiDictProxy[str]
Network: TypeAlias = IPv4Network | IPv6Network

# Written by proxies, and by no client of its own accord.
_OF_PROXIES = ("Forwarded", "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Client-IP")
_PREFIXES_OF_PROXIES = ("x-forwarded-", "x-original-", "cf-connecting-")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf"[ \t]*([A-Za-z]+)=({_QUOTED}|[^\s;,\"\\]*)[ \t]*")
_ELEMENT = re.compile(rf"{_PAIR.pattern}(?:;{_PAIR.pattern})*")


def came_through_proxy(headers: Headers) -> bool:
    """Tell whether a proxy left a trace."""
    return any(name in headers for name in _OF_PROXIES) or any(
        name.lower().startswith(_PREFIXES_OF_PROXIES) for name in headers
    )


class Proxies:
    """The proxies that are trusted.

    Args:
        networks: their addresses.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def are_local(self, headers: Headers, remote: str) -> bool:
        """Tell whether a request comes from this machine, by addresses and names of loopback alone.

        The name that was asked for has to be one of loopback as well, or any page in a browser
        here could ask under a name of its own (DNS rebinding).
        """
        if not is_loopback(remote):
            return False
        if not came_through_proxy(headers):
            return is_loopback(_host_name(headers.get("Host", "")))
        if not self.trusts(remote):
            return False
        clients = [*self._clients(headers)]
        hosts = forwarded_hosts(headers)
        return (
            bool(clients and hosts)
            and all(map(is_loopback, clients))
            and all(is_loopback(_host_name(host)) for host in hosts)
        )

    def client(self, headers: Headers, remote: str) -> str:
        """Return the address that a request comes from, as far as trusted proxies say."""
        if not self.trusts(remote):
            return remote
        return next(iter(self._clients(headers)), remote)

    def trusts(self, remote: str) -> bool:
        """Tell whether this is the address of a trusted proxy."""
        address = address_of(remote)
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )

    def _clients(self, headers: Headers) -> Iterable[str]:
        """Return the client by each header that names one; they may not agree."""
        chains = (
            [_without_port(each) for each in _listed(headers, "X-Forwarded-For")],
            [_without_port(each) for each in _forwarded(headers, "for")],
            [_without_port(each) for each in _listed(headers, "X-Real-IP")],
        )
        return [self._client(chain) for chain in chains if chain]

    def _client(self, chain: list[str]) -> str:
        for hop in reversed(chain):
            if not self.trusts(hop):
                return hop
        return chain[0]


def forwarded_hosts(headers: Headers) -> list[str]:
    """Return the hosts, with ports, that proxies say were asked for."""
    return [*_listed(headers, "X-Forwarded-Host"), *_forwarded(headers, "host")]


def _listed(headers: Headers, name: str) -> list[str]:
    return [each.strip() for value in headers.getall(name, []) for each in value.split(",")]


def _forwarded(headers: Headers, name: str) -> list[str]:
    """Return a parameter of all elements of `Forwarded`; empty text where it is not there."""
    return [
        element.get(name, "")
        for value in headers.getall("Forwarded", [])
        for element in _elements(value)
    ]


def _elements(value: str) -> list[dict[str, str]]:
    """Take a `Forwarded` apart; one empty element if that cannot be done to its end.

    Half a quotation by a client could otherwise swallow what a proxy has added after it.
    """
    elements, at = [], 0
    while found := _ELEMENT.match(value, at):
        elements.append({n.lower(): _unquoted(text) for n, text in _PAIR.findall(found[0])})
        at = found.end()
        if at == len(value):
            return elements
        if value[at] != ",":
            break
        at += 1
    return [{}]


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _without_port(node: str) -> str:
    """Return the address of `192.0.2.1:80`, `[2001:db8::1]:80` or `2001:db8::1`."""
    found = re.fullmatch(r"\[([^\]]*)\](?::\d+)?|([^:]*)(?::\d+)?", node)
    return (found[1] or found[2] or "") if found else node


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
