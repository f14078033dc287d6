"""What lanes and tellers tell each other: the records of the groups topic.

    key                                value
    ["lane", rule, lane]               LaneReport: sums of the lane's campaigns
    ["member", name, lane, alert id]   Member: an alert that is told of in a group; null: it is over
    ["causes", name]                   Announcement: the causes that the teller knows
    ["group", name, group id]          GroupState: a group that receivers are told of; null: it is
                                       forgotten
    ["silenced", notice id, lane]      SilencedAlerts: what a silence that ends keeps from whom
    ["receiver", name, lane]           ReceiverRecord: what the lane's worker knows of a receiver


A name is that of a rule, for groups by cause, or one of `group_names`. A lane is a partition of
campaigns. The teller of a name is the lane that decides about its groups and tells receivers of
them; a silence and a receiver have a teller, too. Each record has one writer, and is written in its
transactions. The members of a lane have versions, which rise with each record.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar, Union
from zlib import crc32

import msgspec

from streams.domain.causes.finding import Dimension
from streams.domain.causes.summary import LaneSummary
from streams.domain.receivers import ReceiverRecord

T = TypeVar("T")

FRESH = 10.0
"""Seconds for which a report counts."""
MOST_LISTED, MOST_LISTED_BYTES = 100, 8 * 1024
"""Campaigns that the record of a group lists, and bytes of their names and apps."""


MemberState: TypeAlias = Literal["waiting", "alone", "handed-over"]
"""A member by its labels waits for others, is told by itself as there were none, or is told of by
the teller. One by its cause is written once it is handed over."""
GroupReason: TypeAlias = Literal["cause", "labels", "rate-limit"]
"""What the alerts of a group have in common; of the last one, that they were beyond the limit."""


def teller_of(name: str, lanes: int) -> int:
    """Return the lane that tells of the groups of a name, or of a silence or a receiver."""
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
        cause_id: of the cause that explains it; by labels, the same for all with the same values.
        attempts: in its campaign since it began, as far as its lane knew.
        hits: of these.
        ended_at: when it ended; null while it fires.
        state: what has become of it.
        joined: its version when it was handed over.
        since: since when it waited; 0 if that is not known.
        labels: that its group has in common; none by cause.
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
    state: MemberState = "handed-over"
    joined: int = 0
    since: float = 0.0
    labels: dict[str, str] = {}
    episode: int = 1

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None

    @property
    def member_id(self) -> str:
        """Return what names it among all members of its name."""
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


class ToldReceiver(msgspec.Struct, frozen=True):
    """How often a receiver was told of a group, and when last (s, UTC); null for not yet."""

    notifications: int
    told_at: float | None


class GroupState(msgspec.Struct, frozen=True):
    """A group as its teller knows it. Times are seconds since the epoch, UTC.

    Attributes:
        reason: what its alerts have in common.
        rule: that all of them are of; null if there may be several.
        severity: the highest one of its alerts.
        labels: that it is grouped by; none by cause.
        dimensions: of the cause's slice; null if there is no cause.
        status: that the hits in excess have in common; null if it says nothing.
        starts_at: when its first alert began.
        firing: how many alerts fire.
        joined: how many it has had.
        receivers: who is told of it.
        ended_at: when receivers were told that it is over; null before that.
        key: `Member.cause_id` of its members by labels.
        after: by lane, the version of the newest member that was there before it.
        campaigns: of all alerts it has had, with their apps, in order; null if they are too many to
            be listed (`listed_campaigns`), or not known.
    """

    group_id: str
    reason: GroupReason
    rule: str | None
    severity: str
    labels: dict[str, str]
    dimensions: dict[Dimension, str | None] | None
    status: str | None
    starts_at: float
    firing: int
    joined: int
    receivers: dict[str, ToldReceiver]
    ended_at: float | None = None
    key: str = ""
    after: dict[int, int] = {}
    campaigns: tuple[tuple[str, str | None], ...] | None = None


def listed_campaigns(
    found: Iterable[tuple[str, str | None]],
) -> tuple[tuple[str, str | None], ...] | None:
    """Return campaigns and their apps, each once and in order; null if they are too many."""
    found = set(found)
    size = sum(len(name.encode()) for pair in found for name in pair if name is not None)
    if len(found) > MOST_LISTED or size > MOST_LISTED_BYTES:
        return None
    return tuple(sorted(found, key=lambda pair: (pair[0], pair[1] or "")))


class ReportKey(msgspec.Struct, frozen=True, array_like=True, tag="lane"):
    """Key of a `LaneReport`."""

    rule: str
    lane: int


class MemberKey(msgspec.Struct, frozen=True, array_like=True, tag="member"):
    """Key of a `Member`; `rule` is the name that it is grouped under."""

    rule: str
    lane: int
    alert_id: str


class AnnouncementKey(msgspec.Struct, frozen=True, array_like=True, tag="causes"):
    """Key of an `Announcement`."""

    rule: str


class GroupStateKey(msgspec.Struct, frozen=True, array_like=True, tag="group"):
    """Key of a `GroupState`."""

    name: str
    group_id: str


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
    ReportKey, MemberKey, AnnouncementKey, GroupStateKey, SilencedKey, LaneReceiverKey
]
_decode_key = msgspec.json.Decoder(_AnyKey).decode
_decode_report = msgspec.json.Decoder(LaneReport).decode
_decode_member = msgspec.json.Decoder(Member).decode
_decode_announcement = msgspec.json.Decoder(Announcement).decode
_decode_group = msgspec.json.Decoder(GroupState).decode
_decode_silenced = msgspec.json.Decoder(SilencedAlerts).decode
_decode_receiver = msgspec.json.Decoder(ReceiverRecord).decode


class GroupView:
    """What is on the groups topic, as far as it was read.

    Attributes:
        reports: by rule and lane.
        members: by name, lane and alert id.
        announced: by name.
        groups: by name and group id.
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
        self.groups: dict[str, dict[str, GroupState]] = {}
        self._live: dict[tuple[str, str], set[tuple[int, str]]] = {}
        """By name and what they have in common, lanes and ids of the alerts that fire."""
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
        self,
        key: ReportKey | MemberKey | AnnouncementKey | GroupStateKey | LaneKey,
        value: bytes | None,
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
            case MemberKey():
                self._restore_member(key, None if value is None else _decode_member(value))
            case AnnouncementKey(rule):
                if value is None:
                    self.announced.pop(rule, None)
                else:
                    self.announced[rule] = _decode_announcement(value)
            case GroupStateKey(name, group_id):
                groups = self.groups.setdefault(name, {})
                if value is None:
                    groups.pop(group_id, None)
                else:
                    groups[group_id] = _decode_group(value)

    def _restore_member(self, key: MemberKey, member: Member | None) -> None:
        members = self.members.setdefault(key.rule, {}).setdefault(key.lane, {})
        before = members.pop(key.alert_id, None)
        if before is not None:
            alike = self._live.get((key.rule, before.cause_id), set())
            alike.discard((key.lane, key.alert_id))
            if not alike:
                self._live.pop((key.rule, before.cause_id), None)
        if member is not None:
            members[key.alert_id] = member
            if member.is_live:
                alike = self._live.setdefault((key.rule, member.cause_id), set())
                alike.add((key.lane, key.alert_id))

    def has_others(self, name: str, key: str, lane: int) -> bool:
        """Tell whether alerts of other lanes fire that have the same in common."""
        return any(other != lane for other, _ in self._live.get((name, key), ()))

    def group_by_labels(self, name: str, member: Member) -> str | None:
        """Return the id of the group that a member by labels is in; null if it is not known yet.

        Groups with the same labels follow one another, and each began after some members of a lane.
        """
        alike = [
            (state.after.get(member.lane, 0), state.starts_at, state.group_id)
            for state in self.groups.get(name, {}).values()
            if state.key == member.cause_id and state.after.get(member.lane, 0) < member.joined
        ]
        return max(alike)[-1] if alike else None

    def group(self, group_id: str) -> GroupState | None:
        """Return one group."""
        found = (groups.get(group_id) for groups in self.groups.values())
        return next((each for each in found if each is not None), None)

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
