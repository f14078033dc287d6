"""What is counted, in which windows, and how soon it is written down."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from streams.domain.formats.event_format import EventFormat
from streams.domain.formats.registry import DEFAULT_FORMAT, FORMATS
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
    check_known,
)


class SourceSettings(Settings):
    """What to expect of the source topic. Sizes in bytes, skew in seconds."""

    format: Text = DEFAULT_FORMAT
    keyed: Flag = False
    max_record_bytes: Count = 262144
    max_future_skew: Duration = 300.0

    @field_validator("format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        check_known(name, FORMATS)
        return name

    @property
    def event_format(self) -> EventFormat:
        """The event format of that name."""
        return FORMATS[self.format]


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
    """Groups of send statuses. A status in none of them counts as unrecognised.

    A group that is left out has the statuses of the event format: see `with_defaults`.
    """

    success: tuple[Text, ...] = ()
    failure: tuple[Text, ...] = ()
    throttled: tuple[Text, ...] = ()
    suppressed: tuple[Text, ...] = ()

    def with_defaults(self, event_format: EventFormat) -> Self:
        """Return the groups, with those of the event format in place of each that is left out.

        Raises:
            ProblemsError: if a status is in several groups then.
        """
        defaults = event_format.statuses._asdict()
        left_out = defaults.keys() - self.model_fields_set
        groups = self.model_copy(update={group: defaults[group] for group in left_out})
        problems = list(_in_several_groups(groups.by_group()))
        if problems:
            raise ProblemsError(problems)
        return groups

    def by_group(self) -> dict[str, tuple[str, ...]]:
        """Return the statuses of each group."""
        return {group: getattr(self, group) for group in type(self).model_fields}


def _in_several_groups(groups: Mapping[str, tuple[str, ...]]) -> Iterator[Problem]:
    groups_of: dict[str, list[str]] = {}
    for group, statuses in groups.items():
        for status in statuses:
            groups_of.setdefault(status, []).append(group)
    for status, names in groups_of.items():
        if len(names) > 1:
            yield (), f"status {status} is listed twice: in {' and in '.join(names)}"


class LimitSettings(Settings):
    """How many names are kept apart; past that, counts go on under `__other__`."""

    names: Count = 1_000
    values: Count = 100
    campaigns: Count = 100_000


class FlushSettings(Settings):
    """How long results wait in memory, in seconds."""

    interval: PositiveDuration = 0.1
