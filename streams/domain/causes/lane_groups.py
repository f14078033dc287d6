"""A lane's alerts that receivers are told of in groups, by whatever they are grouped.

An alert waits, under a name for each way in which its receivers group: its rule, labels, or what is
beyond a rate limit (`handover`). It is looked at until it is told by itself, or handed over to the
teller of that name for good.
"""

from collections.abc import Iterable, Iterator

import msgspec

from streams.domain import alert_labels, transitions
from streams.domain.causes import group_names
from streams.domain.causes.handover import (
    FIRING,
    AnyKey,
    GroupedAlert,
    Handover,
    LaneParts,
)
from streams.domain.causes.labelled import LaneLabels
from streams.domain.causes.lane import LaneCauses
from streams.domain.causes.overflow import Overflow
from streams.domain.notification.enqueue import delivery_of
from streams.domain.notification.stage import Notification
from streams.domain.transitions import ENDS, AlertData

LOOK_EVERY = 0.5
"""Seconds between two looks at an alert that waits."""
MOST_LOOKS = 200
"""Alerts that are looked at in one step, within some 100 ms; the others in the next one."""


class LaneGroups:
    """The alerts of one lane that are told of in groups.

    Args:
        parts: what they are about.

    Attributes:
        handover: keeps them.
        overflow: those beyond the rate limit of a receiver.
        causes: those that may have a common cause.
    """

    def __init__(self, parts: LaneParts) -> None:
        self._parts = parts
        self.handover = Handover(parts)
        self.causes = LaneCauses(parts, self.handover, self._tell_alone)
        self._labels = LaneLabels(parts, self.handover, self._tell_alone)
        self.overflow = Overflow(parts, self.handover, self._tell)

    # The notification stages

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        """Return the receivers that are notified of a transition by itself; wait for the others."""
        data, kind = notification.transition.data, notification.transition.type
        kept_from: set[str] = set()
        names: set[str] = set()
        for each in self.handover.of(data.alert_id):
            known: GroupedAlert | None = each
            if each.is_over and kind == FIRING:
                known = self.handover.come_back(each)
            if known is not None:
                kept_from |= set(known.kept_from)
                names.add(known.grouping)
        receivers = tuple(name for name in notification.receivers if name not in kept_from)
        told = notification.notified
        if kind in ENDS or told is None:
            return receivers
        fresh = [name for name in receivers if name in self._parts.times and name not in told]
        waiting = self._wait(notification, fresh, names, now)
        return tuple(name for name in receivers if name not in waiting)

    def _wait(
        self, notification: Notification, receivers: list[str], names: set[str], now: float
    ) -> set[str]:
        """Return who of the receivers are told of an alert later; `names` it is grouped under."""
        data = notification.transition.data
        together: dict[str, tuple[group_names.Grouping | None, list[str]]] = {}
        labels = alert_labels.of_data(data) if self._parts.labels else {}
        for receiver in receivers:
            grouping = self._labels.grouping_of(receiver, labels)
            name = grouping.name if grouping is not None else ""
            if name not in names and (grouping is not None or self.causes.groups(data.rule)):
                together.setdefault(name, (grouping, []))[1].append(receiver)
        if not together:
            return set()
        transition = msgspec.Raw(transitions.encode(notification.transition))
        for name, (grouping, group) in together.items():
            known = _waiting(data, tuple(group), now, transition, name)
            if grouping is None:
                self.handover.wait(known)
                self.causes.waits(known)
            else:
                self.handover.offer(known, grouping)
        return {receiver for _, group in together.values() for receiver in group}

    def why(self, alert_id: str) -> str:
        """Say what becomes of an alert that is not told by itself."""
        group_id = self.group_of(alert_id)
        if group_id is not None:
            return f"in group {group_id}"
        if any(each.grouping for each in self.handover.of(alert_id)):
            return "there may be others with the same labels"
        return "it may have a cause in common with others"

    def ending(self, alert_id: str, now: float) -> None:
        """Take note that an alert has ended, before its end goes through the stages.

        One that waits is told by itself, firing and end; but in the summary, if it is beyond the
        rate limit.
        """
        for known in self.handover.of(alert_id):
            if not group_names.is_by_limit(known.grouping):
                self._end(known, now)
        for known in self.handover.of(alert_id):
            if group_names.is_by_limit(known.grouping):
                self._end_beyond_limit(known, now)

    def _end(self, known: GroupedAlert, now: float) -> None:
        if known.is_back:
            return
        if known.state == "waiting":
            self._tell_alone(known, now)
        if known.state == "alone":
            self.handover.drop(known)
        elif known.state == "handed-over":
            self.handover.end(known, now)

    def _end_beyond_limit(self, known: GroupedAlert, now: float) -> None:
        if not known.is_news:
            self.handover.drop(known)
            return
        if known.is_back:
            return
        if known.state == "waiting":
            self.overflow.hand_over(known)
        self.handover.end(known, now)

    # Time goes on

    def step(self, now: float) -> None:
        """Report what others ask for, and decide what becomes of the alerts that wait (s, UTC)."""
        self.handover.follow(now)
        waiting = [
            known
            for alert_id, grouping in self.handover.waiting
            if not grouping and (known := self.handover.get(alert_id)) is not None
        ]
        self.causes.step(waiting, now)
        due = [each for each, at in self.handover.waiting.items() if at <= now]
        for each in due[:MOST_LOOKS]:
            known = self.handover.get(*each)
            if known is not None:
                self.handover.waiting[each] = now + LOOK_EVERY
                self._look(known, now)

    def _look(self, known: GroupedAlert, now: float) -> None:
        if not known.grouping:
            self.causes.look(known, now)
        elif group_names.is_by_labels(known.grouping):
            self._labels.look(known, now)
        else:
            self.overflow.look(known, now)

    def release_all(self, now: float) -> None:
        """Tell of all alerts that wait by themselves: it cannot be found out what they have."""
        for each in list(self.handover.waiting):
            known = self.handover.get(*each)
            if known is not None:
                self._tell(known, now)

    def _tell_alone(self, known: GroupedAlert, now: float) -> None:
        """Tell of an alert by itself, as far as the rate limits of its receivers allow it."""
        beyond = self.overflow.beyond(known.alert_id, known.receivers, now)
        data, transition = transitions.decode(known.transition).data, known.transition
        within = tuple(name for name in known.receivers if name not in beyond)
        self._tell(known, now, within)
        if beyond:
            self.overflow.hold(data, transition, beyond, now)
            self._parts.alerts.rate_limited(known.alert_id, beyond, data.sequence)

    def _tell(
        self, known: GroupedAlert, now: float, receivers: tuple[str, ...] | None = None
    ) -> None:
        """Tell of a transition that waited, in the words in which it was decided."""
        receivers = known.receivers if receivers is None else receivers
        data = transitions.decode(known.transition).data
        for receiver in receivers:
            self._parts.outbox.add(delivery_of(data, receiver, known.transition, now))
        if receivers:
            self._parts.alerts.told(known.alert_id, receivers, data.sequence)
        if group_names.is_by_labels(known.grouping):
            self.handover.told_alone(known)
        else:
            self.handover.drop(known)

    # Asked

    def group_of(self, alert_id: str) -> str | None:
        """Return the id of the group that tells of an alert; null if it is told by itself."""
        for known in self.handover.of(alert_id):
            if known.member is None or known.is_back or known.state != "handed-over":
                continue
            if known.grouping:
                return known.group_id
            return self._parts.view.group_of(known.rule, known.member.cause_id)
        return None

    def groups_of(self, alert_id: str) -> set[str]:
        """Return the ids of all groups that may tell of an alert, by which it is found.

        Its cause may have been merged into another one before or after it was told of, or may have
        been over by then: a group for it alone has its id behind the cause's.
        """
        found: set[str] = set()
        for known in self.handover.of(alert_id):
            if known.grouping:
                found |= {known.group_id} if known.group_id is not None else set()
            elif known.member is not None:
                member_id, cause_id = known.member.member_id, known.member.cause_id
                merged = self._parts.view.group_of(known.rule, cause_id)
                found |= {cause_id, merged, f"{cause_id}-{member_id}", f"{merged}-{member_id}"}
        return found

    # Written down and read back

    def take_records(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Hand out the records for the groups topic, in their order."""
        return [*self.causes.take_records(), *self.handover.take_records()]

    def take_changes(self) -> Iterator[tuple[AnyKey, object]]:
        """Hand out what changed since the last call; null for what is not grouped any more."""
        return self.handover.take_changes()

    def restore(self, key: AnyKey, value: GroupedAlert | int) -> None:
        """Take a value as it was written down.

        Raises:
            ValueError: if it is another one than its key says.
        """
        self.handover.restore(key, value)
        if isinstance(value, GroupedAlert) and value.state == "waiting" and not value.grouping:
            self.causes.waits(value)


def _waiting(
    data: AlertData, receivers: tuple[str, ...], now: float, transition: msgspec.Raw, grouping: str
) -> GroupedAlert:
    return GroupedAlert(
        data.alert_id,
        data.campaign_id,
        data.rule,
        receivers,
        now,
        transition,
        grouping=grouping,
    )
