"""What raises an alert, and how it is delivered."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, field_validator, model_validator

from streams.settings import (
    Count,
    Duration,
    Flag,
    Name,
    Network,
    PositiveDuration,
    Problem,
    ProblemsError,
    Settings,
    Share,
    Text,
)

# Suppressed sends are no attempts, so there is no rate of them.
Group = Literal["success", "failure", "throttled", "unrecognised"]
Scope = Literal["campaign", "treatment", "channel"]
Severity = Literal["critical", "error", "warning", "info"]
EVERY_RECEIVER = "*"
DETECTOR_KINDS = ("threshold",)
MOST_LOOKBACK = 120
"""Windows: each of them is read when a campaign has too few attempts."""


def _known_kind(kind: str, known: tuple[str, ...]) -> str:
    if kind not in known:
        raise ValueError(f"not known, known kinds: {', '.join(known)}")
    return kind


class MatchSettings(Settings):
    """Which campaigns and apps a rule watches: shell-style patterns, one of each has to match."""

    campaigns: Annotated[tuple[Text, ...], Field(min_length=1)] = ("*",)
    apps: Annotated[tuple[Text, ...], Field(min_length=1)] = ("*",)


class DetectorSettings(Settings):
    """`threshold`: the confidence bound of the rate is over a level (a share of attempts)."""

    kind: str = "threshold"
    level: Share = 0.10
    confidence: Annotated[StrictFloat, Field(ge=0.5, lt=1)] = 0.95

    @field_validator("kind")
    @classmethod
    def _kind(cls, kind: str) -> str:
        return _known_kind(kind, DETECTOR_KINDS)


def _half_the_level(validated: dict[str, Any]) -> float:
    # The detector is absent here when it was refused itself.
    return float(validated.get("detector", DetectorSettings()).level) / 2


class RuleSettings(Settings):
    """One alert rule. Durations in seconds; levels are shares of attempts."""

    name: Name
    group: Group | None = None
    statuses: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    scope: Scope = "campaign"
    match: MatchSettings = MatchSettings()
    detector: DetectorSettings = DetectorSettings()
    recovery_level: StrictFloat = Field(default_factory=_half_the_level, ge=0, lt=1)
    min_attempts: Count = 50
    lookback_windows: Annotated[StrictInt, Field(ge=1, le=MOST_LOOKBACK)] = 30
    for_: Duration = Field(default=0.0, validation_alias="for", serialization_alias="for")
    keep_firing_for: Duration | None = None
    no_data_after: PositiveDuration = 900.0
    repeat_interval: PositiveDuration = 14400.0
    severity: Severity = "critical"
    labels: dict[Text, str] = Field(default_factory=dict)
    receivers: tuple[Text, ...] = (EVERY_RECEIVER,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems: list[Problem] = []
        if (self.group is None) == (self.statuses is None):
            problems.append(((), f"rule {self.name} needs either group or statuses, and not both"))
        if self.recovery_level > self.detector.level:
            expected = f"expected at most detector.level, which is {self.detector.level}"
            problems.append((("recovery_level",), expected))
        if problems:
            raise ProblemsError(problems)
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
