"""Requests that would keep the worker busy are refused or wait, and each says what it has cost."""

from hashlib import sha256
from typing import Any

import pytest

from streams.api.costs import COST_HEADER, OF_A_LEVEL, OF_A_RULE, OF_A_WINDOW, OF_COMPARING, Budget
from streams.api.problems import ProblemError
from streams.api.rate_limits import RateLimit
from streams.configuration.http import HttpSettings
from streams.domain.detectors.spike import Spike
from streams.domain.partial_counts import partition_of
from streams.domain.rules import Rule
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.api.test_visibility import http as visible_http
from tests.support.partitions import MemoryHolder, counts, holder, partition_settings

T0 = int(NOW) - 60
CAMPAIGNS = 20
WINDOWS = 30
SECRET = "0123456789abcdef0123456789abcdef"


def fill(numbers: range = range(4)) -> MemoryHolder:
    """Hold campaigns that each have counts in all windows."""
    held = holder(numbers=numbers)
    for back in reversed(range(WINDOWS)):
        for at in range(CAMPAIGNS):
            if partition_of(f"c{at}", 4) in numbers:
                held.add(f"c{at}", T0 - 60 * back, counts({"SUCCESS": 1}))
    return held


def settings(**limits: int) -> HttpSettings:
    tokens = [
        {"name": name, "sha256": sha256(name.encode()).hexdigest()} for name in ("one", "two")
    ]
    return HttpSettings.model_validate({"port": 0, "tokens": tokens, "cost_limit": limits})


async def cost(api: RunningApi, target: str, **options: Any) -> int:
    """Return what a request has cost."""
    answer = await api.ask(target, **options)
    assert answer.status == 200, answer.body
    return int(answer.headers[COST_HEADER])


async def test_a_cost_is_what_is_looked_at(start: StartApi) -> None:
    api = await start(fill())
    of_all = WINDOWS * OF_A_WINDOW
    assert await cost(api, "/v1/campaigns/c1/windows") == of_all
    assert await cost(api, "/v1/campaigns/c1/windows?step=3600&by=treatment_id") == of_all
    assert await cost(api, f"/v1/campaigns/c1/windows?from={(T0 - 240) * 1000}") == 5 * OF_A_WINDOW
    assert await cost(api, f"/v1/campaigns/c1/windows/{T0 * 1000}") == OF_A_WINDOW
    assert await cost(api, "/v1/campaigns/c1") == of_all
    assert await cost(api, "/v1/campaigns/c1/totals?per=hour") == of_all
    assert COST_HEADER not in (await api.ask("/v1/rules")).headers
    page = 3 * (1 + 2)
    listed = "/v1/campaigns?limit=3&recent=2&active_within=10m"
    first = await cost(api, listed)
    assert first == CAMPAIGNS + CAMPAIGNS * 10 + page
    # Windows that have been read once, and have not changed since, are not read again.
    assert await cost(api, listed) == CAMPAIGNS + page


async def test_what_costs_too_much_is_refused_and_says_what_to_ask(start: StartApi) -> None:
    api = await start(fill(), settings(request=250))
    detail = await api.refused("/v1/campaigns/c1/windows", 400)
    assert "this costs 300, and a request may cost 250" in detail
    assert "narrow from and to" in detail
    assert await cost(api, f"/v1/campaigns/c1/windows?from={(T0 - 240) * 1000}") == 50
    assert "from a time to a time" in await api.refused("/v1/campaigns/c1", 400)
    assert "narrow from and to" in await api.refused("/v1/campaigns/c1/totals", 400)
    detail = await api.refused("/v1/campaigns?active_within=1h&limit=1", 400)
    within = detail.partition("shorten active_within, to ")[2].partition("s or less")[0]
    more = f"/v1/campaigns?active_within={int(within) + 60}s&limit=1"
    assert "shorten active_within" in await api.refused(more, 400)
    assert await cost(api, f"/v1/campaigns?active_within={within}s&limit=1") <= 250


async def test_no_list_of_too_many_campaigns(start: StartApi) -> None:
    api = await start(fill(), settings(request=CAMPAIGNS + 1))
    assert "ask for single ones" in await api.refused("/v1/campaigns?limit=1", 400)


async def test_nothing_is_too_much_without_a_limit(start: StartApi) -> None:
    api = await start(fill(), settings(request=0, rate=0))
    assert await cost(api, "/v1/campaigns/c1/windows") == 300


