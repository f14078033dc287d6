"""Closed by default: tokens, scopes, loopback, other sites."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from streams.configuration.http import HttpSettings
from tests.api.conftest import StartApi
from tests.support.http import exchange
from tests.support.partitions import holder

READER, WRITER = "reads", "writes"
TOKENS = [
    {"name": "r", "sha256": sha256(READER.encode()).hexdigest(), "scopes": ["read"]},
    {"name": "w", "sha256": sha256(WRITER.encode()).hexdigest(), "scopes": ["write"]},
]
REPLAY = "/v1/deliveries/none/replay"


def settings(**options: Any) -> HttpSettings:
    return HttpSettings.model_validate({"port": 0, "tokens": TOKENS, **options})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_on_loopback_nobody_needs_a_token(start: StartApi) -> None:
    api = await start(holder(), settings())
    for host in ("localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1", "localhost."):
        answer = await api.ask("/v1/campaigns", headers={"Host": host})
        assert answer.status == 200
    await api.refused(REPLAY, 404, method="POST")


@pytest.mark.parametrize("host", ["rebound.example", "192.0.2.1", "localhost.example", "", "["])
async def test_a_name_that_was_rebound_to_loopback_is_refused(start: StartApi, host: str) -> None:
    api = await start(holder(), settings())
    await api.refused("/v1/campaigns", 401, headers={"Host": host})


@pytest.mark.parametrize(
    "trace",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "10.1.2.3"},
        {"Forwarded": "for=127.0.0.1;host=localhost"},
        {"X-Forwarded-Proto": "https"},
        {"x-forwarded-host": "localhost"},
        {"X-Real-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"CF-Connecting-IP": "127.0.0.1"},
    ],
)
async def test_nobody_is_local_through_a_proxy(start: StartApi, trace: dict[str, str]) -> None:
    for trusted in ([], ["10.0.0.0/8"]):
        api = await start(holder(), settings(trusted_proxies=trusted))
        await api.refused("/v1/campaigns", 401, headers=trace)
        await api.refused(REPLAY, 401, method="POST", headers=trace)
        assert (await api.ask("/v1/campaigns", headers=trace | bearer(READER))).status == 200


async def test_http_1_0_may_be_of_a_proxy_that_leaves_no_trace(start: StartApi) -> None:
    api = await start(holder(), settings())
    for version, status in ((b"1.0", 401), (b"1.1", 200)):
        data = b"GET /v1/rules HTTP/" + version
        data += b"\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n"
        assert (await exchange(api.port, data)).status == status


LOCAL_HOST = {"X-Forwarded-Host": "localhost:8080"}


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({"X-Forwarded-For": "127.0.0.1", **LOCAL_HOST}, True),
        ({"X-Forwarded-For": "::1", **LOCAL_HOST}, True),
        ({"X-Forwarded-For": "[::1]:9000", **LOCAL_HOST}, True),
        ({"X-Forwarded-For": "127.0.0.1:9000", **LOCAL_HOST}, True),
        ({"X-Forwarded-For": "127.0.0.1, 10.0.0.9", **LOCAL_HOST}, True),
        ({"Forwarded": "for=127.0.0.1;host=localhost"}, True),
        ({"Forwarded": 'for="[::1]:80";host="localhost:8080";proto=http'}, True),
        ({"Forwarded": "FOR=127.0.0.1; Host=localhost, for=10.0.0.9;host=localhost"}, True),
        # What a client writes is at the left of what its proxy saw.
        ({"X-Forwarded-For": "127.0.0.1, 192.0.2.1", **LOCAL_HOST}, False),
        ({"X-Forwarded-For": "127.0.0.1, 192.0.2.1, 10.0.0.9", **LOCAL_HOST}, False),
        ({"Forwarded": "for=127.0.0.1;host=localhost, for=192.0.2.1;host=localhost"}, False),
        ({"Forwarded": 'for="127.0.0.1, for=::1";host=localhost'}, False),
        # One of both may be the client's own.
        ({"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=127.0.0.1;host=localhost"}, False),
        ({"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "192.0.2.1", **LOCAL_HOST}, False),
        # The name that was asked for is of another, or is not known.
        ({"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "rebound.example"}, False),
        ({"X-Forwarded-For": "127.0.0.1"}, False),
        ({"Forwarded": "for=127.0.0.1"}, False),
        ({"Forwarded": "for=127.0.0.1;host=localhost, for=127.0.0.1"}, False),
        (LOCAL_HOST, False),
        ({"Via": "1.1 proxy", **LOCAL_HOST}, False),
        ({"X-Forwarded-For": "unknown", **LOCAL_HOST}, False),
        ({"X-Forwarded-For": "", **LOCAL_HOST}, False),
        ({"X-Forwarded-For": "localhost.example", **LOCAL_HOST}, False),
        ({"Forwarded": "for=_hidden;host=localhost"}, False),
        ({"Forwarded": "nonsense"}, False),
        ({"Forwarded": '"'}, False),
        ({"Forwarded": "for=127.0.0.1;host=localhost,"}, False),
        # Half a quotation by the client, before what its proxy has added.
        ({"Forwarded": 'for=127.0.0.1;host=localhost;x=", for="[2001:db8::1]"'}, False),
        ({"Forwarded": 'for=127.0.0.1;host=localhost;x="\\, for="[2001:db8::1]"'}, False),
    ],
)
async def test_through_a_trusted_proxy_those_are_local_who_are(
    start: StartApi,
    headers: dict[str, str],
    local: bool,
) -> None:
    api = await start(holder(), settings(trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"]))
    answer = await api.ask("/v1/campaigns", headers=headers)
    assert answer.status == (200 if local else 401)


async def test_what_a_client_writes_of_itself_is_not_believed(start: StartApi) -> None:
    """Here an address of loopback is no proxy's, so it would be taken for the client's."""
    api = await start(holder(), settings(trusted_proxies=["127.0.0.1/32"]))
    for chain, status in (("::1, 192.0.2.1", 401), ("192.0.2.1, ::1", 200), ("::1", 200)):
        headers = {"X-Forwarded-For": chain, **LOCAL_HOST}
        assert (await api.ask("/v1/campaigns", headers=headers)).status == status, chain


async def test_a_trusted_proxy_says_which_pages_are_ours(start: StartApi) -> None:
    origin = {"Origin": "https://streams.example", **bearer(WRITER)}
    forwarded = {**origin, "X-Forwarded-Host": "streams.example", "Host": "127.0.0.1:8080"}
    plain = await start(holder(), settings())
    assert "trusted_proxies" in await plain.refused(REPLAY, 403, method="POST", headers=forwarded)
    behind = await start(holder(), settings(trusted_proxies=["127.0.0.1/32"]))
    await behind.refused(REPLAY, 404, method="POST", headers=forwarded)
    await behind.refused(REPLAY, 403, method="POST", headers=origin)
    advertised = await start(holder(), settings(advertised_url="https://streams.example/"))
    await advertised.refused(REPLAY, 404, method="POST", headers=origin)


@pytest.mark.parametrize("anonymous", ["loopback", "never"])
async def test_beyond_loopback_there_is_no_answer_without_a_token(
    start: StartApi, anonymous: str
) -> None:
    api = await start(holder(), settings(host="0.0.0.0", anonymous=anonymous))  # noqa: S104
    for target in (
        "/",
        "/docs",
        "/openapi.json",
        "/metrics",
        "/v1/campaigns",
        "/v1/schemas/alert-transition",
        "/static/dashboard.js",
        "/nothing",
    ):
        answer = await api.ask(target)
        assert answer.status == 401
        assert "Www-Authenticate" in answer.headers
    for target in ("/livez", "/readyz"):
        assert (await api.ask(target)).status == 200
    assert (await api.ask("/metrics", headers=bearer(READER))).status == 200


async def test_scopes(start: StartApi) -> None:
    api = await start(holder(), settings(anonymous="never"))
    assert (await api.ask("/v1/campaigns", headers=bearer(READER))).status == 200
    assert "write" in await api.refused(REPLAY, 403, method="POST", headers=bearer(READER))
    assert "read" in await api.refused("/v1/campaigns", 403, headers=bearer(WRITER))
    await api.refused(REPLAY, 404, method="POST", headers=bearer(WRITER))


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        "Basic ?",
        "Basic",
        "Digest x",
        "reads",
        " ",
        "Bearer \udcff",
    ],
)
async def test_a_wrong_token_is_worse_than_none(start: StartApi, authorization: str) -> None:
    api = await start(holder(), settings())
    headers = {"Authorization": authorization}
    assert "token" in await api.refused("/v1/campaigns", 401, headers=headers)


async def test_a_browser_asks_for_the_token_as_a_password(start: StartApi) -> None:
    api = await start(holder(), settings(anonymous="never"))
    assert (await api.ask("/")).headers["Www-Authenticate"].startswith("Basic ")
    assert (await api.ask("/v1/rules")).headers["Www-Authenticate"].startswith("Bearer ")
    encoded = b64encode(f"anybody:{READER}".encode()).decode()
    headers = {"Authorization": f"Basic {encoded}"}
    assert (await api.ask("/v1/rules", headers=headers)).status == 200


async def test_anybody_may_read_where_the_configuration_says_so(start: StartApi) -> None:
    api = await start(holder(), settings(host="0.0.0.0", anonymous="always"))  # noqa: S104
    headers = {"Host": "campaigns.example"}
    assert (await api.ask("/v1/campaigns", headers=headers)).status == 200
    await api.refused(REPLAY, 403, method="POST", headers=headers)


async def test_pages_of_other_sites_change_nothing(start: StartApi) -> None:
    api = await start(holder(), settings())
    for origin in (
        "https://elsewhere.example",
        "null",
        "http://[",
        "\udcff",
        f"http://localhost:{api.port + 1}",
    ):
        await api.refused(REPLAY, 403, method="POST", headers={"Origin": origin})
    for site in ("cross-site", "same-site", "new"):
        await api.refused(REPLAY, 403, method="POST", headers={"Sec-Fetch-Site": site})
    own = {"Origin": f"http://localhost:{api.port}"}
    for headers in (own, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        await api.refused(REPLAY, 404, method="POST", headers=headers)
