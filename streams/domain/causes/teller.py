"""Tellers: find the causes of a rule, and tell receivers of groups of alerts.

One lane is the teller of a rule, or of another name that alerts are grouped under
(`exchange.teller_of`). It reads what the lanes say of their campaigns and which alerts they have
handed over, and keeps all that it has decided in a record of its own, written in the transaction
that has the notifications. So a notification is decided once, with the same id whoever sends it,
and goes on where it was when the lane moves.

A member counts once it is in that record: the teller reads what is newer than it has seen of a
lane, and nothing twice, even where its worker has read less of the topic than the one before. An
alert that ended before any receiver was told of it is told of all the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import msgspec

from streams.domain.causes import book as books
from streams.domain.causes import exchange, notices
from streams.domain.causes.book import REMEMBERED, Book, Cause
from streams.domain.causes.exchange import (
    Announcement,
    AnnouncementKey,
    GroupState,
    GroupStateKey,
    GroupView,
    LaneReport,
    Member,
    OpenCause,
    listed_campaigns,
    teller_of,
)
from streams.domain.causes.finding import find
from streams.domain.causes.group_names import is_by_limit
from streams.domain.causes.records import (
    KnownMember,
    LabelledGroup,
    TellerKey,
    TellerRecord,
    decode_record,
    encode_record,
)
from streams.domain.causes.summary import added_up
from streams.domain.deliveries import Delivery, Outbox, decided
from streams.domain.group_transitions import encode, named, named_labels
from streams.domain.names import NAMELESS, Names
from streams.domain.notification import grouping
from streams.domain.notification.grouping import (
    Assignment,
    GroupNotification,
    Groups,
    GroupTimes,
)
from streams.domain.notification.rate_limit import ReceiverLimit, is_within
from streams.domain.rules import Rule

OTHERS_WITHIN = 2.0
"""Seconds for which reports of other lanes are waited for: parts of all sums invent causes."""
STEP_EVERY = 0.5
"""Seconds between two steps of a teller."""


MOST_MEMBERS = 5_000
"""Alerts that the record of a name holds: it is written whole whenever it changes. Receivers are
told how many more fire; they are taken in as others end."""


class Beyond(NamedTuple):
    """Alerts that fire and that a record has no room for: how many, by `Member.cause_id`."""

    counts: Mapping[str, int]

    def of(self, record: TellerRecord, group_id: str) -> int:
        """Return how many are of a group."""
        into = {each.cause_id: each.merged_into for each in record.book.ended}
        labelled = record.labelled.get(group_id)
        total = 0
        for name, count in self.counts.items():
            cause_id = name
            while (other := into.get(cause_id)) is not None:
                cause_id = other
            total += count if group_id in {cause_id, name} else 0
            total += count if labelled is not None and labelled.key == name else 0
        return total


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
        limits: by receiver that has one, its rate limit.
        names: of campaigns and apps.
    """

    number: int
    lanes: int
    rules: tuple[Rule, ...]
    receivers: tuple[str, ...]
    times: Mapping[str, GroupTimes]
    view: GroupView
    outbox: Outbox
    base_url: str | None
    limits: Mapping[str, ReceiverLimit] = field(default_factory=dict)
    names: Names = NAMELESS


