"""What is told about an alert: the value on the alerts topic and the body of a native webhook.

Times are RFC 3339 in UTC.
"""

from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from streams.domain.transition_causes import Acknowledged, Cause

TransitionType: TypeAlias = Literal[
    "campaign.alert.firing",
    "campaign.alert.reminder",
    "campaign.alert.acknowledged",
    "campaign.alert.resolved",
    "campaign.alert.expired",
]
ENDS: frozenset[TransitionType] = frozenset({"campaign.alert.resolved", "campaign.alert.expired"})
"""The transitions with which an alert ends."""
FOLLOW_UPS: frozenset[TransitionType] = ENDS | {"campaign.alert.acknowledged"}
"""Those that say nothing to a receiver that was not notified that the alert fires."""


class Span(msgspec.Struct):
    """A window, or several in a row: start inclusive, end exclusive."""

    start: str
    end: str


class Evidence(msgspec.Struct, omit_defaults=True):
    """The counts that the decision was made on, and its other figures.

    Attempts are counted from `since` on, which may be in the middle of a window; it is left out of
    alerts of older versions. `lower_bound` and `baseline_rate` are null if the rule's detector has
    none. `figures` has the others by which a detector decided, by name; it is left out where there
    are none.
    """

    attempts: int
    hits: int
    rate: float
    lower_bound: float | None
    baseline_rate: float | None
    counts: dict[str, int]
    figures: dict[str, float] = {}
    since: str | None = None


class Peak(msgspec.Struct):
    """The figures of the windows with the highest rate of the episode so far."""

    attempts: int
    hits: int
    rate: float
    window: Span


class EpisodeTotals(msgspec.Struct):
    """Attempts and hits of whole windows since `since`, the start of the first that breached.

    Each attempt is counted once, whatever a decision was made on. What was sent in that window
    before the breach began is among them, so the rate may be below that of the evidence.
    """

    attempts: int
    hits: int
    rate: float
    since: str


class UsualCounts(msgspec.Struct):
    """Attempts and hits in the windows from which it is known what is usual."""

    attempts: int
    hits: int
    window: Span


class SliceExcess(msgspec.Struct):
    """The slice of the sends that explains the excess.

    `dimensions` has one or two of `treatment_id`, `delivery_type` and `channel_type`, each with its
    value; null stands for sends without one. `share` is that of the excess of all sends, 0 to 1.
    Attempts and hits are of the same whole windows as those of the explanation. `expected_hits`
    would be usual of as many attempts, and `usual_rate` is their share.
    """

    dimensions: dict[str, str | None]
    share: float
    attempts: int
    hits: int
    rate: float
    usual_rate: float
    expected_hits: float


class StatusExcess(msgspec.Struct):
    """How many hits with one status there are beyond those usual, and their share, 0 to 1."""

    status: str
    share: float
    hits: int
    expected_hits: float


class Explanation(msgspec.Struct):
    """What explains that the rate is higher than usual.

    `attempts`, `hits` and `rate` are of the whole windows between the ends of `window`, from the
    one in which the breach began: with what was sent in it before that, so `rate` may be far below
    that of the evidence. Parts of a campaign are counted by window alone. `expected_hits` would be
    usual of as many attempts, and `usual_rate` is their share. `usual` is null for sends without an
    earlier window; one hit in twenty is taken to be usual then. `slice` is null if no part of the
    sends explains the excess better than all of them. `statuses` has the largest. `samples` has up
    to three events, only with the fields that tell nothing of a person, by their paths in the
    event.
    """

    window: Span
    attempts: int
    hits: int
    rate: float
    usual_rate: float
    expected_hits: float
    usual: UsualCounts | None
    slice: SliceExcess | None
    statuses: list[StatusExcess]
    samples: list[dict[str, str | int]] = []


class Links(msgspec.Struct):
    """Absolute URLs: of the API (JSON), and of the dashboard's pages for people.

    The pages are left out of transitions of older versions.
    """

    windows: str
    alert: str
    alert_page: str | UnsetType = UNSET
    campaign_page: str | UnsetType = UNSET


class AlertData(msgspec.Struct):
    """The alert, as it is after the transition.

    `channel_type` is the endpoint's channel, if the rule is about channels. No rule is about
    delivery types, so `delivery_type` is always null.
    `links` is null where the worker has no URL that others can follow. `explanation` is null while
    the alert is pending, and if nothing could be said. `cause` is that of the newest transition;
    null while the alert is pending. `acknowledged` is null if nobody has, and once the alert has
    ended. `episode` counts the episodes of the alert: beyond 1, it came back within the
    `reopen_within` of its rule. `starts_at`, `ends_at`, `peak` and `totals` are those of this
    episode; `first_starts_at` is the `starts_at` of the first one, null if this is the first.
    `campaign_name` and `app_name` are what people call them, left out where they have no name.
    """

    alert_id: str
    sequence: int
    rule: str
    severity: str
    campaign_id: str
    treatment_id: str | None
    delivery_type: str | None
    channel_type: str | None
    app_id: str | None
    starts_at: str
    ends_at: str | None
    window: Span
    evidence: Evidence
    peak: Peak
    totals: EpisodeTotals
    summary: str
    labels: dict[str, str]
    links: Links | None
    explanation: Explanation | None = None
    cause: Cause | None = None
    acknowledged: Acknowledged | None = None
    episode: int = 1
    first_starts_at: str | None = None
    campaign_name: str | UnsetType = UNSET
    app_name: str | UnsetType = UNSET


class Transition(msgspec.Struct):
    """One change of one alert. `data.sequence` counts an alert's transitions from 1."""

    type: TransitionType
    timestamp: str
    data: AlertData


def named(its_id: str, name: str | UnsetType | None) -> str:
    """Return what people are shown of a campaign or an app: its name, if it has one, and its id."""
    return f"{name} ({its_id})" if name else its_id


def in_ms(seconds: float) -> int:
    """Return a time (s since the epoch) in milliseconds, as `rfc3339` writes it."""
    return round(seconds * 1000)


def rfc3339(seconds: float) -> str:
    """Write a time (s since the epoch) in RFC 3339, UTC, with milliseconds where there are any."""
    milliseconds = in_ms(seconds)
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    text = time.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds")
    return text.replace("+00:00", "Z")


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a transition."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "campaign-streams alert transition",
        **msgspec.json.schema(Transition),
    }


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Transition).decode
