"""Notification groups: alerts that receivers are told of together.

A group is told of first when `group_wait` is over, then of what has changed, at most once in
`group_interval`, and once that all of its alerts have ended. When it is due follows from its record
alone, so after a restart it goes on exactly where it was. (The names and the first two times are
those of Alertmanager.)

A group that grows is told of again when it has grown by `growth`; fewer alerts than that wait for
`rest_interval`, or for what is told next if a quarter of the alerts has ended by then. It is told
once that most of its alerts have ended. So the number of notifications grows with the logarithm of
the number of alerts.
"""

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Literal, NamedTuple, TypeAlias

import msgspec

STILL_FIRING = 0.75
"""Share of the alerts of a group; if fewer fire, it is ending."""

Change: TypeAlias = Literal["firing", "updated", "subsiding", "reminder", "resolved"]


class GroupTimes(NamedTuple):
    """When groups are told of.

    Attributes:
        group_wait: from a group's first alert to its first notification (s).
        group_interval: from a notification to the next one, at least (s).
        rest_interval: from a notification to one about fewer new alerts than `growth` (s).
        repeat_interval: from a notification to one that says that nothing has changed (s).
        growth: by which factor a group grows before it is told of again.
        subsided: share of the alerts of which, if no more fire, it is told once; 0 for never.
    """

    group_wait: float = 10.0
    group_interval: float = 60.0
    rest_interval: float = 600.0
    repeat_interval: float = 14_400.0
    growth: float = 1.5
    subsided: float = 0.1


class Group(msgspec.Struct, frozen=True):
    """Alerts that are told of together. Times are seconds since the epoch, UTC.

    Attributes:
        key: names it.
        title: what is told of it, such as the cause's name.
        began_at: when its first alert came.
        firing: ids of the alerts that fire, sorted.
        joined: how many it has had.
        told: ids of the alerts of which receivers were told that they fire, sorted, and not yet
            that they ended.
        told_joined: `joined`, as of the newest notification.
        told_title: `title`, as of the newest notification.
        told_at: when that was made; null if none was.
        hold: how long (s) its first notification waits beyond `group_wait`.
        subsided: whether receivers were told that most alerts have ended.
        sequence: how many notifications there were.
    """

    key: str
    title: str
    began_at: float
    firing: tuple[str, ...]
    joined: int
    told: tuple[str, ...] = ()
    told_joined: int = 0
    told_title: str = ""
    told_at: float | None = None
    hold: float = 0.0
    subsided: bool = False
    sequence: int = 0


class Groups(msgspec.Struct, frozen=True):
    """All groups of a receiver, by their keys."""

    groups: dict[str, Group] = {}


class Assignment(NamedTuple):
    """The group that an alert belongs to.

    Attributes:
        key: of the group.
        title: what is told of the group.
        hold: how long (s) the group waits beyond `group_wait`, as the alert may yet turn out to
            belong to another one; the shortest of its alerts counts.
        since: since when (s) the alert waited before it came; null if it did not.
    """

    key: str
    title: str
    hold: float = 0.0
    since: float | None = None


class GroupNotification(NamedTuple):
    """What receivers are told of a group.

    Attributes:
        group: as it is after it; its key and sequence name the notification.
        change: what has happened.
        new: ids of the alerts that fire, of which receivers were not told.
        ended: ids of those that ended, of which receivers were told that they fire.
    """

    group: Group
    change: Change
    new: tuple[str, ...]
    ended: tuple[str, ...]


encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Groups).decode


def step(
    groups: Groups,
    firing: Mapping[str, Assignment],
    times: GroupTimes,
    now: float,
    is_allowed: Callable[[], bool] = lambda: True,
) -> tuple[Groups, list[GroupNotification]]:
    """Return the groups at a time, and what receivers are told.

    A group that has told of an alert keeps it, so that the same group tells of its end. An alert
    that was not told of moves with its assignment.

    Args:
        groups: as they were.
        firing: the group of each alert that fires, by alert id.
        times: when groups are told of.
        now: time (s), not before that of the last step.
        is_allowed: tells whether one more notification is; one that is not waits. An end does not.
    """
    changed: dict[str, Group] = {}
    notifications = []
    for group in _joined(groups.groups, firing, now):
        due, change = _due(group, times)
        if change is None or due > now or not (change == "resolved" or is_allowed()):
            if group.firing or group.sequence:
                changed[group.key] = group
            continue
        notification = _tell(group, change, now)
        notifications.append(notification)
        if change != "resolved":
            changed[group.key] = notification.group
    return Groups(changed), notifications


def next_step_at(groups: Groups, times: GroupTimes) -> float:
    """Return when (s) a group is due at the earliest if nothing happens; infinity for never."""
    return min((_due(group, times)[0] for group in groups.groups.values()), default=inf)


def _joined(
    groups: Mapping[str, Group], firing: Mapping[str, Assignment], now: float
) -> Iterator[Group]:
    """Yield all groups with the alerts that they have now, in the order of their keys."""
    owners = {alert_id: key for key, group in groups.items() for alert_id in group.told}
    members: dict[str, set[str]] = {key: set() for key in groups}
    titles = {key: group.title for key, group in groups.items()}
    holds: dict[str, float] = {}
    began: dict[str, float] = {}
    for alert_id in sorted(firing):
        assigned = firing[alert_id]
        members.setdefault(owners.get(alert_id, assigned.key), set()).add(alert_id)
        titles[assigned.key] = assigned.title
        holds[assigned.key] = min(assigned.hold, holds.get(assigned.key, inf))
        since = now if assigned.since is None else min(now, assigned.since)
        began[assigned.key] = min(since, began.get(assigned.key, inf))
    for key in sorted(members):
        known = groups.get(key) or Group(key, titles[key], began[key], (), 0)
        came = members[key] - set(known.firing)
        moved = {alert_id for alert_id in known.firing if alert_id in firing} - members[key]
        yield msgspec.structs.replace(
            known,
            title=titles[key],
            hold=holds.get(key, 0.0),
            firing=tuple(sorted(members[key])),
            joined=known.joined + len(came) - len(moved),
        )


def _due(group: Group, times: GroupTimes) -> tuple[float, Change | None]:
    """Return when (s) a group is told of next, and of what; infinity for nothing."""
    if group.told_at is None:
        first = group.began_at + times.group_wait + group.hold
        return (first, "firing") if group.firing else (inf, None)
    soon = group.told_at + times.group_interval
    if not group.firing:
        return soon, "resolved"
    if group.title != group.told_title or group.joined >= times.growth * group.told_joined:
        return soon, "updated"
    if not group.subsided and 1 < len(group.firing) <= times.subsided * group.joined:
        return soon, "subsiding"
    is_ending = len(group.firing) < STILL_FIRING * group.joined
    if not is_ending and not set(group.firing) <= set(group.told):
        return group.told_at + times.rest_interval, "updated"
    return group.told_at + times.repeat_interval, "reminder"


def _tell(group: Group, change: Change, now: float) -> GroupNotification:
    told = msgspec.structs.replace(
        group,
        told=group.firing,
        told_joined=group.joined,
        told_title=group.title,
        told_at=now,
        subsided=group.subsided or change == "subsiding",
        sequence=group.sequence + 1,
    )
    new = tuple(sorted(set(group.firing) - set(group.told)))
    ended = tuple(sorted(set(group.told) - set(group.firing)))
    return GroupNotification(told, change, new, ended)
