"""Hours and days of time zones, compared with a count minute by minute."""

from datetime import UTC, datetime
from itertools import groupby
from zoneinfo import ZoneInfo

import pytest

from streams.domain.calendar_periods import period_of

# Clocks that change by an hour, by half an hour, at midnight, never; and a day that did not come.
ZONES = {
    "Europe/Berlin": 2026,
    "America/New_York": 2026,
    "Asia/Kolkata": 2026,
    "Australia/Lord_Howe": 2026,
    "America/Santiago": 2026,
    "Africa/Cairo": 2026,
    "Pacific/Apia": 2011,
    "UTC": 2026,
}
MINUTE = 60


def minutes(year: int) -> range:
    first = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    return range(first, first + 366 * 86_400, 30 * MINUTE)


@pytest.mark.parametrize("zone", ZONES)
def test_days_are_those_of_the_calendar(zone: str) -> None:
    clock = ZoneInfo(zone)
    times = minutes(ZONES[zone])
    days = groupby(times, lambda time: datetime.fromtimestamp(time, clock).date())
    for date, group in [(date, list(group)) for date, group in days][1:-1]:
        found = {period_of(time, "day", clock) for time in group}
        (period,) = found
        assert period.name == date.isoformat()
        # Half hours are where clocks change, so the ends are exact.
        assert (period.start, period.end) == (group[0], group[-1] + 30 * MINUTE)


@pytest.mark.parametrize("zone", ZONES)
def test_hours_follow_each_other_and_are_never_parted(zone: str) -> None:
    clock = ZoneInfo(zone)
    before = None
    for time in minutes(ZONES[zone]):
        period = period_of(time, "hour", clock)
        assert period.start <= time < period.end
        names = {
            datetime.fromtimestamp(each, clock).strftime("%Y-%m-%d %H %z")
            for each in (period.start, time, period.end - 1)
        }
        assert len(names) == 1
        if before is not None and period != before:
            assert period.start == before.end
        before = period


def test_an_hour_that_comes_twice_is_two() -> None:
    clock = ZoneInfo("Europe/Berlin")
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp())
    assert period_of(first, "hour", clock).name == "2026-10-25T02:00+02:00"
    assert period_of(first + 3600, "hour", clock).name == "2026-10-25T02:00+01:00"
    day = period_of(first, "day", clock)
    assert day.end - day.start == 25 * 3600
