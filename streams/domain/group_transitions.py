"""What is told about a group of alerts: the body of a native webhook.

Times are RFC 3339 in UTC.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from streams.domain.causes.exchange import GroupReason
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


class GroupCounts(msgspec.Struct, omit_defaults=True):
    """Alerts of the group: those that fire, those there have ever been, and those that ended.

    `new` have not been told of before. `more` fire besides, if any: the group is too large for them
    to be among the others, until some of these have ended.
    """

    firing: int
    joined: int
    ended: int
    new: int
    more: int = 0


class GroupAlert(msgspec.Struct):
    """One alert of the group, with attempts and hits of its campaign when it joined or ended.

    `campaign_name` and `app_name` are what people call them, left out where they have no name.
    """

    alert_id: str
    campaign_id: str
    app_id: str | None
    starts_at: str
    ends_at: str | None
    attempts: int
    hits: int
    campaign_name: str | UnsetType = UNSET
    app_name: str | UnsetType = UNSET


class GroupLinks(msgspec.Struct):
    """Absolute URLs of all alerts of the group: of the API (JSON, page by page), and for people.

    The page of the dashboard is left out of notifications of older versions.
    """

    alerts: str
    page: str | UnsetType = UNSET


class GroupData(msgspec.Struct):
    """The group, as it is at this notification.

    `sequence` counts the notifications of a group from 1. `reason` says what its alerts have in
    common: a `cause`; the labels in `group_labels`; or, of the last one, that they were beyond the
    receiver's rate limit. `rule` is null if they are of several. `severity` is the highest one.
    `alerts` are up to 20 of those that fire, those with most hits first, of so many `campaigns`;
    once none fires, of all. `labels` are those that the rules have in common. `links` is null where
    the worker has no URL that others can follow.
    """

    group_id: str
    sequence: int
    rule: str | None
    severity: str
    starts_at: str
    ends_at: str | None
    cause: GroupCause | None
    counts: GroupCounts
    alerts: list[GroupAlert]
    summary: str
    labels: dict[str, str]
    links: GroupLinks | None
    reason: GroupReason = "cause"
    group_labels: dict[str, str] = {}
    campaigns: int = 0


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


def named_labels(labels: Mapping[str, str]) -> str:
    """Name labels for people: "app_id=shop, rule=failure-spike"."""
    named_ones = [f"{_short(name)}={_short(value)}" for name, value in labels.items() if value]
    lacking = [f"no {_short(name)}" for name, value in labels.items() if not value]
    return ", ".join([*named_ones, *lacking])


def title_of(data: GroupData) -> str:
    """Name a group for people: its rule and its cause, or its labels."""
    match data.reason:
        case "labels":
            return named_labels(data.group_labels)
        case "rate-limit":
            return f"{data.rule}: beyond the rate limit" if data.rule else "beyond the rate limit"
        case "cause":
            cause = data.cause
            status = f", status {_short(cause.status)}" if cause and cause.status else ""
            return f"{data.rule}: {named(cause.dimensions if cause else {})}{status}"


def summary_of(kind: GroupTransitionType, data: GroupData) -> str:
    """Return a sentence for people."""
    head, cause, counts = title_of(data), data.cause, data.counts
    if kind == "campaign.group.resolved":
        return f"{head}: over, {_alerts(counts.joined)} in all"
    ended = f" and {counts.more:,} more" if counts.more else ""
    ended += f", {counts.ended:,} ended" if counts.ended else ""
    if cause is None:
        campaigns = f"{data.campaigns:,} campaign" + ("" if data.campaigns == 1 else "s")
        return f"{head}: {campaigns}, {_alerts(counts.firing)} firing{ended}"
    figures = f"{cause.hits:,} of {cause.attempts:,} attempts"
    return (
        f"{head}: {_alerts(counts.firing)} firing{ended}, "
        f"{cause.share:.0%} of the excess of all campaigns ({figures})"
    )


def _alerts(count: int) -> str:
    return f"{count:,} alert" if count == 1 else f"{count:,} alerts"


def _named(name: Dimension, value: str | None) -> str:
    return f"no {_NAMES[name]}" if value is None else f"{_NAMES[name]} {_short(value)}"


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