async def test_each_token_has_its_budget(start: StartApi) -> None:
    api = await start(fill(), settings(rate=1, burst=500))
    one, two = ({"headers": {"Authorization": f"Bearer {name}"}} for name in ("one", "two"))
    for _ in range(2):  # the second one owes what it takes beyond the burst
        assert await cost(api, "/v1/campaigns/c1/windows", **one) == 300
    answer = await api.ask("/v1/campaigns/c1/windows", **one)
    assert answer.status == 429
    assert "http.cost_limit" in answer.json["detail"]
    assert 60 < int(answer.headers["Retry-After"]) <= 102
    assert (await api.ask("/v1/rules", **one)).status == 200
    assert await cost(api, "/v1/campaigns/c1/windows", **two) == 300
    # Nobody on this machine waits.
    assert [await cost(api, "/v1/campaigns/c1/windows") for _ in range(3)] == [300] * 3


async def test_what_other_workers_look_at_is_in_the_cost(start: StartApi) -> None:
    secrets = {"port": 0, "cluster_secrets": [SECRET]}
    other = await start(fill(range(2, 4)), HttpSettings.model_validate(secrets))
    held = fill(range(2))
    held.others = dict.fromkeys((2, 3), other.url)
    limited = {**secrets, "cost_limit": {"request": 250}}
    api = await start(held, HttpSettings.model_validate(limited))
    away = next(f"c{at}" for at in range(CAMPAIGNS) if partition_of(f"c{at}", 4) > 1)
    assert await cost(api, f"/v1/campaigns/{away}/windows") == 300
    list_cost = await cost(api, "/v1/campaigns?active_within=1m&limit=5")
    assert list_cost == 2 * CAMPAIGNS + 2 * 5


async def test_another_worker_refuses_what_costs_it_too_much(start: StartApi) -> None:
    secrets = {"port": 0, "cluster_secrets": [SECRET]}
    limited = {**secrets, "cost_limit": {"request": 250}}
    other = await start(fill(range(2, 4)), HttpSettings.model_validate(limited))
    held = fill(range(2))
    held.others = dict.fromkeys((2, 3), other.url)
    api = await start(held, HttpSettings.model_validate(secrets))
    away = next(f"c{at}" for at in range(CAMPAIGNS) if partition_of(f"c{at}", 4) > 1)
    assert "narrow from and to" in await api.refused(f"/v1/campaigns/{away}/windows", 400)


@pytest.mark.parametrize("header", ["", "-5", "1e9", "a", "٣", " 7"])
def test_what_is_no_cost_is_none(header: str) -> None:
    budget = Budget()
    budget.add(header)
    assert budget.spent == 0


def test_a_worker_that_says_it_cost_everything_is_believed_in_part() -> None:
    budget = Budget()
    budget.add("9" * 400)
    assert budget.spent == 10**12


def test_a_budget_is_for_the_whole_request() -> None:
    budget = Budget(10)
    budget.spend(6, lambda: "")
    with pytest.raises(ProblemError):
        budget.spend(5, lambda: "")
    assert budget.spent == 6


def test_a_bucket_owes_what_was_taken_beyond_it() -> None:
    now = [0.0]
    limit = RateLimit(10.0, 100, lambda: now[0])
    assert limit.take("a", 250) == 0.0
    assert limit.take("a", 1) == pytest.approx(15.1)
    now[0] += 15.2
    assert limit.take("a", 1) == 0.0


async def test_a_cost_tells_nothing_of_hidden_campaigns(start: StartApi) -> None:
    api = await start(fill(), visible_http())
    headers = {"Authorization": "Bearer spring"}
    for target in ("/v1/campaigns", "/v1/campaigns/c1", "/v1/campaigns/none"):
        answer = await api.ask(target, headers=headers)
        assert COST_HEADER not in answer.headers
        assert answer.status == (200 if target == "/v1/campaigns" else 404)


async def test_to_explain_and_to_compare_cost(start: StartApi) -> None:
    rule = Rule("spike", frozenset({"FAILURE"}), Spike())
    held = holder(count=1, settings=partition_settings(rules=(rule,)))
    for back in reversed(range(WINDOWS)):
        held.add("c1", T0 - 60 * back, counts({"SUCCESS": 9, "FAILURE": 1}, "0"))
        held.add("c1", T0 - 60 * back, counts({"SUCCESS": 9}, "1"))
    api = await start(held, settings=partition_settings(rules=(rule,)))
    path, then = "/v1/campaigns/c1", (T0 - 300) * 1000
    assert await cost(api, f"{path}/explain") == OF_A_RULE
    assert await cost(api, f"{path}/explain?at={then}") == OF_A_RULE * WINDOWS
    assert await cost(api, f"{path}/baseline") == OF_A_LEVEL * WINDOWS
    windows = await cost(api, f"{path}/windows")
    assert await cost(api, f"{path}/compare") == windows + OF_COMPARING * 2 * WINDOWS
