"""What a teller says of its groups: to receivers, and to whoever asks which groups there are."""

from collections.abc import Iterable, Mapping

import msgspec

from streams.domain.causes.book import Cause
from streams.domain.causes.exchange import (
    GroupReason,
    GroupState,
    Member,
    ToldReceiver,
    listed_campaigns,
)
from streams.domain.causes.group_names import is_by_labels, is_by_limit
from streams.domain.causes.records import TellerRecord
from streams.domain.group_transitions import (
    MOST_CAMPAIGNS,
    GroupAlert,
    GroupCause,
    GroupCounts,
    GroupData,
    GroupLinks,
    GroupTransition,
    GroupTransitionType,
    summary_of,
)
from streams.domain.names import NAMELESS, Names
from streams.domain.notification.grouping import Change, GroupNotification
from streams.domain.pages import group_page
from streams.domain.rules import Rule
from streams.domain.transitions import rfc3339

SEVERITIES = ("critical", "error", "warning", "info")
"""From the highest to the lowest."""

_TYPES: Mapping[Change, GroupTransitionType] = {
    "firing": "campaign.group.firing",
    "updated": "campaign.group.updated",
    "subsiding": "campaign.group.updated",
    "reminder": "campaign.group.reminder",
    "resolved": "campaign.group.resolved",
}


def reason_of(name: str) -> GroupReason:
    """Return what alerts have in common that are grouped under a name."""
    if is_by_labels(name):
        return "labels"
    return "rate-limit" if is_by_limit(name) else "cause"


def transition_of(  # noqa: PLR0913, PLR0917 - what a notification says
    record: TellerRecord,
    told: GroupNotification,
    rules: Mapping[str, Rule],
    base_url: str | None,
    now: float,
    names: Names = NAMELESS,
    *,
    more: int = 0,
) -> GroupTransition:
    """Return what a receiver is told at `now` (s, UTC).

    Args:
        record: has the group.
        told: what has changed.
        rules: by name; one that alerts are of may be gone.
        base_url: of the API, for links; null for none.
        now: wall-clock time.
        names: of campaigns and apps.
        more: how many alerts of the group fire that the record has no room for.
    """
    group, kind = told.group, _TYPES[told.change]
    members = [each.member for each in record.members.values() if each.group_id == group.key]
    listed = [each for each in members if each.member_id in group.firing] or members
    listed.sort(key=lambda each: (-each.hits, each.campaign_id, each.alert_id))
    counts = GroupCounts(
        firing=len(group.firing),
        joined=group.joined,
        ended=group.joined - len(group.firing),
        new=len(told.new),
        more=more,
    )
    labelled = record.labelled.get(group.key)
    data = GroupData(
        group_id=group.key,
        sequence=group.sequence,
        rule=_rule_of(record, members),
        severity=_highest(members),
        starts_at=rfc3339(_starts_at(record, group.key, members, now)),
        ends_at=rfc3339(now) if kind == "campaign.group.resolved" else None,
        cause=_shown(record.causes.get(group.key), now) if record.is_by_cause else None,
        counts=counts,
        alerts=[_shown_member(each, names) for each in listed[:MOST_CAMPAIGNS]],
        summary="",
        labels=_common_labels(record, members, rules),
        links=None if base_url is None else _links(base_url, group.key),
        reason=reason_of(record.rule),
        group_labels=dict(labelled.labels) if labelled is not None else {},
        campaigns=len({each.campaign_id for each in listed}),
    )
    data.summary = summary_of(kind, data)
    return GroupTransition(kind, rfc3339(now), data)


def states_of(record: TellerRecord, now: float) -> dict[str, GroupState]:
    """Return the groups of a record that go on, by their ids, as anybody may know them."""
    members: dict[str, list[Member]] = {}
    for known in record.members.values():
        if known.over_at is None:
            members.setdefault(known.group_id, []).append(known.member)
    told = {group_id for groups in record.groups.values() for group_id in groups.groups}
    return {
        group_id: _state_of(record, group_id, members.get(group_id, []), now)
        for group_id in sorted({*members, *told})
    }


def _state_of(record: TellerRecord, group_id: str, members: list[Member], now: float) -> GroupState:
    cause, labelled = record.causes.get(group_id), record.labelled.get(group_id)
    told = {
        receiver: ToldReceiver(group.sequence, group.told_at)
        for receiver, groups in record.groups.items()
        if (group := groups.groups.get(group_id)) is not None
    }
    return GroupState(
        group_id=group_id,
        reason=reason_of(record.rule),
        rule=_rule_of(record, members),
        severity=_highest(members),
        labels=dict(labelled.labels) if labelled is not None else {},
        dimensions=dict(cause.values) if cause is not None else None,
        status=cause.status if cause is not None else None,
        starts_at=_starts_at(record, group_id, members, now),
        firing=sum(each.is_live for each in members),
        joined=max([len(members), *_joined(record, group_id)]),
        receivers=told,
        key=labelled.key if labelled is not None else "",
        after=dict(labelled.after) if labelled is not None else {},
        campaigns=listed_campaigns((each.campaign_id, each.app_id) for each in members),
    )


def _starts_at(record: TellerRecord, group_id: str, members: Iterable[Member], now: float) -> float:
    """Return when (s) the first alert of a group began; members that ended may be gone."""
    known = record.states.get(group_id)
    before = [known.starts_at] if known is not None else []
    return min([*before, *(each.starts_at for each in members)], default=now)


def _joined(record: TellerRecord, group_id: str) -> list[int]:
    """Return how many alerts each receiver's group has had."""
    groups = (each.groups.get(group_id) for each in record.groups.values())
    return [each.joined for each in groups if each is not None]


def _rule_of(record: TellerRecord, members: Iterable[Member]) -> str | None:
    """Return the rule of all alerts of a group; null if they are of several."""
    if record.is_by_cause:
        return record.rule
    rules = {each.rule for each in members}
    return rules.pop() if len(rules) == 1 else None


def _highest(members: Iterable[Member]) -> str:
    known = {each.severity for each in members}
    return next((each for each in SEVERITIES if each in known), min(known, default=""))


def _common_labels(
    record: TellerRecord, members: Iterable[Member], rules: Mapping[str, Rule]
) -> dict[str, str]:
    """Return the labels that the rules of all alerts of a group have."""
    names = {record.rule} if record.is_by_cause else {each.rule for each in members}
    every = [rules[name].labels.items() for name in sorted(names) if name in rules]
    if not every:
        return {}
    return {name: value for name, value in every[0] if all((name, value) in e for e in every)}


def _links(base_url: str, group_id: str) -> GroupLinks:
    return GroupLinks(f"{base_url}/v1/alerts?group_id={group_id}", group_page(base_url, group_id))


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


def _shown_member(member: Member, names: Names) -> GroupAlert:
    return GroupAlert(
        alert_id=member.alert_id,
        campaign_id=member.campaign_id,
        app_id=member.app_id,
        starts_at=rfc3339(member.starts_at),
        ends_at=rfc3339(member.ended_at) if member.ended_at is not None else None,
        attempts=member.attempts,
        hits=member.hits,
        campaign_name=names.campaigns.of(member.campaign_id) or msgspec.UNSET,
        app_name=names.apps.of(member.app_id) or msgspec.UNSET,
    )


def ended(state: GroupState, now: float) -> GroupState:
    """Return a group that is over at `now` (s, UTC)."""
    return (
        state
        if state.ended_at is not None
        else msgspec.structs.replace(state, ended_at=now, firing=0)
    )
