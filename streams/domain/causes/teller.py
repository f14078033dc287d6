"""The teller of a rule: finds its causes, and tells receivers of groups of alerts.

One lane is the teller of a rule (`exchange.teller_of`). It reads what the lanes say of their
campaigns and which alerts they have handed over, and keeps all that it has decided in a record of
its own, written in the transaction that has the notifications. So a notification is decided once,
with the same id whoever sends it, and goes on where it was when the lane moves.

A member counts once it is in that record: the teller reads what is newer than it has seen of a
lane, and nothing twice, even where its worker has read less of the topic than the one before. An
alert that ended before any receiver was told of it is told of all the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from streams.domain.causes import book as books
from streams.domain.causes import exchange
from streams.domain.causes.book import REMEMBERED, Book, Cause
from streams.domain.causes.exchange import (
    Announcement,
    AnnouncementKey,
    GroupView,
    LaneReport,
    Member,
    OpenCause,
    teller_of,
)
from streams.domain.causes.finding import find
from streams.domain.causes.summary import added_up
from streams.domain.deliveries import Delivery, Outbox, decided
from streams.domain.group_transitions import (
    MOST_CAMPAIGNS,
    GroupAlert,
    GroupCause,
    GroupCounts,
    GroupData,
    GroupLinks,
    GroupTransition,
    GroupTransitionType,
    encode,
    named,
    summary_of,
)
from streams.domain.notification import grouping
from streams.domain.notification.grouping import (
    Assignment,
    Change,
    GroupNotification,
    Groups,
    GroupTimes,
)
from streams.domain.rules import Rule
from streams.domain.transitions import rfc3339

OTHERS_WITHIN = 2.0
"""Seconds for which reports of other lanes are waited for: parts of all sums invent causes."""
STEP_EVERY = 0.5
"""Seconds between two steps of a teller."""

_TYPES: Mapping[Change, GroupTransitionType] = {
    "firing": "campaign.group.firing",
    "updated": "campaign.group.updated",
    "subsiding": "campaign.group.updated",
    "reminder": "campaign.group.reminder",
    "resolved": "campaign.group.resolved",
}


class KnownMember(msgspec.Struct):
    """A member, as the teller knows it.

    Attributes:
        group_id: of the group that tells of it.
        entered: receivers whose group has counted it.
        told: receivers that were told of it.
        over_at: when (s, UTC) nobody had to be told of it any more; null before that.
    """

    member: Member
    group_id: str
    entered: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    over_at: float | None = None


class TellerRecord(msgspec.Struct):
    """All that the teller of a rule has decided.

    Attributes:
        book: the causes.
        members: alerts, by `Member.member_id`.
        groups: by receiver.
        seen: by lane, the version of the newest member that is in `members`, or was.
        causes: of groups that go on, by the group's id; without alerts.
        over: by group whose end a receiver was told, when (s, UTC): it gets no further alerts.
    """

    rule: str
    book: Book
    members: dict[str, KnownMember] = {}
    groups: dict[str, Groups] = {}
    seen: dict[int, int] = {}
    causes: dict[str, Cause] = {}
    over: dict[str, float] = {}


class TellerKey(msgspec.Struct, frozen=True, array_like=True, tag="teller"):
    """Key of a `TellerRecord` on the changelog topic."""

    rule: str


@dataclass(frozen=True, slots=True)
class TellerParts:
    """What a teller needs.

    Args:
        number: of its lane.
        lanes: how many there are.
        rules: of the configuration.
        receivers: the names of all that are configured.
        times: by receiver that groups by cause, when it is told.
        view: what is on the groups topic; it changes.
        outbox: the lane's deliveries.
        base_url: of the API, for links; null for none.
    """

    number: int
    lanes: int
    rules: tuple[Rule, ...]
    receivers: tuple[str, ...]
    times: Mapping[str, GroupTimes]
    view: GroupView
    outbox: Outbox
    base_url: str | None


class Tellers:
    """The tellers of those rules that one lane tells of.

    Args:
        parts: what they need.
    """

    def __init__(self, parts: TellerParts) -> None:
        self._parts = parts
        self._rules = {rule.name: rule for rule in parts.rules}
        self._records: dict[str, TellerRecord] = {}
        self._latest: dict[str, bytes] = {}
        """By rule, its record after the last step."""
        self._written: dict[str, bytes] = {}
        """By rule, its record as it was last handed out, so that only changes are written."""
        self._announced: dict[str, bytes] = {}
        self._generation = -1
        self._next_at = 0.0
        self._failures: list[Exception] = []
        self._changed: set[str] = set()
        self._to_announce: dict[bytes, bytes] = {}

    def step(self, now: float) -> None:
        """Find causes, and tell receivers what is due at `now` (s, UTC)."""
        if now < self._next_at <= now + STEP_EVERY:
            return
        self._next_at = now + STEP_EVERY
        if self._generation != self._parts.view.generation:
            self._generation = self._parts.view.generation
            self._announced.clear()
        # Rules that are gone from the configuration may have members.
        for rule in sorted({*self._rules, *self._parts.view.members, *self._records}):
            if teller_of(rule, self._parts.lanes) == self._parts.number:
                self._try_step(rule, now)

    def _try_step(self, rule: str, now: float) -> None:
        """Take a step; if it fails, nothing of it is kept."""
        try:
            self._step(rule, now)
        except Exception as error:  # noqa: BLE001 - counting and other rules must go on
            self._failures.append(error)
            self._records.pop(rule, None)
            if rule in self._latest:
                self._records[rule] = decode_record(self._latest[rule])

    def take_failures(self) -> list[Exception]:
        """Return the errors of steps that failed since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def _step(self, rule: str, now: float) -> None:
        news = list(self._news(rule))
        record = self._records.get(rule)
        if record is None:
            if not (news or self._parts.view.fresh_reports(rule, now)):
                return
            record = TellerRecord(rule, Book(rule))
        reports = self._reports(record, now)
        frames = added_up(report.summary for report in reports.values())
        record.book = books.observe(record.book, find(frames), frames, now)
        for member in news:
            self._take(record, member)
        self._settle(record, now)
        deliveries: list[Delivery] = []
        for receiver in self._receivers(record):
            deliveries += self._tell(record, receiver, now)
        # A cause whose last alert was only to be told has ended with that.
        self._settle(record, now)
        self._forget(record, now)
        latest, announcement = encode_record(record), _announcement(record, now)
        # From here on nothing fails.
        self._latest[rule] = latest
        self._records[rule] = record
        self._changed.add(rule)
        self._announce(rule, announcement)
        for delivery in deliveries:
            self._parts.outbox.add(delivery)

    # What lanes say

    def _reports(self, record: TellerRecord, now: float) -> Mapping[int, LaneReport]:
        """Return the reports to find causes in: of all lanes, or of those that answer in time.

        What was reported before a cause ended may still show it.
        """
        ended = max([each.ended_at or 0.0 for each in record.book.ended], default=0.0)
        fresh = self._parts.view.fresh_reports(record.rule, now)
        reports = {lane: each for lane, each in fresh.items() if each.at > ended}
        oldest = min([each.at for each in reports.values()], default=now)
        if len(reports) < self._parts.lanes and now - oldest < OTHERS_WITHIN:
            return {}
        return reports

    def _news(self, rule: str) -> Iterator[Member]:
        """Yield what lanes have written that is not in the record yet, in its order."""
        record = self._records.get(rule)
        seen = record.seen if record is not None else {}
        for lane, members in sorted(self._parts.view.members.get(rule, {}).items()):
            new = [each for each in members.values() if each.version > seen.get(lane, 0)]
            yield from sorted(new, key=lambda each: each.version)

    def _take(self, record: TellerRecord, member: Member) -> None:
        record.seen[member.lane] = member.version
        known = record.members.get(member.member_id)
        if known is None:
            group_id = self._group_for(record, member)
            record.members[member.member_id] = KnownMember(member, group_id)
        elif known.member.ended_at is None:
            known.member = member

    def _group_for(self, record: TellerRecord, member: Member) -> str:
        """Return the id of an alert's group: its cause, unless that is over."""
        into = {cause.cause_id: cause.merged_into for cause in record.book.ended}
        cause_id = member.cause_id
        while (other := into.get(cause_id)) is not None:
            cause_id = other
        live = {cause.cause_id for cause in record.book.live}
        if cause_id in live and cause_id not in record.over:
            return cause_id
        # No id is used again, so that no notification has that of another one.
        group_id = f"{cause_id}-{member.member_id}"
        known = [each for each in record.book.ended if each.cause_id == cause_id]
        if known:
            record.causes[group_id] = _without_alerts(known[0])
        return group_id

    # Causes

    def _settle(self, record: TellerRecord, now: float) -> None:
        firing = {name for name, each in record.members.items() if each.member.ended_at is None}
        # An alert that ended before anybody was told has been one of the cause's all the same.
        untold = {name for name, each in record.members.items() if self._is_untold(each)}
        joining = {name: record.members[name].group_id for name in firing | untold}
        record.book = books.settle(record.book, firing | untold, joining, now)
        for cause in record.book.live:
            for member_id in cause.firing:
                known = record.members.get(member_id)
                if cause.cause_id in record.over or known is None or known.told:
                    continue
                if known.group_id != cause.cause_id:
                    # It was merged into this one.
                    known.group_id, known.entered = cause.cause_id, ()
        in_use = {each.group_id for each in record.members.values()}
        for groups in record.groups.values():
            in_use |= groups.groups.keys()
        for cause in (*record.book.ended, *record.book.live):
            if cause.cause_id in in_use:
                record.causes[cause.cause_id] = _without_alerts(cause)
        record.causes = {name: each for name, each in record.causes.items() if name in in_use}

    def _is_untold(self, known: KnownMember) -> bool:
        wanted = set(known.member.receivers).intersection(self._parts.receivers)
        return not wanted <= set(known.told)

    # Notifications

    def _receivers(self, record: TellerRecord) -> list[str]:
        """Return the receivers that have anything to do with the groups of a rule, in order."""
        named_ones = {name for each in record.members.values() for name in each.member.receivers}
        record.groups = {
            name: groups for name, groups in record.groups.items() if name in self._parts.receivers
        }
        return [
            name for name in self._parts.receivers if name in named_ones or name in record.groups
        ]

    def _tell(self, record: TellerRecord, receiver: str, now: float) -> list[Delivery]:
        """Return what a receiver is told at a time (s, UTC)."""
        groups = record.groups.get(receiver, Groups())
        assigned = {
            name: Assignment(each.group_id, self._title(record, each.group_id))
            for name, each in record.members.items()
            if receiver in each.member.receivers and self._is_in(groups, receiver, each)
        }
        for name in assigned:
            if receiver not in record.members[name].entered:
                record.members[name].entered = (*record.members[name].entered, receiver)
        times = self._parts.times.get(receiver, GroupTimes())
        groups, notifications = grouping.step(groups, assigned, times, now)
        record.groups[receiver] = groups
        if not groups.groups:
            del record.groups[receiver]
        for each in notifications:
            if each.change == "resolved":
                record.over[each.group.key] = now
            for known in record.members.values():
                if known.group_id == each.group.key and receiver in known.entered:
                    known.told = tuple(dict.fromkeys((*known.told, receiver)))
        return [self._delivery(record, receiver, each, now) for each in notifications]

    @staticmethod
    def _is_in(groups: Groups, receiver: str, known: KnownMember) -> bool:
        """Tell whether an alert counts as firing in the group of a receiver.

        One that has ended does until the group was first told of; then it is told with its end.
        """
        if known.member.ended_at is None or receiver not in known.entered:
            return True
        group = groups.groups.get(known.group_id)
        return receiver not in known.told and (group is None or group.told_at is None)

    def _title(self, record: TellerRecord, group_id: str) -> str:
        cause = record.causes.get(group_id)
        return named(cause.values) if cause is not None else ""

    def _delivery(
        self, record: TellerRecord, receiver: str, told: GroupNotification, now: float
    ) -> Delivery:
        transition = self._transition(record, told, now)
        body = msgspec.Raw(encode(transition))
        return decided(told.group.key, told.group.sequence, receiver, body, now)

    def _transition(
        self, record: TellerRecord, told: GroupNotification, now: float
    ) -> GroupTransition:
        group, kind = told.group, _TYPES[told.change]
        members = [each.member for each in record.members.values() if each.group_id == group.key]
        listed = [each for each in members if each.member_id in group.firing] or members
        listed.sort(key=lambda each: (-each.hits, each.campaign_id, each.alert_id))
        counts = GroupCounts(
            firing=len(group.firing),
            joined=group.joined,
            ended=group.joined - len(group.firing),
            new=len(told.new),
        )
        rule = self._rules.get(record.rule)
        cause = _shown(record.causes.get(group.key), now)
        url = self._parts.base_url
        return GroupTransition(
            kind,
            rfc3339(now),
            GroupData(
                group_id=group.key,
                sequence=group.sequence,
                rule=record.rule,
                severity=members[0].severity if members else "",
                starts_at=rfc3339(min([each.starts_at for each in members], default=now)),
                ends_at=rfc3339(now) if kind == "campaign.group.resolved" else None,
                cause=cause,
                counts=counts,
                alerts=[_shown_member(each) for each in listed[:MOST_CAMPAIGNS]],
                summary=summary_of(kind, record.rule, cause, counts),
                labels=dict(rule.labels) if rule is not None else {},
                links=None if url is None else GroupLinks(f"{url}/v1/alerts?group_id={group.key}"),
            ),
        )

    # What is kept, and what lanes are told

    def _forget(self, record: TellerRecord, now: float) -> None:
        """Forget members, and groups, whose end was told long ago."""
        live = {cause.cause_id for cause in record.book.live}
        record.over = {
            group_id: at
            for group_id, at in record.over.items()
            if group_id in live or now - at < REMEMBERED
        }
        for member_id, known in list(record.members.items()):
            if known.over_at is None and self._is_over(record, member_id, known):
                known.over_at = now
            elif known.over_at is not None and now - known.over_at >= REMEMBERED:
                del record.members[member_id]

    def _is_over(self, record: TellerRecord, member_id: str, known: KnownMember) -> bool:
        if known.member.ended_at is None or self._is_untold(known):
            return False
        return not any(
            member_id in group.told or member_id in group.firing or group.key == known.group_id
            for groups in record.groups.values()
            for group in groups.groups.values()
        )

    def _announce(self, rule: str, value: bytes) -> None:
        if self._announced.get(rule) != value:
            self._announced[rule] = value
            self._to_announce[exchange.encode(AnnouncementKey(rule))] = value

    def take_records(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Hand out the records for the groups topic."""
        records, self._to_announce = self._to_announce, {}
        return records.items()

    def take_changes(self) -> Iterator[tuple[TellerKey, TellerRecord]]:
        """Hand out the records that changed since the last call."""
        changed, self._changed = self._changed, set()
        for rule in sorted(changed):
            value = self._latest[rule]
            if self._written.get(rule) != value:
                self._written[rule] = value
                yield TellerKey(rule), self._records[rule]

    def restore(self, key: TellerKey, record: TellerRecord) -> None:
        """Take a record as it was written down.

        Raises:
            ValueError: if it is another one than its key says.
        """
        if record.rule != key.rule:
            raise ValueError(f"its value is of rule {record.rule}")
        self._records[record.rule] = record
        self._latest[record.rule] = self._written[record.rule] = encode_record(record)


encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(TellerRecord).decode


def _announcement(record: TellerRecord, now: float) -> bytes:
    announcement = Announcement(
        record.rule,
        tuple(
            OpenCause(cause.cause_id, cause.values, cause.status, cause.since)
            for cause in books.open_to_alerts(record.book, now)
        ),
        record.seen,
        {
            cause.cause_id: cause.merged_into
            for cause in record.book.ended
            if cause.merged_into is not None
        },
    )
    return exchange.encode(announcement)


def _without_alerts(cause: Cause) -> Cause:
    return msgspec.structs.replace(cause, firing=())


def _shown(cause: Cause | None, now: float) -> GroupCause:
    if cause is None:
        return GroupCause({}, None, 0.0, 0.0, 0, 0, 0.0, rfc3339(now))
    return GroupCause(
        dimensions=cause.values,
        status=cause.status,
        share=round(min(1.0, cause.share), 6),
        evidence=round(cause.evidence, 3),
        attempts=cause.attempts,
        hits=cause.hits,
        expected_hits=round(cause.expected, 3),
        since=rfc3339(cause.since),
    )


def _shown_member(member: Member) -> GroupAlert:
    return GroupAlert(
        alert_id=member.alert_id,
        campaign_id=member.campaign_id,
        app_id=member.app_id,
        starts_at=rfc3339(member.starts_at),
        ends_at=rfc3339(member.ended_at) if member.ended_at is not None else None,
        attempts=member.attempts,
        hits=member.hits,
    )
