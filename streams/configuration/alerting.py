"""What raises an alert, and how it is delivered."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StrictInt, field_validator, model_validator

from streams.configuration.detectors import DEFAULT, AnyDetectorSettings
from streams.domain.deliveries import GIVEN_UP_KEPT_S
from streams.domain.notification.route import EVERY_RECEIVER
from streams.domain.silences.notices import DEFAULT_NOTICE_BEFORE
from streams.domain.silences.silence import DEFAULT_LONGEST
from streams.settings import (
    Count,
    Duration,
    Flag,
    Name,
    Network,
    PositiveDuration,
    Secret,
    Settings,
    Text,
    Url,
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


class CircuitSettings(Settings):
    """When nothing but probes is sent to a receiver that fails; waits in seconds."""

    failures: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] = 10
    wait: PositiveDuration = 5.0
    longest_wait: PositiveDuration = 300.0


def _http_proxy(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("expected a proxy such as http://proxy.example.com:3128")
    return url


class DeliverySettings(Settings):
    """How deliveries are tried again and kept (both in seconds), and where they may go."""

    retry_schedule: tuple[PositiveDuration, ...] = tuple(
        float(seconds)
        for seconds in (5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200, 86400, 86400)
    )
    keep_given_up: PositiveDuration = GIVEN_UP_KEPT_S
    keep_delivered: Duration = 86400.0
    most_delivered: Count = 1000
    circuit: CircuitSettings = CircuitSettings()
    disable_after: Duration = 5 * 86400.0
    tell: Name | None = None
    proxy: Annotated[Url, AfterValidator(_http_proxy)] | None = None
    proxy_credentials: Secret | None = None
    no_proxy: tuple[Name, ...] = ()
    allow_networks: tuple[Network, ...] = ()
    allow_http: Flag = False

    @field_validator("proxy_credentials")
    @classmethod
    def _user_and_password(cls, credentials: SecretStr | None) -> SecretStr | None:
        text = "" if credentials is None else credentials.get_secret_value()
        if credentials is not None and (":" not in text or not text.isprintable()):
            raise ValueError("expected user:password")
        return credentials

    @field_validator("retry_schedule")
    @classmethod
    def _never_sooner(cls, schedule: tuple[float, ...]) -> tuple[float, ...]:
        if list(schedule) != sorted(schedule):
            raise ValueError("expected waits that never get shorter")
        return schedule


class SilenceSettings(Settings):
    """What silences may be; durations in seconds."""

    longest: PositiveDuration = DEFAULT_LONGEST
    notice_before: Duration = DEFAULT_NOTICE_BEFORE


def default_rules() -> tuple[RuleSettings, ...]:
    """The rules of an installation that names none."""
    return (
        RuleSettings(name="failure-spike", group="failure"),
        RuleSettings(name="throttled-spike", group="throttled", severity="warning"),
    )
