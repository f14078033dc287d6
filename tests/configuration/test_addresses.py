"""Hosts to listen on, and URLs that others can follow."""

import pytest

from streams.configuration.addresses import (
    advertised_url,
    is_loopback,
    listening_host,
    url_of,
)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:8080"),
        ("2001:db8::7", "http://[2001:db8::7]:8080"),
        ("localhost", "http://localhost:8080"),
        ("worker_1.example.", "http://worker_1.example.:8080"),
        ("0.0.0.0", None),  # noqa: S104 - nobody listens
        ("::", None),
        ("::0", None),
        ("fe80::1%eth0", None),
    ],
)
def test_the_url_of_a_host(host: str, url: str | None) -> None:
    assert url_of(listening_host(host), 8080) == url


def test_brackets_are_of_urls_alone() -> None:
    assert listening_host("[::1]") == "::1"


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "host:8080", "http://host", "[::1", "[host]", "::g", "300.1.1.1", "1.2", "ü"],
)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match="expected an address or a host name"):
        listening_host(host)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080"),
        ("http://10.0.0.7:8080/", "http://10.0.0.7:8080"),
        ("https://streams.example/campaigns//", "https://streams.example/campaigns"),
        ("http://[fd00::7]:8080/", "http://[fd00::7]:8080"),
        ("http://worker_1:8080", "http://worker_1:8080"),
        ("http://xn--bcher-kva.example", "http://xn--bcher-kva.example"),
    ],
)
def test_an_advertised_url_ends_without_a_slash(given: str, kept: str) -> None:
    assert advertised_url(given) == kept


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("10.0.0.7:8080", "expected a URL such as"),
        ("ftp://10.0.0.7", "expected a URL such as"),
        ("http://", "expected a URL such as"),
        ("http://:8080", "expected a URL such as"),
        ("http://::1:8080", "expected a URL such as"),
        ("http://[::1", "expected a URL such as"),
        ("http://a:0", "expected a URL such as"),
        ("http://a:", "expected a URL such as"),
        ("http://a:70000", "expected a URL such as"),
        ("http://a b", "expected a URL such as"),
        ("http://a\n", "expected a URL such as"),
        ("http://a/\x7f", "expected a URL such as"),
        ("http://u@a", "without user and password"),
        ("http://u:p@a", "without user and password"),
        ("http://@a", "without user and password"),
        ("http://a/?", "without [?] and #"),
        ("http://a?b=c", "without [?] and #"),
        ("http://a#", "without [?] and #"),
        ("http://0.0.0.0:8080", "every interface"),
        ("http://[::]:8080", "every interface"),
        ("http://[fe80::1%eth0]:8080", "the zone %eth0 is known on this machine only"),
        ("http://bücher.example", "xn--bcher-kva.example instead of bücher.example"),
        ("http://1.2:8080", "no host name"),
        ("http://a!b", "no host name"),
        ("http://a/ü", "percent-encode the path"),
        ("http://a/" + "b" * 3000, "at most 2048"),
    ],
)
def test_an_advertised_url_that_nobody_can_follow_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        advertised_url(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("0.0.0.0", False),  # noqa: S104 - nobody listens
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
