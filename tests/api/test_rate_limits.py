"""Who asks too often waits: by token, and by address without one."""

from hashlib import sha256
from typing import Any

import pytest

from streams.api.rate_limits import MOST_BUCKETS, RateLimit, site_of
from streams.configuration.http import HttpSettings
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.partitions import holder

HOUR = 3600.0


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_a_rate() -> None:
    clock = Clock()
    limit = RateLimit(2.0, 3, clock)
    assert [limit.take("a") for _ in range(3)] == [0.0] * 3
    assert limit.take("a") == limit.wait("a") == 0.5
    assert limit.take("b") == 0.0
    clock.now += 0.5
    assert limit.take("a") == 0.0
    assert limit.take("a") == 0.5
    clock.now += HOUR
    assert [limit.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_none_is_no_limit() -> None:
    limit = RateLimit(0.0, 1, Clock())
    assert [limit.take("a") for _ in range(100)] == [0.0] * 100


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away() -> None:
    clock = Clock()
    limit = RateLimit(1.0, 1, clock)
    limit.take("a")
    clock.now -= 10
    assert limit.take("a") > 0


def test_many_addresses_take_no_more_than_so_much_memory() -> None:
    limit = RateLimit(1.0, 1, Clock())
    for number in range(MOST_BUCKETS + 100):
        limit.take(number)
    assert len(limit._buckets) == MOST_BUCKETS
    assert limit.take(MOST_BUCKETS) > 0


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_what_shares_a_limit(address: str, site: str) -> None:
    assert site_of(address) == site


def settings(**options: Any) -> HttpSettings:
    tokens = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest(), "scopes": ["read", "write"]}
        for name in ("one", "two")
    ]
    return HttpSettings.model_validate({"port": 0, "tokens": tokens, **options})


async def status(api: RunningApi, token: str | None, **headers: str) -> int:
    """The status of one request; one of 429 has to say when to come back."""
    given = {"Authorization": f"Bearer {token}"} if token is not None else {}
    answer = await api.ask("/v1/rules", headers={**given, **headers})
    if answer.status == 429:
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert "try again in" in answer.json["detail"]
    return answer.status


async def test_each_token_has_its_own(start: StartApi) -> None:
    api = await start(holder(), settings(rate_limit={"requests": 1, "burst": 4000}))
    # Nothing of it is used up by what is not asked with a token.
    assert await status(api, None) == 200
    small = await start(
        holder(), settings(anonymous="never", rate_limit={"requests": 1, "burst": 3})
    )
    found = [await status(small, "one") for _ in range(12)]
    assert found[:3] == [200] * 3
    assert 429 in found
    assert await status(small, "two") == 200
    assert (await small.ask("/livez")).status == 200


async def test_nobody_on_this_machine_waits(start: StartApi) -> None:
    api = await start(holder(), settings(rate_limit={"requests": 1, "burst": 1}))
    assert [await status(api, None) for _ in range(5)] == [200] * 5


async def test_where_no_token_is_needed_each_address_has_its_own(start: StartApi) -> None:
    api = await start(
        holder(),
        settings(
            anonymous="always",
            trusted_proxies=["127.0.0.1/32"],
            rate_limit={"requests": 1, "burst": 2},
        ),
    )
    found = [await status(api, None, **{"X-Forwarded-For": "192.0.2.1"}) for _ in range(10)]
    assert found[:2] == [200] * 2
    assert 429 in found
    assert await status(api, None, **{"X-Forwarded-For": "192.0.2.2"}) == 200
    # What a client writes of itself, before what its proxy has added, gets it nothing.
    spoofed = {"X-Forwarded-For": "198.51.100.9, 192.0.2.3"}
    found = [await status(api, None, **spoofed) for _ in range(10)]
    assert 429 in found


async def test_guessing_ends_and_does_not_shut_out_who_was_in(start: StartApi) -> None:
    limits = {"requests": 0, "failures": 3}
    api = await start(holder(), settings(anonymous="never", rate_limit=limits))
    assert await status(api, "one") == 200
    guesses = [await status(api, f"guess-{n}") for n in range(12)]
    assert guesses[:3] == [401] * 3
    assert 429 in guesses
    # A right guess is not found out either, for as long as that lasts.
    while await status(api, "wrong") != 429:
        pass
    assert await status(api, "two") == 429
    assert await status(api, None) == 429
    assert await status(api, "one") == 200


async def test_without_a_limit_of_failures(start: StartApi) -> None:
    api = await start(holder(), settings(anonymous="never", rate_limit={"failures": 0}))
    assert [await status(api, "wrong") for _ in range(40)] == [401] * 40


async def test_a_token_ends_at_its_time(start: StartApi) -> None:
    times = {"now": NOW}
    tokens = [
        {
            "name": "brief",
            "sha256": sha256(b"brief").hexdigest(),
            "expires_at": "2026-11-23T11:00:00+01:00",  # NOW
        }
    ]
    http = HttpSettings.model_validate({"port": 0, "tokens": tokens})
    api = await start(holder(), http, now=lambda: times["now"])
    times["now"] = NOW - 1
    assert await status(api, "brief") == 200
    times["now"] = NOW
    headers = {"Authorization": "Bearer brief"}
    assert "expired at 2026-11-23T10:00:00" in await api.refused("/v1/rules", 401, headers=headers)
