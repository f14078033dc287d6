"""Times as options have them."""

import time
from datetime import UTC, datetime
from typing import Any

import click

from streams.settings import parse_duration


class Since(click.ParamType):
    """A time, or how long ago: seconds since the epoch."""

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read RFC 3339 (UTC if it does not say) or a duration."""
        try:
            return time.time() - parse_duration(value)
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f"{value!r}: expected a time such as 2026-11-23T10:00:00Z, or a duration "
                "such as 30m, 24h or 7d",
                param,
                ctx,
            )
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
