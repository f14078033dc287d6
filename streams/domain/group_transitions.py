"""What is told about a group of alerts with a common cause: the body of a native webhook.

Times are RFC 3339 in UTC.
"""

from typing import Literal, TypeAlias

import msgspec

from streams.domain.causes.finding import DIMENSIONS, Dimension

GroupTransitionType: TypeAlias = Literal[
    "campaign.group.firing",
    "campaign.group.updated",
    "campaign.group.reminder",
    "campaign.group.resolved",
]
MOST_CAMPAIGNS = 20
"""Campaigns that are listed: those with most hits. The link lists all."""
LONGEST_VALUE = 60
"""Characters of a value or a status in a summary; it is whole elsewhere."""
_NAMES: dict[Dimension, str] = {
    "app_id": "app",
    "channel_type": "channel",
    "delivery_type": "delivery type",
}


class GroupCause(msgspec.Struct):
    """The slice of all sends that explains the alerts.

    `dimensions` has up to two of `app_id`, `channel_type` and `delivery_type`, each with its value;
    null stands for sends without one. Without any, it is everything. `status` is what the hits in
    excess have in common, if that is another one than usual. `share` is that of the excess hits of
    all campaigns, 0 to 1, and `evidence` its logarithmic likelihood ratio in nats, when that was
    highest; `attempts`, `hits` and `expected_hits` are in the slice, since `since`, as of then.
    """

    dimensions: dict[Dimension, str | None]
    status: str | None
    share: float
    evidence: float
    attempts: int
    hits: int
    expected_hits: float
    since: str


class GroupCounts(msgspec.Struct):
    """Alerts of the group: those that fire, those there have ever been, and those that ended.

    `new` have not been told of before.
    """

    firing: int
    joined: int
    ended: int
    new: int


class GroupAlert(msgspec.Struct):
    """One alert of the group, with attempts and hits of its campaign when it joined or ended."""

    alert_id: str
    campaign_id: str
    app_id: str | None
    starts_at: str
    ends_at: str | None
    attempts: int
    hits: int


class GroupLinks(msgspec.Struct):
    """URLs of the API, absolute: all alerts of the group, page by page."""

    alerts: str


class GroupData(msgspec.Struct):
    """The group, as it is at this notification.

    `sequence` counts the notifications of a group from 1. `alerts` are up to 20, those with most
    hits first; `links` is null where the worker has no URL that others can follow.
    """

    group_id: str
    sequence: int
    rule: str
    severity: str
    starts_at: str
    ends_at: str | None
    cause: GroupCause
    counts: GroupCounts
    alerts: list[GroupAlert]
    summary: str
    labels: dict[str, str]
    links: GroupLinks | None


class GroupTransition(msgspec.Struct):
    """One notification about a group."""

    type: GroupTransitionType
    timestamp: str
    data: GroupData


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(GroupTransition).decode


class _Type(msgspec.Struct):
    type: str


_decode_type = msgspec.json.Decoder(_Type).decode


def is_of_group(transition: bytes | msgspec.Raw) -> bool:
    """Tell whether the JSON of a transition is about a group, and not about one alert."""
    return _decode_type(transition).type.startswith("campaign.group.")


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a notification about a group."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "campaign-streams group transition",
        **msgspec.json.schema(GroupTransition),
    }


def named(dimensions: dict[Dimension, str | None]) -> str:
    """Name a slice for people: "channel GCM of app shop", or "everything"."""
    order = [name for name in reversed(DIMENSIONS) if name in dimensions]
    parts = [_named(name, dimensions[name]) for name in order]
    return " of ".join(parts) or "everything"


def summary_of(kind: GroupTransitionType, rule: str, cause: GroupCause, counts: GroupCounts) -> str:
    """Return a sentence for people."""
    status = f", status {_short(cause.status)}" if cause.status is not None else ""
    head = f"{rule}: {named(cause.dimensions)}{status}: "
    if kind == "campaign.group.resolved":
        return f"{head}over, {_alerts(counts.joined)} in all"
    ended = f", {counts.ended:,} ended" if counts.ended else ""
    figures = f"{cause.hits:,} of {cause.attempts:,} attempts"
    return (
        f"{head}{_alerts(counts.firing)} firing{ended}, "
        f"{cause.share:.0%} of the excess of all campaigns ({figures})"
    )


def _alerts(count: int) -> str:
    return f"{count:,} alert" if count == 1 else f"{count:,} alerts"


def _named(name: Dimension, value: str | None) -> str:
    return f"no {_NAMES[name]}" if value is None else f"{_NAMES[name]} {_short(value)}"


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
