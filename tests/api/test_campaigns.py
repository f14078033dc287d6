"""The list of campaigns, in pages and orders, and one campaign."""

from base64 import urlsafe_b64encode
from typing import Any

import orjson
import pytest

from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.partitions import MemoryHolder, counts, holder

LAST = int(NOW) - 60
LONG_AGO = int(NOW) - 7200


def three_campaigns() -> MemoryHolder:
    held = holder()
    held.add("bad", LAST, counts({"SUCCESS": 60, "FAILURE": 40}))
    held.add("good", LAST - 60, counts({"SUCCESS": 999, "THROTTLED": 1}), app_id="other")
    held.add("held back", LAST, counts({"QUIET_TIME": 5}))
    return held


async def ids(api: RunningApi, query: str) -> list[str]:
    answer = await api.get(f"/v1/campaigns?{query}")
    return [row["campaign_id"] for row in answer["campaigns"]]


async def test_rows_have_totals_over_the_recent_windows(start: StartApi) -> None:
    held = three_campaigns()
    held.add("bad", LAST - 60, counts({"SUCCESS": 100}), counts({"opened_notification": 4}))
    held.add("bad", LONG_AGO, counts({"SUCCESS": 10_000}))
    api = await start(held)
    answer = await api.get("/v1/campaigns")
    assert answer["active_since"] == rfc3339(NOW - 900)
    assert answer["campaigns"][0] == {
        "campaign_id": "bad",
        "app_id": "app",
        "last_window": rfc3339(LAST),
        "counts": {"FAILURE": 40, "SUCCESS": 160},
        "attempts": 200,
        "rates": {"failure": 0.2, "throttled": 0.0},
        "lower_bounds": {"failure": pytest.approx(0.15045, abs=1e-5), "throttled": 0.0},
        "usual_rates": {"failure": None, "throttled": None},
        "changes": {"failure": None, "throttled": None},
        "engagement": {"opened_notification": 4},
        "late_events": 0,
        "alerts": [],
    }


async def test_active_within_reaches_back_from_now(start: StartApi) -> None:
    held = three_campaigns()
    held.add("old", LONG_AGO, counts({"SUCCESS": 1}))
    api = await start(held)
    assert "old" not in await ids(api, "active_within=15m")
    assert "old" in await ids(api, "active_within=3h")
    assert "old" not in await ids(api, "active_within=1h59m")


async def test_what_is_certain_comes_first(start: StartApi) -> None:
    held = holder()
    held.add("one of one", LAST, counts({"FAILURE": 1}))
    held.add("300 of 1,000", LAST, counts({"FAILURE": 300, "SUCCESS": 700}))
    held.add("3 of 4", LAST, counts({"FAILURE": 3, "SUCCESS": 1}))
    held.add("none of many", LAST, counts({"SUCCESS": 1_000, "THROTTLED": 30}))
    held.add("nothing", LAST, counts({"QUIET_TIME": 1}))
    api = await start(held)
    expected = ["3 of 4", "300 of 1,000", "one of one", "none of many", "nothing"]
    assert await ids(api, "sort=-failure_lower_bound") == expected
    assert await pages(api, "sort=-failure_lower_bound&limit=1") == expected
    assert await ids(api, "sort=-failure_lower_bound&limit=2") == expected[:2], "the top two"
    assert (await ids(api, "sort=-throttled_lower_bound"))[0] == "none of many"
    row, *_ = (await api.get("/v1/campaigns?sort=failure_lower_bound&limit=1"))["campaigns"]
    assert row["lower_bounds"] == {"failure": 0.0, "throttled": pytest.approx(0.0205, abs=1e-4)}


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("campaign_id", ["bad", "good", "held back"]),
        ("-campaign_id", ["held back", "good", "bad"]),
        ("attempts", ["held back", "bad", "good"]),
        ("-attempts", ["good", "bad", "held back"]),
        ("failure_rate", ["good", "bad", "held back"]),
        ("-failure_rate", ["bad", "good", "held back"]),
        ("-throttled_rate", ["good", "bad", "held back"]),
        ("last_window", ["good", "bad", "held back"]),
        ("-last_window", ["bad", "held back", "good"]),
    ],
)
async def test_orders(start: StartApi, sort: str, expected: list[str]) -> None:
    api = await start(three_campaigns())
    assert await ids(api, f"sort={sort}") == expected
    assert await pages(api, f"sort={sort}&limit=1") == expected


async def pages(api: RunningApi, query: str) -> list[str]:
    found: list[str] = []
    target: str | None = f"/v1/campaigns?{query}"
    while target:
        answer: dict[str, Any] = await api.get(target)
        found += [row["campaign_id"] for row in answer["campaigns"]]
        cursor = answer["next_cursor"]
        target = f"/v1/campaigns?{query}&cursor={cursor}" if cursor else None
    return found


async def test_a_cursor_holds_while_campaigns_come_and_change(start: StartApi) -> None:
    held = holder()
    for at in range(10):
        held.add(f"c{at}", LAST, counts({"SUCCESS": 10}))
    api = await start(held)
    first = await api.get("/v1/campaigns?limit=5")
    held.add("a-new-one", LAST, counts({"SUCCESS": 10}))
    held.add("c7", LAST, counts({"SUCCESS": 10}))
    second = await api.get(f"/v1/campaigns?limit=5&cursor={first['next_cursor']}")
    assert [row["campaign_id"] for row in second["campaigns"]] == [f"c{n}" for n in range(5, 10)]
    assert second["next_cursor"] is None
    assert second["active_since"] == first["active_since"]


