"""What lanes and tellers tell each other: the records of the groups topic.

    key                                value
    ["lane", rule, lane]               LaneReport: sums of the lane's campaigns
    ["member", rule, lane, alert id]   Member: an alert that is told of in a group; null: it is over
    ["causes", rule]                   Announcement: the causes that the rule's teller knows
    ["silenced", notice id, lane]      SilencedAlerts: what a silence that ends keeps from whom
    ["receiver", name, lane]           ReceiverRecord: what the lane's worker knows of a receiver

A lane is a partition of campaigns. The teller of a rule is the lane that decides about its causes
and tells receivers of them; a silence and a receiver have a teller, too. Each record has one
writer, and is written in its transactions. The members of a lane have versions, which rise with
each record.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar, Union
from zlib import crc32

import msgspec

from streams.domain.causes.finding import Dimension
from streams.domain.causes.summary import LaneSummary
from streams.domain.receivers import ReceiverRecord

T = TypeVar("T")

FRESH = 10.0
"""Seconds for which a report counts."""


def teller_of(name: str, lanes: int) -> int:
    """Return the lane that tells of the causes of a rule, or of a silence or a receiver."""
    return crc32(name.encode(errors="surrogatepass")) % lanes


class LaneReport(msgspec.Struct, frozen=True):
    """What a lane knows of its campaigns.

    Attributes:
        summary: their sums.
        at: when they were made (s, UTC).
        asks: whether the lane wants to know of the others, as it has alerts that are new.
        waiting: how many of its alerts wait to be told of.
    """

    summary: LaneSummary
    at: float
    asks: bool
    waiting: int


class Member(msgspec.Struct, frozen=True):
    """An alert that receivers are told of in a group. Times are seconds since the epoch, UTC.

    Attributes:
        version: higher for each record of the lane.
        receivers: who are told.
        cause_id: of the cause that explains it.
        attempts: in its campaign since it began, as far as its lane knew.
        hits: of these.
        ended_at: when it ended; null while it fires.
        episode: counts the episodes of the alert from 1: one that comes back is another member.
    """

    alert_id: str
    rule: str
    lane: int
    version: int
    campaign_id: str
    app_id: str | None
    severity: str
    receivers: tuple[str, ...]
    cause_id: str
    starts_at: float
    attempts: int
    hits: int
    ended_at: float | None = None
    episode: int = 1

    @property
    def member_id(self) -> str:
        """Return what names it among all members of the rule."""
        return self.alert_id if self.episode == 1 else f"{self.alert_id}-{self.episode}"


class OpenCause(msgspec.Struct, frozen=True):
    """A cause that alerts may belong to, as the lanes have to know it."""

    cause_id: str
    values: dict[Dimension, str | None]
    status: str | None
    since: int


class Announcement(msgspec.Struct, frozen=True):
    """What the teller of a rule tells the lanes.

    Attributes:
        causes: that alerts may belong to.
        seen: by lane, the version of the newest member that the teller has in its state.
        merged: by cause, the one that has its alerts now.
    """

    rule: str
    causes: tuple[OpenCause, ...] = ()
    seen: dict[int, int] = {}
    merged: dict[str, str] = {}


class SilencedAlerts(msgspec.Struct, frozen=True):
    """What a silence that ends soon keeps from receivers, in one lane.

    Attributes:
        receivers: how many alerts, by the name of the receiver.
    """

    receivers: dict[str, int]


class ReportKey(msgspec.Struct, frozen=True, array_like=True, tag="lane"):
    """Key of a `LaneReport`."""

    rule: str
    lane: int


class MemberKey(msgspec.Struct, frozen=True, array_like=True, tag="member"):
    """Key of a `Member`."""

    rule: str
    lane: int
    alert_id: str


class AnnouncementKey(msgspec.Struct, frozen=True, array_like=True, tag="causes"):
    """Key of an `Announcement`."""

    rule: str


class SilencedKey(msgspec.Struct, frozen=True, array_like=True, tag="silenced"):
    """Key of a `SilencedAlerts`."""

    notice_id: str
    lane: int


class LaneReceiverKey(msgspec.Struct, frozen=True, array_like=True, tag="receiver"):
    """Key of what the worker of a lane knows of a receiver."""

    name: str
    lane: int


LaneKey: TypeAlias = SilencedKey | LaneReceiverKey
"""Key of a record that says how something is in one lane."""

encode = msgspec.json.Encoder().encode
_AnyKey: Any = Union[  # noqa: UP007 - a value, for msgspec
    ReportKey, MemberKey, AnnouncementKey, SilencedKey, LaneReceiverKey
]
_decode_key = msgspec.json.Decoder(_AnyKey).decode
_decode_report = msgspec.json.Decoder(LaneReport).decode
_decode_member = msgspec.json.Decoder(Member).decode
_decode_announcement = msgspec.json.Decoder(Announcement).decode
_decode_silenced = msgspec.json.Decoder(SilencedAlerts).decode
_decode_receiver = msgspec.json.Decoder(ReceiverRecord).decode


class GroupView:
    """What is on the groups topic, as far as it was read.

    Attributes:
        reports: by rule and lane.
        members: by rule, lane and alert id.
        announced: by rule.
        silenced: by notice and lane.
        receivers: what the workers of the lanes know of receivers, by name and lane.
        version: rises with each record.
        generation: rises whenever the topic was read anew: what is not on it has to be written.
    """

    def __init__(self) -> None:
        self.version = 0
        self.generation = 0
        self.clear()

    def clear(self) -> None:
        """Forget all, as the topic is read anew."""
        self.reports: dict[str, dict[int, LaneReport]] = {}
        self.members: dict[str, dict[int, dict[str, Member]]] = {}
        self.announced: dict[str, Announcement] = {}
        self.silenced: dict[str, dict[int, SilencedAlerts]] = {}
        self.receivers: dict[str, dict[int, ReceiverRecord]] = {}
        self.version += 1
        self.generation += 1

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take a record.

        Raises:
            ValueError: if it is none of the groups topic.
        """
        try:
            self._restore(_decode_key(key), value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"key {key[:200]!r}: {error}") from error
        self.version += 1

    def _restore(
        self, key: ReportKey | MemberKey | AnnouncementKey | LaneKey, value: bytes | None
    ) -> None:
        match key:
            case SilencedKey(notice_id, lane):
                silenced = None if value is None else _decode_silenced(value)
                _put(self.silenced, notice_id, lane, silenced)
            case LaneReceiverKey(name, lane):
                record = None if value is None else _decode_receiver(value)
                _put(self.receivers, name, lane, record)
            case ReportKey(rule, lane):
                reports = self.reports.setdefault(rule, {})
                if value is None:
                    reports.pop(lane, None)
                else:
                    reports[lane] = _decode_report(value)
            case MemberKey(rule, lane, alert_id):
                members = self.members.setdefault(rule, {}).setdefault(lane, {})
                if value is None:
                    members.pop(alert_id, None)
                else:
                    members[alert_id] = _decode_member(value)
            case AnnouncementKey(rule):
                if value is None:
                    self.announced.pop(rule, None)
                else:
                    self.announced[rule] = _decode_announcement(value)

    def of_lane(self, key: LaneKey) -> SilencedAlerts | ReceiverRecord | None:
        """Return what is known under the key of a lane; null for nothing."""
        match key:
            case SilencedKey(notice_id, lane):
                return self.silenced.get(notice_id, {}).get(lane)
            case LaneReceiverKey(name, lane):
                return self.receivers.get(name, {}).get(lane)

    def fresh_reports(self, rule: str, now: float) -> Mapping[int, LaneReport]:
        """Return the reports of a rule that count at `now` (s), by lane."""
        known = self.reports.get(rule, {})
        return {lane: each for lane, each in sorted(known.items()) if now - each.at <= FRESH}

    def highest_version(self, lane: int) -> int:
        """Return the highest version of a member that a lane has written; 0 for none."""
        versions = [
            member.version
            for lanes in self.members.values()
            for member in lanes.get(lane, {}).values()
        ]
        return max(versions, default=0)

    def group_of(self, rule: str, cause_id: str) -> str:
        """Return the cause that has the alerts of a cause now: itself, if it was not merged."""
        announced = self.announced.get(rule)
        merged = announced.merged if announced is not None else {}
        for _ in range(len(merged)):
            cause_id = merged.get(cause_id, cause_id)
        return cause_id


def _put(known: dict[str, dict[int, T]], name: str, lane: int, value: T | None) -> None:
    """Keep the value of a lane; null removes it."""
    if value is not None:
        known.setdefault(name, {})[lane] = value
        return
    lanes = known.get(name, {})
    lanes.pop(lane, None)
    if not lanes:
        known.pop(name, None)
