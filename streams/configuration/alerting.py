"""What raises an alert and who hears of it."""

import base64
import binascii
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StrictFloat, StrictInt, field_validator, model_validator

from streams.configuration.values import (
    Count,
    Duration,
    Flag,
    Name,
    Network,
    PositiveDuration,
    Problem,
    ProblemsError,
    Secret,
    Settings,
    Share,
    Text,
    check_url,
)

# Suppressed sends are no attempts, so there is no rate of them.
Group = Literal["success", "failure", "throttled", "unrecognised"]
Scope = Literal["campaign", "treatment", "channel"]
Severity = Literal["critical", "error", "warning", "info"]
EVERY_RECEIVER = "*"
RECEIVER_KINDS = ("webhook",)
DETECTOR_KINDS = ("threshold",)
MOST_LOOKBACK = 120
"""Windows: each of them is read when a campaign has too few attempts."""
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix, not a secret
_SECRET_BYTES = range(24, 65)


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


class ReceiverSettings(Settings):
    """Where alerts of its rules go, and the secrets that sign them (several while one rotates)."""

    name: Name
    kind: str = "webhook"
    url: Text
    secrets: Annotated[tuple[Secret, ...], Field(min_length=1)]
    timeout: PositiveDuration = 10.0

    @field_validator("kind")
    @classmethod
    def _kind(cls, kind: str) -> str:
        return _known_kind(kind, RECEIVER_KINDS)

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        check_url(url)
        return url

    @field_validator("secrets")
    @classmethod
    def _secrets(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            _check_secret(secret.get_secret_value())
        return secrets


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


def _check_secret(secret: str) -> None:
    """Standard Webhooks 1.0.0: `whsec_` and the base64 of 24 to 64 random bytes."""
    if not secret.startswith(_SECRET_PREFIX):
        raise ValueError(f"expected {_SECRET_PREFIX} followed by base64")
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"expected valid base64 after {_SECRET_PREFIX}") from None
    if len(key) not in _SECRET_BYTES:
        raise ValueError(f"expected a key of 24 to 64 bytes, this one has {len(key)}")


def default_rules() -> tuple[RuleSettings, ...]:
    """The rules of an installation that names none."""
    return (
        RuleSettings(name="failure-spike", group="failure"),
        RuleSettings(name="throttled-spike", group="throttled", severity="warning"),
    )