async def test_an_app_s_campaigns(start: StartApi) -> None:
    api = await start(three_campaigns())
    assert await ids(api, "app_id=other") == ["good"]


async def test_a_search_in_ids_and_names(start: StartApi) -> None:
    api = await start(three_campaigns())
    await api.names.campaigns.set("bad", "Summer SALE")
    assert await ids(api, "search=D%20B") == ["held back"]
    assert await ids(api, "search=sale") == ["bad"]
    assert await ids(api, "search=o") == ["good"]
    assert await ids(api, "search=nothing") == []


async def test_recent_windows_for_sparklines(start: StartApi) -> None:
    held = holder()
    for minute in range(5):
        held.add("c", LAST - 60 * minute, counts({"SUCCESS": 3, "FAILURE": minute}))
    api = await start(held)
    (row,) = (await api.get("/v1/campaigns?recent=2"))["campaigns"]
    assert row["recent"] == [
        {
            "start": rfc3339(LAST - 60),
            "attempts": 4,
            "rates": {"failure": 0.25, "throttled": 0.0},
        },
        {"start": rfc3339(LAST), "attempts": 3, "rates": {"failure": 0.0, "throttled": 0.0}},
    ]


async def test_live_alerts_are_in_the_row_and_with_the_campaign(start: StartApi) -> None:
    held = three_campaigns()
    for partition in held.here.values():
        partition.evaluate(NOW)
    api = await start(held)
    row = (await api.get("/v1/campaigns"))["campaigns"][0]
    assert [(alert["rule"], alert["state"]) for alert in row["alerts"]] == [
        ("failure-spike", "firing")
    ]
    campaign = await api.get("/v1/campaigns/bad")
    assert campaign["alerts"][0]["alert_id"] == row["alerts"][0]["alert_id"]
    assert campaign["alerts"][0]["evidence"]["hits"] == 40


async def test_one_campaign(start: StartApi) -> None:
    held = holder()
    held.add("c", LONG_AGO, counts({"SUCCESS": 5}))
    held.add("c", LAST, counts({"FAILURE": 5}), counts({"received_background": 2}))
    held.advance(NOW)
    held.add("c", LONG_AGO, counts({"SUCCESS": 1}))
    api = await start(held)
    campaign = await api.get("/v1/campaigns/c")
    assert campaign["totals"] == {
        "counts": {"FAILURE": 5, "SUCCESS": 6},
        "attempts": 11,
        "rates": {"failure": 5 / 11, "throttled": 0.0},
        "engagement": {"received_background": 2},
        "late_events": 1,
    }
    assert (campaign["first_window"], campaign["last_window"]) == (
        rfc3339(LONG_AGO),
        rfc3339(LAST),
    )
    assert campaign["current_window"]["counts"] == {"FAILURE": 5}
    held.advance(NOW + 120)
    assert (await api.get("/v1/campaigns/c"))["current_window"] is None
    assert "nobody" in await api.refused("/v1/campaigns/nobody", 404)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sort=failures", "sort=failures: expected one of campaign_id"),
        ("limit=0", "limit=0: expected a whole number from 1 to 1000"),
        ("limit=1001", "limit=1001"),
        ("active_within=soon", "active_within=soon: expected a duration"),
        ("active_within=0s", "active_within=0s"),
        ("cursor=nonsense", "cursor: not one"),
        ("cursor=", "cursor: not one"),
        ("active_witin=5m", "did you mean active_within?"),
    ],
)
async def test_a_wrong_parameter_is_named(start: StartApi, query: str, named: str) -> None:
    api = await start(three_campaigns())
    assert named in await api.refused(f"/v1/campaigns?{query}", 400)


async def test_a_cursor_of_another_order_is_refused(start: StartApi) -> None:
    api = await start(three_campaigns())
    cursor = (await api.get("/v1/campaigns?limit=1"))["next_cursor"]
    detail = await api.refused(f"/v1/campaigns?sort=attempts&cursor={cursor}", 400)
    assert "it is of the order campaign_id, not attempts" in detail


@pytest.mark.parametrize(
    ("sort", "cursor"),
    [
        ("attempts", ["attempts", 0, "five", "c"]),
        ("failure_rate", ["failure_rate", 0, "0.5", "c"]),
        ("campaign_id", ["campaign_id", 0, 5, "c"]),
        ("last_window", ["last_window", 0, 1e300, "c"]),
        ("campaign_id", ["campaign_id", 1e300, "a", "c"]),
        ("campaign_id", ["campaign_id", 1e14, "a", "c"]),
        ("campaign_id", ["campaign_id", -1e14, "a", "c"]),
        ("campaign_id", ["campaign_id", 0, "a"]),
        ("campaign_id", {"order": "campaign_id"}),
        ("campaign_id", None),
    ],
)
async def test_a_cursor_that_was_changed_is_refused(
    start: StartApi, sort: str, cursor: object
) -> None:
    api = await start(three_campaigns())
    text = urlsafe_b64encode(orjson.dumps(cursor)).decode().rstrip("=")
    detail = await api.refused(f"/v1/campaigns?sort={sort}&cursor={text}", 400)
    assert detail.startswith("cursor: ")


async def test_any_number_in_a_cursor_is_a_place_in_the_order(start: StartApi) -> None:
    api = await start(three_campaigns())
    huge = urlsafe_b64encode(b'["attempts",0,1%s,"c"]' % (b"0" * 500)).decode().rstrip("=")
    answer = await api.get(f"/v1/campaigns?sort=attempts&cursor={huge}")
    assert answer["campaigns"] == []
