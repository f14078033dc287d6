"""What is counted, in which windows, and how soon it is written down."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from streams.domain.formats.event_format import EventFormat
from streams.domain.formats.registry import DEFAULT_FORMAT, FORMATS
from streams.domain.windows import DAY, UTC, Rollup, RollupStep, WindowPolicy
from streams.settings import (
    Count,
    Duration,
    Flag,
    PositiveDuration,
    Problem,
    ProblemsError,
    Settings,
    Text,
    TimeZone,
    WholeSeconds,
    check_known,
    format_duration,
)

_YEARS = (1_262_304_000, 2_524_608_000)
"""From 2010 to 2050, in seconds: when events can be of, and as far as clocks are known."""


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


class RollupSettings(Settings):
    """Longer windows that counts go into when shorter ones expire; in seconds.

    `time_zone` says whose days they are, if they are of days.
    """

    step: Annotated[WholeSeconds, Field(ge=1)]
    retention: WholeSeconds
    time_zone: TimeZone = UTC

    @model_validator(mode="after")
    def _zone_of_days(self) -> Self:
        if self.time_zone != UTC and self.step != DAY:
            raise ProblemsError([(("time_zone",), "expected UTC, or a step of 1d")])
        return self

    def rollup(self) -> Rollup:
        """Return it in the words of the domain."""
        return Rollup(RollupStep(self.step, self.time_zone), self.retention)


DEFAULT_ROLLUPS = (
    RollupSettings(step=3_600, retention=30 * DAY),
    RollupSettings(step=DAY, retention=400 * DAY),
)


class WindowSettings(Settings):
    """Tumbling windows, all in seconds.

    Without `rollups` there are those of `DEFAULT_ROLLUPS` that fit the size and the retention, if
    windows are kept for a day or longer: beside that, an hour more is little.
    """

    size: Annotated[WholeSeconds, Field(ge=1)] = 60
    grace: WholeSeconds = 30
    retention: WholeSeconds = 86400
    idle_timeout: PositiveDuration = 60.0
    rollups: tuple[RollupSettings, ...] | None = None
    late_into_rollups: Flag = False

    @field_validator("rollups")
    @classmethod
    def _each_fits_the_one_before(
        cls, given: tuple[RollupSettings, ...] | None, info: ValidationInfo
    ) -> tuple[RollupSettings, ...]:
        size, retention = info.data.get("size"), info.data.get("retention")
        if size is None or retention is None:
            return given or ()
        before = RollupSettings(step=size, retention=retention)
        if given is None:
            possible = DEFAULT_ROLLUPS if retention >= DAY else ()
            return tuple(each for each in possible if not _misfits(each, before))
        problems: list[Problem] = []
        for at, each in enumerate(given):
            problems += [((at, key), expected) for key, expected in _misfits(each, before)]
            before = each
        if problems:
            raise ProblemsError(problems)
        return given

    def policy(self) -> WindowPolicy:
        """Return them in the words of the domain."""
        rollups = tuple(each.rollup() for each in self.rollups or ())
        return WindowPolicy(self.size, self.grace, self.retention, rollups, self.late_into_rollups)

    @model_validator(mode="after")
    def _outlives_its_grace(self) -> Self:
        if self.retention < self.size + self.grace:
            expected = f"expected at least size + grace, which is {self.size + self.grace}s"
            raise ProblemsError([(("retention",), expected)])
        return self


def _misfits(rollup: RollupSettings, before: RollupSettings) -> list[tuple[str, str]]:
    """Return which keys of a roll-up do not fit the windows that go into it, and what would."""
    found = []
    shorter = format_duration(before.step)
    if rollup.step <= before.step or rollup.step % before.step:
        found.append(("step", f"expected a multiple of {shorter}, and longer"))
    elif before.time_zone != UTC:
        found.append(("step", f"expected none after days of {before.time_zone}"))
    elif _parts_windows(rollup, before.step):
        expected = f"expected a time zone whose days begin at multiples of {shorter}"
        found.append(("time_zone", f"{expected}, or a shorter step before"))
    if rollup.retention <= before.retention:
        expected = f"expected longer than {format_duration(before.retention)}"
        found.append(("retention", f"{expected}, as the shorter windows before"))
    return found


def _parts_windows(rollup: RollupSettings, size: int) -> bool:
    """Tell whether days of a time zone begin in the middle of shorter windows (s), ever."""
    if rollup.time_zone == UTC:
        return False
    step = RollupStep(rollup.step, rollup.time_zone)
    return any(step.start_of(time) % size for time in range(*_YEARS, DAY))


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
