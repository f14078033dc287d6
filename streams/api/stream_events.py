"""The events of the live stream, and which of them a reader wants."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from streams.api import answers
from streams.api.asking import Ask
from streams.api.campaign_ids import CAMPAIGN_IDS
from streams.api.parameters import choices, text
from streams.api.visibility import EVERYTHING, Visibility

KIND = choices(
    "type", ("window", "alert", "delivery", "health"), "Only events of these types, with commas."
)
CAMPAIGN = text("campaign_id", "Only what is about this campaign.")
APP = text("app_id", "Only windows and alerts of campaigns of this app.")
RULE = text("rule", "Of alerts and deliveries, only those of this rule.")

_encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """One event.

    Attributes:
        kind: its type.
        campaign_id: of the campaign that it is about; null for none.
        app_id: of the campaign's app; null if it is not known.
        rule: of the alert that it is about; null for none.
        encoded: as it is sent, without an id.
    """

    kind: str
    campaign_id: str | None
    app_id: str | None
    rule: str | None
    encoded: bytes


class Wanted(NamedTuple):
    """What a reader wants; null for everything.

    Attributes:
        kinds: types of events.
        campaign_id: what is about this campaign.
        campaign_ids: windows of these campaigns alone.
        app_id: windows and alerts of campaigns of this app.
        rule: alerts and deliveries of this rule.
        visible: what the reader may see.
    """

    kinds: tuple[str, ...] | None
    campaign_id: str | None
    campaign_ids: frozenset[str] | None
    app_id: str | None
    rule: str | None
    visible: Visibility = EVERYTHING

    @classmethod
    def of(cls, ask: Ask) -> "Wanted":
        """Return what a request wants."""
        campaign_ids = ask.get(CAMPAIGN_IDS, None)
        return cls(
            ask.get(KIND, None),
            ask.get(CAMPAIGN, None),
            frozenset(campaign_ids) if campaign_ids is not None else None,
            ask.get(APP, None),
            ask.get(RULE, None),
            ask.caller.visible,
        )

    @property
    def windows_of(self) -> tuple[str, ...] | None:
        """The campaigns whose windows are wanted; null for all."""
        if self.kinds is not None and "window" not in self.kinds:
            return ()
        if self.campaign_id is not None:
            return (self.campaign_id,)
        return None if self.campaign_ids is None else tuple(self.campaign_ids)

    def has(self, event: Event) -> bool:
        """Tell whether an event is wanted; those that are about no data always are."""
        if self.kinds is not None and event.kind not in {*self.kinds, "missed"}:
            return False
        if event.kind in {"health", "missed"}:
            return True
        if not self._may_see(event):
            return False
        is_named = self.campaign_ids is None or event.campaign_id in self.campaign_ids
        return (
            self.campaign_id in {None, event.campaign_id}
            and (event.kind != "window" or is_named)
            and (event.kind == "delivery" or self.app_id in {None, event.app_id})
            and (event.kind == "window" or self.rule in {None, event.rule})
        )

    def _may_see(self, event: Event) -> bool:
        if self.visible.is_whole:
            return True
        if event.campaign_id is None:
            return False
        return self.visible.sees(event.campaign_id, event.app_id)


def events_of(changes: answers.Changes) -> list[Event]:
    """Return the events that tell of changes."""
    windows = (
        _event("window", each.campaign_id, each.app_id, None, each) for each in changes.windows
    )
    alerts = (
        _event("alert", each.campaign_id, each.app_id, each.rule, each) for each in changes.alerts
    )
    deliveries = (
        _event("delivery", each.campaign_id or None, each.app_id, each.rule, each)
        for each in changes.deliveries
    )
    return [*windows, *alerts, *deliveries]


def missed(partitions: Sequence[int]) -> Event:
    """Return the event that tells in which partitions more has changed than is streamed."""
    return _event("missed", None, None, None, answers.Missed(partitions=list(partitions)))


def health(told: answers.StreamHealth) -> Event:
    """Return the event that tells of a worker's health."""
    return _event("health", None, None, None, told)


def _event(
    kind: str, campaign_id: str | None, app_id: str | None, rule: str | None, data: Struct
) -> Event:
    # JSON has no line feeds, which would end the field.
    encoded = b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(data))
    return Event(kind, campaign_id, app_id, rule, encoded)
