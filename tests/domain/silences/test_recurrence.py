"""Hours in a time zone, against a clock that is looked at every minute."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.silences.recurrence import DAYS, Hours, Recurrence, RecurrenceError

BERLIN = "Europe/Berlin"


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def changes(hours: Hours, after: str, until: str) -> list[str]:
    """All changes between two times (UTC)."""
    at, found = utc(after), []
    while (change := hours.next_change(at)) is not None and change < utc(until):
        found.append(datetime.fromtimestamp(change, UTC).strftime("%d %H:%M"))
        at = change
    return found


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # Clocks are set forward from 02:00 to 03:00 on the 29th, at 01:00 UTC.
        ("01:00", "03:00", ["28 00:00", "28 02:00", "29 00:00", "29 01:00"]),
        ("02:15", "02:45", ["28 01:15", "28 01:45"]),
        ("02:30", "03:30", ["28 01:30", "28 02:30", "29 01:00", "29 01:30"]),
        ("22:00", "02:30", ["28 01:30", "28 21:00", "29 01:00", "29 20:00"]),
    ],
)
def test_the_night_without_an_hour(start: str, end: str, expected: list[str]) -> None:
    hours = Hours(Recurrence(start, end, BERLIN))
    assert changes(hours, "2026-03-27T23:30", "2026-03-29T21:00") == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # Clocks are set back from 03:00 to 02:00 on the 25th, at 01:00 UTC.
        ("01:00", "03:00", ["24 23:00", "25 02:00"]),
        ("02:15", "02:45", ["25 00:15", "25 00:45", "25 01:15", "25 01:45"]),
        ("02:30", "04:00", ["25 00:30", "25 01:00", "25 01:30", "25 03:00"]),
    ],
)
def test_the_night_with_an_hour_twice(start: str, end: str, expected: list[str]) -> None:
    hours = Hours(Recurrence(start, end, BERLIN))
    assert changes(hours, "2026-10-24T12:00", "2026-10-25T12:00") == expected


def test_a_weekly_time_that_does_not_exist_once_comes_the_week_after() -> None:
    hours = Hours(Recurrence("02:15", "02:45", BERLIN, ("sun",)))
    assert hours.next_change(utc("2026-03-22T02:00")) == utc("2026-04-05T00:15")


def test_days_are_those_on_which_it_starts() -> None:
    hours = Hours(Recurrence("22:00", "06:00", "UTC", ("fri", "sat")))
    found = changes(hours, "2026-11-23T00:00", "2026-11-30T23:00")
    assert found == ["27 22:00", "28 06:00", "28 22:00", "29 06:00"]
    assert hours.longest == 8 * 3600


def test_the_whole_day_never_changes() -> None:
    hours = Hours(Recurrence("00:00", "24:00", BERLIN))
    assert hours.next_change(utc("2026-03-28T12:00")) is None
    assert hours.contains(utc("2026-03-29T01:00"))
    assert hours.longest == 86_400
    some = Hours(Recurrence("00:00", "24:00", "UTC", ("sat", "sun")))
    assert changes(some, "2026-11-23T00:00", "2026-11-30T23:00") == ["28 00:00", "30 00:00"]


@given(
    st.tuples(st.integers(0, 23), st.integers(0, 11)),
    st.tuples(st.integers(0, 23), st.integers(0, 11)),
    st.frozensets(st.sampled_from(DAYS)),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    st.sampled_from(["2026-03-28", "2026-10-24", "2026-04-04", "2026-11-01", "2026-03-07"]),
)
def test_as_a_clock_on_the_wall(
    start: tuple[int, int],
    end: tuple[int, int],
    days: frozenset[str],
    zone: str,
    date: str,
) -> None:
    """Every five minutes of three days; Lord Howe's clocks are changed by half an hour."""
    if start == end:
        return
    begins, ends = (f"{hour:02}:{5 * part:02}" for hour, part in (start, end))
    hours = Hours(Recurrence(begins, ends, zone, tuple(day for day in DAYS if day in days)))
    first = int(utc(date))

    def shown(at: int) -> bool:
        local = datetime.fromtimestamp(at, ZoneInfo(zone))
        now, day = f"{local:%H:%M}", DAYS[local.weekday()]
        before = DAYS[local.weekday() - 1]
        if begins < ends:
            return begins <= now < ends and (not days or day in days)
        today = now >= begins and (not days or day in days)
        return today or (now < ends and (not days or before in days))

    moments = range(first, first + 3 * 86_400, 300)
    assert all(hours.contains(at) == shown(at) for at in moments[::7])
    expected = next((at for at in moments if shown(at) != shown(first)), None)
    found = hours.next_change(first)
    assert found == expected or (expected is None and (found is None or found >= moments[-1]))


@pytest.mark.parametrize(
    ("recurrence", "named"),
    [
        (Recurrence("2:00", "03:00", "UTC"), "recurrence.start '2:00' .* HH:MM"),
        (Recurrence("02:00", "24:01", "UTC"), "recurrence.end '24:01'"),
        (Recurrence("24:00", "03:00", "UTC"), "recurrence.start '24:00'"),
        (Recurrence("02:00", "02:00", "UTC"), "recurrence.end '02:00' is its start"),
        (Recurrence("02:00", "٠٣:00", "UTC"), "recurrence.end"),
        (Recurrence("02:00", "03:00", "Berlin"), "recurrence.time_zone 'Berlin' .* Europe/Berlin"),
        (Recurrence("02:00", "03:00", "../../etc/passwd"), "recurrence.time_zone"),
        (Recurrence("02:00", "03:00", "/etc/passwd"), "recurrence.time_zone"),
        (Recurrence("02:00", "03:00", "a\0b"), "recurrence.time_zone"),
        (Recurrence("02:00", "03:00", ""), "recurrence.time_zone"),
        (Recurrence("02:00", "03:00", "x" * 5_000), "recurrence.time_zone"),
        (Recurrence("02:00", "03:00", "America"), "recurrence.time_zone"),
    ],
)
def test_what_is_not_possible_is_named(recurrence: Recurrence, named: str) -> None:
    with pytest.raises(RecurrenceError, match=named):
        Hours(recurrence)
