"""What raises an alert, and how it is delivered."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from streams.configuration.detectors import DEFAULT, AnyDetectorSettings
from streams.domain.notification.route import EVERY_RECEIVER
from streams.settings import (
    Duration,
    Flag,
    Name,
    Network,
    PositiveDuration,
    Settings,
    Text,
)

# Suppressed sends are no attempts, so there is no rate of them.
Group = Literal["success", "failure", "throttled", "unrecognised"]
Scope = Literal["campaign", "treatment", "channel"]
Severity = Literal["critical", "error", "warning", "info"]


class MatchSettings(Settings):
    """Which campaigns and apps a rule watches: shell-style patterns, one of each has to match."""

    campaigns: Annotated[tuple[Text, ...], Field(min_length=1)] = ("*",)
    apps: Annotated[tuple[Text, ...], Field(min_length=1)] = ("*",)


class RuleSettings(Settings):
    """One alert rule. Durations in seconds."""

    name: Name
    group: Group | None = None
    statuses: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    scope: Scope = "campaign"
    match: MatchSettings = MatchSettings()
    detector: AnyDetectorSettings = DEFAULT
    for_: Duration = Field(default=0.0, validation_alias="for", serialization_alias="for")
    keep_firing_for: Duration | None = None
    no_data_after: PositiveDuration = 900.0
    repeat_interval: PositiveDuration = 14400.0
    reopen_within: Duration = 600.0
    severity: Severity = "critical"
    labels: dict[Text, str] = Field(default_factory=dict)
    receivers: tuple[Text, ...] = (EVERY_RECEIVER,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.group is None) == (self.statuses is None):
            raise ValueError(f"rule {self.name} needs either group or statuses, and not both")
        return self


class DeliverySettings(Settings):
    """How deliveries are tried again (waits in seconds) and where they may go."""

    retry_schedule: tuple[PositiveDuration, ...] = tuple(
        float(seconds)
        for seconds in (5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200, 86400, 86400)
    )
    allow_networks: tuple[Network, ...] = ()
    allow_http: Flag = False

    @field_validator("retry_schedule")
    @classmethod
    def _never_sooner(cls, schedule: tuple[float, ...]) -> tuple[float, ...]:
        if list(schedule) != sorted(schedule):
            raise ValueError("expected waits that never get shorter")
        return schedule


def default_rules() -> tuple[RuleSettings, ...]:
    """The rules of an installation that names none."""
    return (
        RuleSettings(name="failure-spike", group="failure"),
        RuleSettings(name="throttled-spike", group="throttled", severity="warning"),
    )
