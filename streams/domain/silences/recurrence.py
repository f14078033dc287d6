"""Hours of the day and week, in a time zone.

What counts is what a clock on the wall shows there: a silence from 01:00 to 03:00 is active when it
shows 01:00 or later, and before 03:00. So on the night that has the hour from 02:00 twice it lasts
three hours, and one from 02:15 to 02:45 has two parts; where that hour is left out, the first lasts
one hour and the second does not happen. Alertmanager's time intervals are the same.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

MIDNIGHT = "24:00"
"""The end of a day."""
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_DAYS_AHEAD = 15
"""How far the next change may be: one week is left out if its hour is."""
_SAMPLE_S = 6 * 3_600
"""A time zone changes its offset less often than that."""


class RecurrenceError(ValueError):
    """Hours that are not possible: names the field, the value, and what to do."""


class Recurrence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hours that come again every day, or on some days of the week.

    Attributes:
        start: `HH:MM`, what a clock on the wall shows then.
        end: the same, exclusive; `24:00` is midnight. Not after `start`, it is on the next day.
        time_zone: a name of the IANA time zone database, such as `Europe/Berlin`.
        days: on which it starts; without any, on every day.
    """

    start: str
    end: str
    time_zone: str
    days: tuple[Day, ...] = ()


class Hours:
    """A recurrence, ready to be asked.

    Args:
        recurrence: what it does.

    Raises:
        RecurrenceError: if it is not possible.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        self._zone = _zone_of(recurrence.time_zone)
        self._start = _minutes_of("start", recurrence.start)
        end = 24 * 60 if recurrence.end == MIDNIGHT else _minutes_of("end", recurrence.end)
        if end == self._start:
            raise RecurrenceError(
                f"recurrence.end {recurrence.end!r} is its start: expected another time; for the "
                f"whole day, 00:00 to {MIDNIGHT}"
            )
        self._days = {DAYS.index(day) for day in recurrence.days or DAYS}
        self._crosses = end < self._start
        self._end = end

    @property
    def longest(self) -> float:
        """How long (s) it lasts on a day without a change of offset."""
        return 60.0 * (self._end - self._start + (24 * 60 if self._crosses else 0))

    def contains(self, at: float) -> bool:
        """Tell whether a time (s, UTC) is in it."""
        local = datetime.fromtimestamp(at, self._zone)
        minutes, day = local.hour * 60 + local.minute, local.weekday()
        if not self._crosses:
            return day in self._days and self._start <= minutes < self._end
        began_yesterday = (day - 1) % 7 in self._days and minutes < self._end
        return began_yesterday or (day in self._days and minutes >= self._start)

    def next_change(self, after: float) -> float | None:
        """Return when (s, UTC) it next begins or ends; null if it always goes on as it is."""
        now = self.contains(after)
        for candidate in sorted({*self._edges(after), *self._shifts(after)}):
            if candidate > after and self.contains(candidate) != now:
                return candidate
        return None

    def _edges(self, after: float) -> Iterator[float]:
        """Yield when a clock on the wall shows the start or the end."""
        first = datetime.fromtimestamp(after, self._zone).date() - timedelta(days=1)
        for number in range(_DAYS_AHEAD + 2):
            day = first + timedelta(days=number)
            for minutes in (self._start, self._end):
                yield from self._times_of(day, minutes)

    def _times_of(self, day: date, minutes: int) -> Iterator[float]:
        """Yield when (s, UTC) a clock shows a time of a day: twice where it is set back."""
        days, minutes = divmod(minutes, 24 * 60)
        at = datetime.combine(day + timedelta(days=days), time(*divmod(minutes, 60)))
        for fold in (0, 1):
            yield at.replace(tzinfo=self._zone, fold=fold).timestamp()

    def _shifts(self, after: float) -> Iterator[float]:
        """Yield when (s, UTC) the offset of the time zone changes."""
        low = int(after)
        for high in range(low + _SAMPLE_S, low + _DAYS_AHEAD * 86_400, _SAMPLE_S):
            if self._offset(low) != self._offset(high):
                yield self._shift_between(low, high)
            low = high

    def _shift_between(self, low: int, high: int) -> int:
        """Return the first second with the offset of `high`; that of `low` is another one."""
        wanted = self._offset(high)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == wanted:
                high = middle
            else:
                low = middle
        return high

    def _offset(self, at: int) -> timedelta | None:
        return datetime.fromtimestamp(at, UTC).astimezone(self._zone).utcoffset()


@lru_cache(maxsize=256)
def _zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise RecurrenceError(
            f"recurrence.time_zone {name[:50]!r} is not known: expected a name of the IANA time "
            "zone database, such as Europe/Berlin or UTC"
        ) from error


def _minutes_of(name: str, text: str) -> int:
    """Return minutes since midnight."""
    found = _TIME.fullmatch(text)
    if found is None or not text.isascii():
        raise RecurrenceError(
            f"recurrence.{name} {text[:50]!r} is no time of day: expected HH:MM, such as 02:30"
        )
    return int(found[1]) * 60 + int(found[2])
