"""Closed by default: tokens, scopes, loopback, other sites."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from streams.configuration.http import HttpSettings
from tests.api.conftest import StartApi
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
    own = {"Origin": f"http://localhost:{api.port}"}
    await api.refused(REPLAY, 404, method="POST", headers=own)
