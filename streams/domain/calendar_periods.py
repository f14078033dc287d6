"""Hours and days as the clocks of a time zone have them.

A day begins at the first instant of its date, and is as long as the clocks say: 23 or 25 hours
where they change. An hour that comes twice is two hours. Times are seconds since the epoch, UTC.
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

PeriodKind: TypeAlias = Literal["hour", "day"]
_HOUR = 3600


class Period(NamedTuple):
    """An hour or a day: from `start` to before `end` (s), and its name in its time zone.

    The name is that of ISO 8601: a date, or a local time with its offset.
    """

    start: int
    end: int
    name: str


def period_of(time: int, kind: PeriodKind, zone: ZoneInfo) -> Period:
    """Return the period that a time (s) is in."""
    local = datetime.fromtimestamp(time, zone)
    return _day_of(local, zone) if kind == "day" else _hour_of(time, local, zone)


def _day_of(local: datetime, zone: ZoneInfo) -> Period:
    date = local.date()
    return Period(
        _first_instant(datetime(date.year, date.month, date.day, tzinfo=zone)),
        _first_instant(datetime(date.year, date.month, date.day, tzinfo=zone) + timedelta(days=1)),
        date.isoformat(),
    )


def _first_instant(midnight: datetime) -> int:
    # Where clocks skip midnight this is when they do; where it comes twice, the first one.
    return int(midnight.replace(fold=0).timestamp())


def _hour_of(time: int, local: datetime, zone: ZoneInfo) -> Period:
    offset = _offset(local)
    start = (time + offset) // _HOUR * _HOUR - offset
    end = start + _HOUR
    # Clocks may change by half an hour.
    if _offset(datetime.fromtimestamp(start, zone)) != offset:
        start = _change_between(start, time, zone)
    if _offset(datetime.fromtimestamp(end - 1, zone)) != offset:
        end = _change_between(time, end, zone)
    return Period(start, end, datetime.fromtimestamp(start, zone).isoformat(timespec="minutes"))


def _offset(local: datetime) -> int:
    offset = local.utcoffset() or timedelta()
    return int(offset.total_seconds())


def _change_between(before: int, after: int, zone: ZoneInfo) -> int:
    """Return when (s) the clocks change between two times that have other offsets."""
    old = _offset(datetime.fromtimestamp(before, zone))
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(datetime.fromtimestamp(middle, zone)) == old:
            before = middle
        else:
            after = middle
    return after