class Tellers:
    """The tellers of those rules and labels that one lane tells of.

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
        self._announced: dict[bytes, bytes | None] = {}
        """What was last written to the groups topic."""
        self._group_ids: dict[str, set[str]] = {}
        """By name, groups that are on the groups topic, as far as this lane wrote them."""
        self._generation = -1
        self._next_at = 0.0
        self._failures: list[Exception] = []
        self._changed: set[str] = set()
        self._to_announce: dict[bytes, bytes | None] = {}

    def step(self, now: float) -> None:
        """Find causes, and tell receivers what is due at `now` (s, UTC)."""
        if now < self._next_at <= now + STEP_EVERY:
            return
        self._next_at = now + STEP_EVERY
        if self._generation != self._parts.view.generation:
            self._generation = self._parts.view.generation
            self._announced.clear()
            self._group_ids.clear()
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
        if record.is_by_cause:
            self._observe(record, now)
        for member in news:
            self._take(record, member)
        beyond = self._admit(record)
        if record.is_by_cause:
            self._settle(record, now)
        deliveries: list[Delivery] = []
        for receiver in self._receivers(record):
            deliveries += self._tell(record, receiver, now, beyond)
        if record.is_by_cause:
            # A cause whose last alert was only to be told has ended with that.
            self._settle(record, now)
        self._forget(record, now)
        _keep_states(record, now)
        latest, announcement = encode_record(record), _announcement(record, now)
        # From here on nothing fails.
        self._latest[rule] = latest
        self._records[rule] = record
        self._changed.add(rule)
        self._announce(exchange.encode(AnnouncementKey(rule)), announcement)
        self._announce_groups(record)
        for delivery in deliveries:
            self._parts.outbox.add(delivery)

    # What lanes say

    def _observe(self, record: TellerRecord, now: float) -> None:
        reports = self._reports(record, now)
        frames = added_up(report.summary for report in reports.values())
        record.book = books.observe(record.book, find(frames), frames, now)

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
            new = [
                each
                for each in members.values()
                if each.state == "handed-over" and each.version > seen.get(lane, 0)
            ]
            yield from sorted(new, key=lambda each: each.version)

    def _take(self, record: TellerRecord, member: Member) -> None:
        known = record.members.get(member.member_id)
        if known is None:
            self._add(record, member)
        elif known.member.ended_at is None:
            known.member = member
        record.seen[member.lane] = member.version

    def _add(self, record: TellerRecord, member: Member) -> None:
        """Take a member into the record, if there is room for it."""
        if len(record.members) >= MOST_MEMBERS:
            return
        by_cause = record.is_by_cause
        group_id = self._group_for(record, member) if by_cause else _labelled(record, member)
        record.members[member.member_id] = KnownMember(member, group_id)

    def _admit(self, record: TellerRecord) -> Beyond:
        """Take alerts in that there was no room for, and return those there is still none for.

        Room is made by those that have ended, and of which all receivers know that they fired: that
        they are told of the end follows from the groups. So a group goes on as long as any fires.
        """
        beyond = self._beyond(record)
        if not beyond:
            return Beyond({})
        for member_id, known in list(record.members.items()):
            if known.member.ended_at is not None and not self._is_untold(known):
                del record.members[member_id]
        for member in beyond:
            self._add(record, member)
        return Beyond(Counter(each.cause_id for each in self._beyond(record)))

    def _beyond(self, record: TellerRecord) -> list[Member]:
        """Return the alerts that fire and were handed over, but are not in the record."""
        if len(record.members) < MOST_MEMBERS and not record.is_full:
            return []
        found = [
            member
            for _, members in sorted(self._parts.view.members.get(record.rule, {}).items())
            for member in sorted(members.values(), key=lambda each: each.version)
            if member.state == "handed-over"
            and member.is_live
            and member.version <= record.seen.get(member.lane, 0)
            and member.member_id not in record.members
        ]
        record.is_full = bool(found)
        return found

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
        for name, groups in record.groups.items():
            if name not in self._parts.receivers:
                _close(record, groups.groups)
        record.groups = {
            name: groups for name, groups in record.groups.items() if name in self._parts.receivers
        }
        return [
            name for name in self._parts.receivers if name in named_ones or name in record.groups
        ]

    def _tell(
        self, record: TellerRecord, receiver: str, now: float, beyond: Beyond
    ) -> list[Delivery]:
        """Return what a receiver is told at a time (s, UTC)."""
        groups = record.groups.get(receiver, Groups())
        assigned = {
            name: Assignment(
                each.group_id,
                self._title(record, each.group_id),
                since=each.member.since or None,
            )
            for name, each in record.members.items()
            if receiver in each.member.receivers and self._is_in(groups, receiver, each)
        }
        for name in assigned:
            if receiver not in record.members[name].entered:
                record.members[name].entered = (*record.members[name].entered, receiver)
        is_summary = is_by_limit(record.rule)
        groups, notifications = grouping.step(
            groups,
            assigned,
            self._times(receiver, is_summary=is_summary),
            now,
            # The summary is of what is beyond the limit: it is told whatever that is.
            lambda: is_summary or is_within(self._parts.limits, receiver, now),
        )
        record.groups[receiver] = groups
        if not groups.groups:
            del record.groups[receiver]
        for each in notifications:
            for known in record.members.values():
                if known.group_id == each.group.key and receiver in known.entered:
                    known.told = tuple(dict.fromkeys((*known.told, receiver)))
        over = [each.group.key for each in notifications if each.change == "resolved"]
        _close(record, over)
        if record.is_by_cause:
            record.over.update(dict.fromkeys(over, now))
        return [self._delivery(record, receiver, each, now, beyond) for each in notifications]

    def _times(self, receiver: str, *, is_summary: bool) -> GroupTimes:
        limit = self._parts.limits.get(receiver)
        if is_summary and limit is not None:
            return limit.times
        return self._parts.times.get(receiver, GroupTimes())

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
        cause, labelled = record.causes.get(group_id), record.labelled.get(group_id)
        if labelled is not None:
            return named_labels(labelled.labels)
        return named(cause.values) if cause is not None else ""

    def _delivery(
        self,
        record: TellerRecord,
        receiver: str,
        told: GroupNotification,
        now: float,
        beyond: Beyond,
    ) -> Delivery:
        transition = notices.transition_of(
            record,
            told,
            self._rules,
            self._parts.base_url,
            now,
            self._parts.names,
            more=beyond.of(record, told.group.key),
        )
        body = msgspec.Raw(encode(transition))
        return decided(told.group.key, told.group.sequence, receiver, body, now)

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

    def _announce(self, key: bytes, value: bytes | None) -> None:
        if self._announced.get(key, b"") != value:
            self._announced[key] = value
            self._to_announce[key] = value

    def _announce_groups(self, record: TellerRecord) -> None:
        """Write the groups of a record to the topic, and remove others under its name."""
        name, on_topic = record.rule, self._parts.view.groups.get(record.rule, {})
        written = self._group_ids.setdefault(name, set())
        for group_id in {*on_topic, *written, *record.states}:
            state = record.states.get(group_id)
            key = exchange.encode(GroupStateKey(name, group_id))
            self._announce(key, None if state is None else exchange.encode(state))
            if state is None and group_id not in on_topic:
                del self._announced[key]
        self._group_ids[name] = set(record.states) | set(on_topic)

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


def _labelled(record: TellerRecord, member: Member) -> str:
    """Return the id of an alert's group by labels: the open one, or a new one."""
    for group_id, group in record.labelled.items():
        if group.key == member.cause_id and group.is_open:
            before = group.after.get(member.lane, 0)
            group.after[member.lane] = min(before, member.joined - 1)
            return group_id
    # No id is used again, so that no notification has that of another one.
    first = [record.rule, member.cause_id, member.alert_id, member.lane, member.joined]
    group_id = sha256(msgspec.json.encode(first)).hexdigest()[:24]
    after = dict(record.seen)
    after[member.lane] = min(after.get(member.lane, 0), member.joined - 1)
    record.labelled[group_id] = LabelledGroup(member.cause_id, member.labels, after=after)
    return group_id


def _close(record: TellerRecord, group_ids: Iterable[str]) -> None:
    """Let groups take no more members: somebody was told that they are over."""
    for group_id in group_ids:
        if group_id in record.labelled:
            record.labelled[group_id].is_open = False


def _keep_states(record: TellerRecord, now: float) -> None:
    """Keep what anybody may know of groups, and what groups by labels are about, at `now` (s)."""
    states = notices.states_of(record, now)
    for group_id, state in record.states.items():
        over = notices.ended(state, now)
        if group_id in states:
            states[group_id] = _with_campaigns_of(state, states[group_id])
        elif now - (over.ended_at or now) < REMEMBERED:
            states[group_id] = over
    record.states = states
    in_use = {each.group_id for each in record.members.values()} | states.keys()
    record.labelled = {name: each for name, each in record.labelled.items() if name in in_use}


def _with_campaigns_of(before: GroupState, state: GroupState) -> GroupState:
    """Return a state that lists whatever an earlier one of the group lists, or nothing."""
    known, more = before.campaigns, state.campaigns
    campaigns = None if known is None or more is None else listed_campaigns((*known, *more))
    return msgspec.structs.replace(state, campaigns=campaigns)


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
