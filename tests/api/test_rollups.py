"""Answers over counts that were rolled up: whole and exact, or not given."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from streams.api.retained import read_as_one
from streams.api.time_slices import TimeSlices
from streams.domain.partition_settings import PartitionSettings
from streams.domain.windows import DAY, Rollup, RollupStep, WindowPolicy
from tests.api.conftest import RunningApi, StartApi
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, counts, holder

YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
HOUR, SIZE = 3_600, 900


def settings_with(*rollups: Rollup, size: int = SIZE) -> PartitionSettings:
    return replace(PARTITION_SETTINGS, windows=WindowPolicy(size, 30, 2 * DAY, rollups))


def days_of(zone: str) -> PartitionSettings:
    """Days of a zone are made of half hours, as those of India begin in the middle of an hour."""
    half_hours = Rollup(RollupStep(HOUR // 2), 7 * DAY)
    return settings_with(half_hours, Rollup(RollupStep(DAY, zone), 500 * DAY))


HOURS_AND_DAYS = settings_with(
    Rollup(RollupStep(HOUR), 7 * DAY), Rollup(RollupStep(DAY), 500 * DAY)
)


def fill(held: MemoryHolder, chance: random.Random, days: int) -> Counter[int]:
    """Count sends of a campaign, some of them very late; return how many by window (s)."""
    sent: Counter[int] = Counter()
    for start in range(YEAR, YEAR + days * DAY, 5 * HOUR // 2):
        late = start - chance.randrange(days) * DAY if chance.random() < 0.2 else start
        at = max(YEAR, late // SIZE * SIZE + chance.randrange(8) * SIZE)
        count = chance.randint(1, 9)
        held.add("c", min(at, start), counts({"SUCCESS": count}))
        sent[min(at, start)] += count
        held.advance(start + 59)
    return sent


def by_days(sent: Counter[int], zone: str) -> dict[str, int]:
    days: Counter[str] = Counter()
    for start, count in sent.items():
        days[datetime.fromtimestamp(start, ZoneInfo(zone)).date().isoformat()] += count
    return dict(days)


async def shown_days(api: RunningApi, zone: str, more: str = "") -> dict[str, int]:
    answer = await api.get(f"/v1/campaigns/c/totals?per=day&tz={zone}{more}")
    assert all(each["complete"] for each in answer["periods"])
    return {each["period"]: each["attempts"] for each in answer["periods"]}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
async def test_a_year_of_days_equals_an_independent_count(start: StartApi, zone: str) -> None:
    settings = days_of(zone)
    held = holder(count=1, settings=settings)
    sent = fill(held, random.Random(zone), 365)  # noqa: S311 - the same year each time
    rollups = held.here[0].table.rollups
    assert [len(level.windows) for level in rollups.levels][1] > 300
    api = await start(held, settings=settings, now=lambda: YEAR + 365 * DAY)
    assert await shown_days(api, zone) == by_days(sent, zone)
    campaign = await api.get("/v1/campaigns/c")
    assert campaign["totals"]["attempts"] == sent.total()


async def test_days_of_another_zone_are_given_as_far_back_as_they_are_whole(
    start: StartApi,
) -> None:
    held = holder(count=1, settings=HOURS_AND_DAYS)
    sent = fill(held, random.Random(1), 30)  # noqa: S311 - the same month each time
    api = await start(held, settings=HOURS_AND_DAYS, now=lambda: YEAR + 30 * DAY)
    answer = await api.get("/v1/campaigns/c/totals?per=day&tz=Europe/Berlin")
    since = answer["complete_from"]
    first = datetime.fromisoformat(since).astimezone(ZoneInfo("Europe/Berlin"))
    assert (first.hour, first.minute) == (0, 0)
    days = by_days(sent, "Europe/Berlin")
    shown = {each["period"]: each["attempts"] for each in answer["periods"]}
    assert shown == {day: n for day, n in days.items() if day >= first.date().isoformat()}
    assert len(shown) >= 7
    assert await shown_days(api, "Europe/Berlin", f"&from={since}") == shown
    for asked in ("from=2026-01-02T00:00:00Z", "to=2026-01-05T00:00:00Z"):
        target = f"/v1/campaigns/c/totals?per=day&tz=Europe/Berlin&{asked}"
        assert f"ask from={since} on" in await api.refused(target, 400)
    assert "hours of UTC" in await api.refused("/v1/campaigns/c/totals?per=hour&from=1770000", 400)
    assert await shown_days(api, "UTC") == by_days(sent, "UTC")


async def test_windows_are_merged_from_what_is_retained(start: StartApi) -> None:
    held = holder(count=1, settings=HOURS_AND_DAYS)
    sent = fill(held, random.Random(2), 30)  # noqa: S311 - the same month each time
    api = await start(held, settings=HOURS_AND_DAYS, now=lambda: YEAR + 30 * DAY)
    reached = {}
    for step in (SIZE, HOUR, 6 * HOUR, DAY, 2 * DAY):
        answer = await api.get(f"/v1/campaigns/c/windows?step={step}")
        expected: Counter[int] = Counter()
        since = answer.get("complete_from")
        for at, count in sent.items():
            expected[at // step * step] += count
        shown = {
            int(datetime.fromisoformat(each["start"]).timestamp()): each["attempts"]
            for each in answer["windows"]
        }
        reached[step] = datetime.fromisoformat(since).timestamp() if since else 0
        assert shown == {at: n for at, n in expected.items() if at >= reached[step]}
    assert reached[SIZE] > reached[HOUR] == reached[6 * HOUR] > reached[DAY] == 0
    # Half of a longer window would be a wrong number.
    answer = await api.get(f"/v1/campaigns/c/windows?step={3 * SIZE}")
    assert answer["complete_from"] >= datetime.fromtimestamp(reached[SIZE], UTC).isoformat()[:19]


async def test_a_campaign_that_is_only_in_rollups_is_known(start: StartApi) -> None:
    held = holder(count=1, settings=HOURS_AND_DAYS)
    held.add("old", YEAR, counts({"SUCCESS": 3}))
    held.add("new", YEAR + 20 * DAY, counts({"SUCCESS": 1}))
    held.advance(YEAR + 20 * DAY + 59)
    api = await start(held, settings=HOURS_AND_DAYS)
    old = await api.get("/v1/campaigns/old")
    assert (old["app_id"], old["totals"]["attempts"], old["current_window"]) == ("app", 3, None)
    assert old["first_window"] == "2026-01-01T00:00:00Z"
    assert (await api.get("/v1/campaigns/old/windows"))["windows"] == []
    await api.refused(f"/v1/campaigns/old/windows/{YEAR * 1000}", 404)
    await api.refused("/v1/campaigns/none/windows", 404)


async def test_what_has_expired_is_marked(start: StartApi) -> None:
    """Also where nothing is rolled up."""
    settings = settings_with()
    held = holder(count=1, settings=settings)
    for hour in range(0, 72, 6):
        held.add("c", YEAR + hour * HOUR, counts({"SUCCESS": 1}))
        held.advance(YEAR + hour * HOUR + 59)
    api = await start(held, settings=settings)
    answer = await api.get("/v1/campaigns/c/totals")
    assert answer["complete_from"] == "2026-01-01T12:15:00Z"
    assert [(each["period"], each["complete"]) for each in answer["periods"]] == [
        ("2026-01-01", False),
        ("2026-01-02", True),
        ("2026-01-03", True),
    ]
    for form in ("text/csv", "application/x-ndjson"):
        rows = await api.ask("/v1/campaigns/c/totals", headers={"Accept": form})
        assert rows.headers["Complete-From"] == "2026-01-01T12:15:00Z"


async def test_what_moves_while_it_is_read_is_read_again() -> None:
    held = holder(count=1, settings=HOURS_AND_DAYS)
    rollups, tries = held.here[0].table.rollups, 0

    async def read(_: TimeSlices) -> int:
        nonlocal tries
        tries += 1
        rollups.moves += tries < 3
        return tries

    assert await read_as_one(list(held.here.values()), read) == 3
    assert await read_as_one(list(held.here.values()), read) == 4
