"""The alerts of a lane that wait or are told of in groups: kept, handed over to tellers, ended.

What is written to the groups topic, and what is kept in the changelog, is in one transaction of the
lane. So an alert has one way to each receiver, whatever is restarted or moved.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from streams.domain.alerts import AlertBook
from streams.domain.causes import exchange
from streams.domain.causes.exchange import GroupView, Member, MemberKey, MemberState
from streams.domain.causes.group_names import Grouping, is_by_cause
from streams.domain.counts import StatusGroups
from streams.domain.deliveries import Outbox
from streams.domain.notification.grouping import GroupTimes
from streams.domain.notification.rate_limit import ReceiverLimit
from streams.domain.rules import Rule
from streams.domain.table import WindowTable

FIRING = "campaign.alert.firing"
NO_TRANSITION = msgspec.Raw(b"null")

PRUNE_EVERY = 60.0
"""Seconds between two looks for alerts that are not remembered any more."""


class GroupedAlert(msgspec.Struct):
    """An alert that waits, or is told of in a group.

    Attributes:
        receivers: who are told.
        since: since when (s, UTC) it waits.
        transition: while it waits, JSON of the transition that is told if it is told by itself.
        member: as it was last written to the groups topic; null if it was not.
        acknowledged: whether its teller knows that it has ended.
        is_back: whether it came back before its teller knew that; then it is told by itself.
        grouping: the name that it is grouped under; empty for its rule.
        group_id: of its group by labels, once that is known.
        is_news: whether the transition is that it fires; otherwise it is a reminder.
    """

    alert_id: str
    campaign_id: str
    rule: str
    receivers: tuple[str, ...]
    since: float
    transition: msgspec.Raw
    member: Member | None = None
    acknowledged: bool = False
    is_back: bool = False
    grouping: str = ""
    group_id: str | None = None
    is_news: bool = True

    @property
    def name(self) -> str:
        """The name that it is grouped under."""
        return self.grouping or self.rule

    @property
    def state(self) -> MemberState:
        """What has become of it."""
        return self.member.state if self.member is not None else "waiting"

    @property
    def is_over(self) -> bool:
        """Whether what is told of it in a group has ended."""
        return self.member is not None and not self.member.is_live

    @property
    def kept_from(self) -> tuple[str, ...]:
        """The receivers that are not told of it by itself."""
        is_told = self.is_back or self.state == "alone" or not self.is_news
        return () if is_told else self.receivers


class GroupedAlertKey(msgspec.Struct, frozen=True, array_like=True, tag="grouped"):
    """Key of a `GroupedAlert` on the changelog topic that is grouped by its cause."""

    campaign_id: str
    alert_id: str


class NamedGroupKey(msgspec.Struct, frozen=True, array_like=True, tag="grouped-by"):
    """Key of a `GroupedAlert` that is grouped under another name."""

    campaign_id: str
    alert_id: str
    grouping: str


class LaneVersionKey(msgspec.Struct, frozen=True, array_like=True, tag="group-lane"):
    """Key of the version of the newest member that the lane has written: there is one."""


AnyKey = GroupedAlertKey | NamedGroupKey | LaneVersionKey


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane's groups are about.

    Args:
        number: of the lane.
        lanes: how many there are.
        rules: that alerts are of.
        groups: which group each status is in.
        times: by receiver that groups, when it is told.
        view: what is on the groups topic; it changes.
        table: the lane's windows.
        alerts: the lane's alerts.
        outbox: the lane's deliveries.
        labels: by receiver that groups by labels, their names.
        limits: by receiver that has one, its rate limit.
    """

    number: int
    lanes: int
    rules: tuple[Rule, ...]
    groups: StatusGroups
    times: Mapping[str, GroupTimes]
    view: GroupView
    table: WindowTable
    alerts: AlertBook
    outbox: Outbox
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Mapping[str, ReceiverLimit] = field(default_factory=dict)


class AlertIn(NamedTuple):
    """Names a `GroupedAlert`."""

    alert_id: str
    grouping: str


