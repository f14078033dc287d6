"""Times as options have them."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from streams.settings import parse_duration

_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


def newest(time_of_day: str, now: datetime) -> datetime:
    """Return the last time, not after `now`, that it was `HH:MM` in the time zone of `now`."""
    hour, minute = map(int, time_of_day.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


class Moment(click.ParamType):
    """A time: seconds since the epoch."""

    name = "time"
    expected = "a time such as 2026-11-23T10:00:00Z"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read RFC 3339 (UTC if it does not say)."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r}: expected {self.expected}", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Since(Moment):
    """A time, or how long ago: seconds since the epoch."""

    name = "since"
    expected = f"{Moment.expected}, or a duration such as 30m, 24h or 7d"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read RFC 3339 (UTC if it does not say), a time of day in UTC, or a duration."""
        try:
            return time.time() - parse_duration(value)
        except ValueError:
            pass
        if _TIME_OF_DAY.fullmatch(str(value)):
            return newest(str(value), datetime.now(UTC)).timestamp()
        return super().convert(value, param, ctx)


class Duration(click.ParamType):
    """A duration, in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a duration."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
