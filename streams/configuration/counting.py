"""What is counted, in which windows, and how soon it is written down."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from streams.domain.counts import DEFAULT_GROUPS
from streams.settings import (
    Count,
    Duration,
    Flag,
    PositiveDuration,
    Problem,
    ProblemsError,
    Settings,
    Text,
    WholeSeconds,
)


class SourceSettings(Settings):
    """What to expect of the source topic. Sizes in bytes, skew in seconds."""

    keyed: Flag = False
    max_record_bytes: Count = 262144
    max_future_skew: Duration = 300.0


class WindowSettings(Settings):
    """Tumbling windows, all in seconds."""

    size: Annotated[WholeSeconds, Field(ge=1)] = 60
    grace: WholeSeconds = 30
    retention: WholeSeconds = 86400
    idle_timeout: PositiveDuration = 60.0

    @model_validator(mode="after")
    def _outlives_its_grace(self) -> Self:
        if self.retention < self.size + self.grace:
            expected = f"expected at least size + grace, which is {self.size + self.grace}s"
            raise ProblemsError([(("retention",), expected)])
        return self


class StatusSettings(Settings):
    """Groups of send statuses. A status in none of them counts as unrecognised."""

    success: tuple[Text, ...] = DEFAULT_GROUPS["success"]
    failure: tuple[Text, ...] = DEFAULT_GROUPS["failure"]
    throttled: tuple[Text, ...] = DEFAULT_GROUPS["throttled"]
    suppressed: tuple[Text, ...] = DEFAULT_GROUPS["suppressed"]

    @model_validator(mode="after")
    def _in_one_group(self) -> Self:
        groups: dict[str, list[str]] = {}
        for group in type(self).model_fields:
            for status in getattr(self, group):
                groups.setdefault(status, []).append(group)
        problems: list[Problem] = [
            ((), f"status {status} is listed twice: in {' and in '.join(names)}")
            for status, names in groups.items()
            if len(names) > 1
        ]
        if problems:
            raise ProblemsError(problems)
        return self


class LimitSettings(Settings):
    """How many names are kept apart; past that, counts go on under `__other__`."""

    names: Count = 1_000
    values: Count = 100
    campaigns: Count = 100_000


class FlushSettings(Settings):
    """How long results wait in memory, in seconds."""

    interval: PositiveDuration = 0.1
