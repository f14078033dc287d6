"""Totals by hours and days of a time zone, compared with an independent count."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from streams.domain.windows import WindowPolicy
from tests.api.conftest import StartApi
from tests.support.partitions import PARTITION_SETTINGS, counts, holder

YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
HALF_HOUR = 1800
YEARLY = replace(PARTITION_SETTINGS, windows=WindowPolicy(HALF_HOUR, 30, 400 * 86_400))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("per", ["hour", "day"])
async def test_a_year_equals_an_independent_count(start: StartApi, zone: str, per: str) -> None:
    held = holder(count=1, settings=YEARLY)
    chance, clock = random.Random(1), ZoneInfo(zone)  # noqa: S311 - the same year each time
    expected: Counter[str] = Counter()
    for at in range(YEAR, YEAR + 365 * 86_400, HALF_HOUR):
        if chance.random() < 0.7:
            continue
        sends = chance.randint(1, 9)
        held.add("c", at, counts({"SUCCESS": sends}))
        local = datetime.fromtimestamp(at, clock)
        expected[local.date().isoformat() if per == "day" else local.strftime("%FT%H %z")] += sends
    api = await start(held, settings=YEARLY, now=lambda: YEAR + 365 * 86_400.0)
    answer = await api.get(f"/v1/campaigns/c/totals?per={per}&tz={zone}")
    assert (answer["per"], answer["time_zone"]) == (per, zone)
    found = {}
    for each in answer["periods"]:
        local = datetime.fromisoformat(each["start"]).astimezone(clock)
        name = each["period"] if per == "day" else local.strftime("%FT%H %z")
        found[name] = each["attempts"]
    assert found == expected


async def test_periods_are_whole_and_windows_are_not_parted(start: StartApi) -> None:
    held = holder(count=1, settings=YEARLY)
    held.add("c", YEAR, counts({"SUCCESS": 1}))
    api = await start(held, settings=YEARLY)
    (day,) = (await api.get("/v1/campaigns/c/totals"))["periods"]
    assert (day["period"], day["start"]) == ("2026-01-01", "2026-01-01T00:00:00Z")
    detail = await api.refused("/v1/campaigns/c/totals?tz=Asia/Kathmandu", 400)
    assert "choose another time zone" in detail
    for zone in ("Mars/Base", "..%2F..%2Fetc%2Fpasswd", "Europe", "", "%00", "x" * 300):
        assert "tz=" in await api.refused(f"/v1/campaigns/c/totals?tz={zone}", 400)
    await api.refused("/v1/campaigns/none/totals", 404)
    await api.refused("/v1/campaigns/c/totals?from=9&to=9", 400)


async def test_any_worker_adds_up_all(start: StartApi) -> None:
    away = holder(numbers=(0,), count=2)
    here = holder(numbers=(1,), count=2)
    for held, number in ((away, 0), (here, 1)):
        held.add("c", YEAR, counts({"SUCCESS": 1}), partition=number)
    other = await start(away, located=False)
    here.others = {0: other.url}
    api = await start(here, located=False)
    (day,) = (await api.get("/v1/campaigns/c/totals"))["periods"]
    assert day["attempts"] == 2


async def test_a_range_is_widened_to_whole_periods(start: StartApi) -> None:
    held = holder(count=1, settings=YEARLY)
    for half_hour in range(96):
        held.add("c", YEAR + half_hour * HALF_HOUR, counts({"SUCCESS": 1}))
    api = await start(held, settings=YEARLY)
    noon = "from=2026-01-01T12:00:00Z&to=2026-01-02T00:00:01Z"
    answer = await api.get(f"/v1/campaigns/c/totals?{noon}")
    assert [each["attempts"] for each in answer["periods"]] == [48, 48]
    hours = await api.get(
        "/v1/campaigns/c/totals?per=hour&from=2026-01-01T12:10:00Z&to=2026-01-01T13:00:00Z"
    )
    assert [each["attempts"] for each in hours["periods"]] == [2]
    assert (await api.get("/v1/campaigns/c/totals?to=0"))["periods"] == []
    for zone in ("localtime", "right/Europe/Berlin", "Factory"):
        assert "IANA" in await api.refused(f"/v1/campaigns/c/totals?tz={zone}", 400)
