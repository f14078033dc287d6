"""Where the HTTP API can be reached: hosts to listen on, and URLs that others can follow.

An IPv6 address is in brackets in a URL (RFC 3986, 3.2.2) and without them where one listens.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

LONGEST_URL = 2048
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)


@lru_cache(maxsize=1_024)
def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is; null for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's loopback."""
    address = address_of(host)
    if address is None:
        return host.lower().rstrip(".") == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def listening_host(host: str) -> str:
    """Return a host to listen on, without brackets.

    Raises:
        ValueError: if it is neither an address nor a host name; says what is expected.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if address_of(bare) is not None:
        return bare
    if not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
        raise ValueError("expected an address or a host name, without port, such as 127.0.0.1")
    return host


def advertised_url(url: str) -> str:
    """Return the URL under which others reach the API, without a slash at its end.

    Raises:
        ValueError: if others could not follow it; says why.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected a URL such as http://10.0.0.7:8080 or http://[fd00::7]:8080")
    if "@" in parts.netloc:
        raise ValueError("expected a URL without user and password")
    if "?" in url or "#" in url:
        raise ValueError("expected a URL without ? and #: routes are added to it")
    if len(url) > LONGEST_URL:
        raise ValueError(f"expected at most {LONGEST_URL} characters")
    reason = _why_not(parts.hostname)
    if reason:
        raise ValueError(reason)
    if not url.isascii():
        raise ValueError("expected ASCII: percent-encode the path")
    return url.rstrip("/")


def url_of(host: str, port: int, *, tls: bool = False) -> str | None:
    """Return the URL of a host that is listened on, or null if there is none to be followed.

    Every interface (0.0.0.0, ::) is not one address, and a zone (fe80::1%eth0) means something on
    this machine alone.
    """
    if _why_not(host):
        return None
    scheme = "https" if tls else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _split(url: str) -> SplitResult | None:
    if any(character.isspace() or not character.isprintable() for character in url):
        return None
    try:
        parts = urlsplit(url)
        if parts.port == 0 or parts.netloc.endswith(":"):
            return None
    except ValueError:
        return None
    return parts


def _why_not(host: str) -> str | None:
    """Say why a host cannot be followed from elsewhere; null if it can."""
    address = address_of(host)
    if address is None:
        return _why_no_name(host)
    if address.is_unspecified:
        return f"{host} is every interface, which nobody can connect to: expected one address"
    if isinstance(address, IPv6Address) and address.scope_id:
        return f"the zone %{address.scope_id} is known on this machine only: expected one address"
    return None


def _why_no_name(host: str) -> str | None:
    if not host.isascii():
        try:
            return f"expected ASCII: {host.encode('idna').decode()} instead of {host}"
        except UnicodeError:
            return f"{host} is no host name"
    if not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
        return f"{host} is no host name"
    return None