class Handover:
    """The alerts of one lane that wait, or are told of in groups.

    Args:
        parts: what they are about.

    Attributes:
        waiting: by alert that waits, when (s) to look at it next.
    """

    def __init__(self, parts: LaneParts) -> None:
        self._parts = parts
        self._known: dict[str, dict[str, GroupedAlert]] = {}
        """By alert id and grouping."""
        self.waiting: dict[AlertIn, float] = {}
        self._alike: dict[tuple[str, str], set[str]] = {}
        """By name and what they have in common, ids of the lane's alerts that fire."""
        self._unacknowledged: set[AlertIn] = set()
        """Members that have ended, and whose teller may not know it."""
        self._unplaced: set[AlertIn] = set()
        """Members by labels whose group is not known yet."""
        self._version = 0
        self._generation = -1
        self._seen_view = -1
        self._pruned_at = 0.0
        self._changed: dict[AlertIn, str] = {}
        """The campaigns of alerts that changed."""
        self._version_changed = False
        self._records: dict[bytes, bytes | None] = {}

    # Asked

    def get(self, alert_id: str, grouping: str = "") -> GroupedAlert | None:
        """Return an alert that waits, or is told of in a group."""
        return self._known.get(alert_id, {}).get(grouping)

    def of(self, alert_id: str) -> list[GroupedAlert]:
        """Return what is known of an alert, under each name."""
        return list(self._known.get(alert_id, {}).values())

    def has_others(self, known: GroupedAlert) -> bool:
        """Tell whether other alerts fire that have the same in common, in any lane."""
        member = known.member
        if member is None:
            return False
        here = self._alike.get((known.name, member.cause_id), set())
        return bool(here - {known.alert_id}) or self._parts.view.has_others(
            known.name, member.cause_id, self._parts.number
        )

    def is_seen(self, known: GroupedAlert) -> bool:
        """Tell whether an alert that was written to the groups topic was read back from there.

        As long as it was not, tellers may not be able to read the topic either.
        """
        of_lane = self._parts.view.members.get(known.name, {}).get(self._parts.number, {})
        return known.alert_id in of_lane

    # What becomes of an alert

    def wait(self, known: GroupedAlert) -> None:
        """Keep an alert that waits; it is looked at at the next step."""
        self._known.setdefault(known.alert_id, {})[known.grouping] = known
        self.waiting[_id(known)] = known.since
        self._mark(known)

    def offer(self, known: GroupedAlert, grouping: Grouping) -> None:
        """Let all lanes know of an alert that waits for others with the same in common."""
        self.wait(known)
        self._write(known, self._member(known, "waiting", grouping.key, grouping.labels))

    def told_alone(self, known: GroupedAlert) -> None:
        """Let all lanes know that an alert by labels is told by itself."""
        if known.member is not None:
            self._no_longer_waits(known)
            self._write(known, msgspec.structs.replace(known.member, state="alone"))

    def hand_over(self, known: GroupedAlert, cause_id: str | None = None) -> None:
        """Hand an alert over to its teller; by its cause, or with what is known in common."""
        before = known.member
        key, labels = (before.cause_id, before.labels) if before is not None else ("", {})
        self._no_longer_waits(known)
        self._write(known, self._member(known, "handed-over", cause_id or key, labels))
        if not is_by_cause(known.name):
            self._unplaced.add(_id(known))

    def end(self, known: GroupedAlert, now: float) -> None:
        """Let the teller of an alert know that it ended at `now` (s)."""
        attempts, hits = self._totals(known.alert_id)
        if known.member is not None:
            self._write(
                known,
                msgspec.structs.replace(known.member, ended_at=now, attempts=attempts, hits=hits),
            )
            self._unacknowledged.add(_id(known))

    def drop(self, known: GroupedAlert) -> None:
        """Forget an alert: it is told by itself."""
        self._forget(known)
        if known.member is not None and not known.acknowledged:
            self._records.pop(self._member_key(known), None)
            self._records[self._member_key(known)] = None

    def come_back(self, known: GroupedAlert) -> GroupedAlert | None:
        """Begin anew with an alert that was told of in a group, and fires again.

        As long as its teller may not know that it had ended, it is told by itself.
        """
        if known.acknowledged:
            self._forget(known)
            return None
        known.is_back = True
        self._mark(known)
        return known

    def _member(
        self, known: GroupedAlert, state: MemberState, cause_id: str, labels: dict[str, str]
    ) -> Member:
        alert = self._parts.alerts.newest(known.alert_id)
        attempts, hits = self._parts.alerts.totals(alert)
        return Member(
            alert_id=alert.alert_id,
            rule=alert.rule,
            lane=self._parts.number,
            version=0,
            campaign_id=alert.scope.campaign_id,
            app_id=alert.app_id,
            severity=alert.severity,
            receivers=known.receivers,
            cause_id=cause_id,
            starts_at=alert.starts_at or alert.pending_since,
            attempts=attempts,
            hits=hits,
            state=state,
            since=known.since,
            labels=labels,
            episode=alert.occurrence,
        )

    def _totals(self, alert_id: str) -> tuple[int, int]:
        alert = self._parts.alerts.get(alert_id)
        return self._parts.alerts.totals(alert) if alert is not None else (0, 0)

    def _no_longer_waits(self, known: GroupedAlert) -> None:
        self.waiting.pop(_id(known), None)
        known.transition = NO_TRANSITION

    def _write(self, known: GroupedAlert, member: Member) -> None:
        self._version += 1
        self._version_changed = True
        is_first = member.state == "handed-over" and not member.joined
        joined = self._version if is_first else member.joined
        known.member = msgspec.structs.replace(member, version=self._version, joined=joined)
        key = self._member_key(known)
        # In the order of their versions.
        self._records.pop(key, None)
        self._records[key] = exchange.encode(known.member)
        self._index(known)
        self._mark(known)

    def _index(self, known: GroupedAlert) -> None:
        if known.member is not None:
            alike = self._alike.setdefault((known.name, known.member.cause_id), set())
            if known.member.is_live:
                alike.add(known.alert_id)
            else:
                self._unindex(known)

    def _unindex(self, known: GroupedAlert) -> None:
        if known.member is not None:
            key = known.name, known.member.cause_id
            alike = self._alike.get(key, set())
            alike.discard(known.alert_id)
            if not alike:
                self._alike.pop(key, None)

    def _forget(self, known: GroupedAlert) -> None:
        self._unindex(known)
        self.waiting.pop(_id(known), None)
        self._unacknowledged.discard(_id(known))
        self._unplaced.discard(_id(known))
        del self._known[known.alert_id][known.grouping]
        if not self._known[known.alert_id]:
            del self._known[known.alert_id]
        self._mark(known)

    def _member_key(self, known: GroupedAlert) -> bytes:
        return exchange.encode(MemberKey(known.name, self._parts.number, known.alert_id))

    # Time goes on

    def follow(self, now: float) -> None:
        """Take note of what tellers say, and forget what is long over at `now` (s)."""
        self._follow_view()
        if 0 <= now - self._pruned_at < PRUNE_EVERY:
            return
        self._pruned_at = now
        for known in [each for of_alert in self._known.values() for each in of_alert.values()]:
            if known.acknowledged and self._parts.alerts.get(known.alert_id) is None:
                self._forget(known)

    def _follow_view(self) -> None:
        view = self._parts.view
        if view.version == self._seen_view:
            return
        self._seen_view = view.version
        if view.generation != self._generation:
            self._generation = view.generation
            # Without transactions, versions may have been written that are not in the changelog.
            self._version = max(self._version, view.highest_version(self._parts.number))
            self._write_again()
        for each in list(self._unplaced):
            self._place(each)
        for each in list(self._unacknowledged):
            self._acknowledge(self._known[each.alert_id][each.grouping])

    def _write_again(self) -> None:
        """Write to the topic what is not there: it was made anew, or never was written."""
        for of_alert in self._known.values():
            for known in of_alert.values():
                if known.member is not None and not known.acknowledged:
                    self._write(known, known.member)

    def _place(self, each: AlertIn) -> None:
        """Take note of the group that a member by labels is in, once that is known."""
        known = self._known[each.alert_id][each.grouping]
        if known.member is not None:
            known.group_id = self._parts.view.group_by_labels(known.name, known.member)
            if known.group_id is not None:
                self._unplaced.discard(each)
                self._mark(known)

    def _acknowledge(self, known: GroupedAlert) -> None:
        """Remove a member that has ended, once its teller knows it."""
        member = known.member
        announced = self._parts.view.announced.get(known.name)
        if member is None or announced is None:
            return
        if announced.seen.get(self._parts.number, 0) >= member.version:
            known.acknowledged = True
            self._unacknowledged.discard(_id(known))
            self._mark(known)
            self._records[self._member_key(known)] = None

    # Written down and read back

    def take_records(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Hand out the records for the groups topic, in their order."""
        records, self._records = self._records, {}
        return records.items()

    def _mark(self, known: GroupedAlert) -> None:
        self._changed[_id(known)] = known.campaign_id

    def take_changes(self) -> Iterator[tuple[AnyKey, object]]:
        """Hand out what changed since the last call; null for what is not grouped any more."""
        changed, self._changed = self._changed, {}
        for (alert_id, grouping), campaign_id in changed.items():
            yield _key(campaign_id, alert_id, grouping), self.get(alert_id, grouping)
        if self._version_changed:
            self._version_changed = False
            yield LaneVersionKey(), self._version

    def restore(self, key: AnyKey, value: GroupedAlert | int) -> None:
        """Take a value as it was written down.

        Raises:
            ValueError: if it is another one than its key says.
        """
        if isinstance(value, int):
            self._version = value
            return
        if key != _key(value.campaign_id, value.alert_id, value.grouping):
            raise ValueError(f"its value is alert {value.alert_id} of {value.campaign_id}")
        self._known.setdefault(value.alert_id, {})[value.grouping] = value
        self._index(value)
        if value.state == "waiting":
            self.waiting[_id(value)] = value.since
        if value.is_over and not value.acknowledged:
            self._unacknowledged.add(_id(value))
        is_handed_over = value.state == "handed-over" and not is_by_cause(value.name)
        if is_handed_over and value.group_id is None:
            self._unplaced.add(_id(value))


def _id(known: GroupedAlert) -> AlertIn:
    return AlertIn(known.alert_id, known.grouping)


def _key(campaign_id: str, alert_id: str, grouping: str) -> AnyKey:
    if not grouping:
        return GroupedAlertKey(campaign_id, alert_id)
    return NamedGroupKey(campaign_id, alert_id, grouping)
