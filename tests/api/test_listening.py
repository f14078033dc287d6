"""The sockets of the HTTP API, and the URL that others are given."""

import socket

import pytest

from streams.api import listening
from streams.api.listening import listen
from streams.configuration.http import HttpSettings


def http(**options: object) -> HttpSettings:
    return HttpSettings.model_validate({"port": 0, **options})


@pytest.mark.parametrize(
    ("host", "url", "loopback_only"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}", True),
        ("::1", "http://[::1]:{port}", True),
        ("localhost", "http://localhost:{port}", True),
        ("0.0.0.0", None, False),  # noqa: S104 - with nobody to answer
        ("::", None, False),
    ],
)
async def test_the_url_has_the_port_that_the_system_chose(
    host: str, url: str | None, loopback_only: bool
) -> None:
    listener = await listen(http(host=host, anonymous="always"))
    try:
        assert listener.port
        assert listener.url == (url.format(port=listener.port) if url else None)
        assert listener.loopback_only is loopback_only
    finally:
        listener.close()


async def test_what_is_advertised_wins() -> None:
    listener = await listen(http(advertised_url="https://streams.example/"))
    listener.close()
    assert listener.url == "https://streams.example"


async def test_all_addresses_of_a_name_have_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [
        (socket.AF_INET6, ("::1", 0, 0, 0)),
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_INET, ("192.0.2.1", 0)),  # not of this machine
    ]

    async def resolve(_: HttpSettings) -> object:
        return both

    monkeypatch.setattr(listening, "_addresses", resolve)
    listener = await listen(http(host="localhost"))
    names = [each.getsockname()[:2] for each in listener.sockets]
    listener.close()
    assert names == [("::1", listener.port), ("127.0.0.1", listener.port)]
