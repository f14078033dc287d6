"""Groups: each alert is told to a receiver that groups, by itself or in a group, and in one way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from tests.chaos.alerts import ENDS, FIRING, REMINDER
from tests.chaos.webhooks import (
    History,
    Step,
    Took,
    named,
    step_of,
    wrong_ids,
    wrong_in_order,
    wrongly_sent,
)
from tests.support.topics import Read

OF_GROUPS = "campaign.group."
GROUP_FIRING, GROUP_RESOLVED = "campaign.group.firing", "campaign.group.resolved"


class Episode(NamedTuple):
    """One time that an alert fires: the same alert may come back."""

    alert_id: str
    number: int


@dataclass
class Story:
    """What happened to an alert from its firing to its end: the transitions, in order."""

    steps: list[Any] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.steps[-1]["type"] in ENDS


class GroupLedger:
    """What has been handed over to be told in groups, as the groups topic says."""

    def __init__(self) -> None:
        self.members: dict[Episode, Any] = {}
        self.merged: dict[str, str] = {}

    def take(self, record: Read) -> None:
        """Read one record."""
        if record.value is None:
            return
        value = orjson.loads(record.value)
        match orjson.loads(record.key or b"null"):
            case ["member", *_] if value["state"] == "handed-over":
                self.members[Episode(value["alert_id"], value["episode"])] = value
            case ["causes", _]:
                self.merged |= value["merged"]

    def member(self, episode: Episode) -> Any:
        """Return what was handed over of an episode; null for nothing."""
        return self.members.get(episode)

    def groups_of(self, member: Any) -> set[str]:
        """Return the ids of the groups that may tell of what was handed over."""
        member_id = member["alert_id"]
        if member["episode"] > 1:
            member_id += f"-{member['episode']}"
        cause_id: str | None = member["cause_id"]
        found: set[str] = set()
        while cause_id is not None and cause_id not in found:
            found |= {cause_id, f"{cause_id}-{member_id}"}
            cause_id = self.merged.get(cause_id)
        return found


@dataclass
class ToldGroup:
    """What a receiver took of a group, in order, and the episodes that are in it."""

    values: list[Any] = field(default_factory=list)
    episodes: set[Episode] = field(default_factory=set)

    @property
    def newest(self) -> Any:
        """The newest notification."""
        return max(self.values, key=lambda each: each["data"]["sequence"])


class GroupedWebhooks:
    """Compares what a receiver that groups by cause was sent with all that there was to tell.

    Args:
        name: the receiver's.
        receiver: has everything in the order in which it came.
        ledger: what was handed over.
    """

    def __init__(self, name: str, receiver: Took, ledger: GroupLedger) -> None:
        self._name = name
        self._receiver = receiver
        self._ledger = ledger

    def wrong(self, history: History, transitions: dict[Step, Any]) -> Iterator[str]:
        """Yield what is wrong, or has not arrived yet.

        Args:
            history: what the API says.
            transitions: all that are on the alerts topic.
        """
        stories = _stories(transitions)
        groups = self._groups(stories)
        alone = [each for each in self._receiver.accepted if not _is_group(each)]
        yield from wrong_ids(self._receiver)
        yield from self._wrongly_named()
        yield from wrong_in_order(alone)
        for value in self._receiver.sent:
            if not _is_group(value):
                yield from wrongly_sent(value, history, transitions)
        yield from self._wrong_sequences()
        yield from self._wrong_episodes(history, stories, groups)
        for group_id, group in groups.items():
            yield from self._wrong_group(group_id, group, stories)
        yield from self._unreachable(history)

    @property
    def summary(self) -> tuple[int, int]:
        """How many groups it was told of, and how many alerts were handed over to be in them."""
        told = {value["data"]["group_id"] for value in self._receiver.accepted if _is_group(value)}
        return len(told), len(self._ledger.members)

    def _groups(self, stories: Mapping[Episode, Story]) -> dict[str, ToldGroup]:
        groups: dict[str, ToldGroup] = {}
        started = _by_start(stories, self._ledger.members)
        for value in self._receiver.accepted:
            if _is_group(value):
                group = groups.setdefault(value["data"]["group_id"], ToldGroup())
                group.values.append(value)
                for alert in value["data"]["alerts"]:
                    start = alert["alert_id"], alert["starts_at"]
                    group.episodes.add(started.get(start, Episode(alert["alert_id"], 0)))
        for episode, member in self._ledger.members.items():
            told = self._ledger.groups_of(member) & groups.keys()
            if len(told) == 1:
                groups[told.pop()].episodes.add(episode)
        return groups

    # What is told of an alert

    def _wrong_episodes(
        self,
        history: History,
        stories: Mapping[Episode, Story],
        groups: Mapping[str, ToldGroup],
    ) -> Iterator[str]:
        sent = {step_of(value) for value in self._receiver.sent if not _is_group(value)}
        accepted = {step_of(value) for value in self._receiver.accepted if not _is_group(value)}
        in_groups = {each for group in groups.values() for each in group.episodes}
        for episode in in_groups | self._ledger.members.keys():
            if episode not in stories:
                yield f"{episode} is in a group, and is not on the alerts topic"
        for episode, story in stories.items():
            first, told = story.steps[0], [step_of(each) for each in story.steps]
            handed_over = episode in in_groups or self._ledger.member(episode) is not None
            if handed_over and any(step in sent for step in told):
                yield f"{named(first)} was told by itself, and in a group"
            firing = [step_of(each) for each in story.steps if each["type"] == FIRING]
            by_itself = not accepted.isdisjoint(firing)
            decided = [history.get(step) for step in firing]
            is_told = any(each is not None and each.suppressed is None for each in decided)
            if is_told and not by_itself and episode not in in_groups:
                yield f"{named(first)} was never told, by itself or in a group"
            if handed_over and None not in decided and not is_told:
                yield f"{named(first)} is in a group, though it is silenced"
            if by_itself and not handed_over:
                yield from self._missing(history, story, accepted)

    def _missing(self, history: History, story: Story, accepted: set[Step]) -> Iterator[str]:
        """Look for what has to be told of an alert that is told by itself."""
        for value in story.steps:
            decided = history.get(step_of(value))
            if decided is None or decided.suppressed is not None or value["type"] == REMINDER:
                continue
            if self._name not in decided.withheld and step_of(value) not in accepted:
                yield f"{named(value)} was never told to {self._name}"

    def _unreachable(self, history: History) -> Iterator[str]:
        for alert in history.alerts:
            member = self._ledger.member(_episode(alert))
            if member is not None and alert["group_id"] not in self._ledger.groups_of(member):
                yield f"alert {alert['alert_id']} is in group {alert['group_id']}, says the API"

    # What is told of a group

    def _wrongly_named(self) -> Iterator[str]:
        for webhook_id, bodies in self._receiver.bodies.items():
            data = orjson.loads(min(bodies))["data"]
            of = data["group_id"] if "group_id" in data else data["alert_id"]
            if webhook_id != f"{of}.{data['sequence']}":
                yield f"webhook {webhook_id} is {data['sequence']} of {of}"

    def _wrong_sequences(self) -> Iterator[str]:
        newest: dict[str, Any] = {}
        for value in self._receiver.accepted:
            if not _is_group(value):
                continue
            group_id, sequence = value["data"]["group_id"], value["data"]["sequence"]
            before = newest.get(group_id)
            known = before["data"]["sequence"] if before is not None else 0
            if sequence <= known:
                continue  # sent again
            newest[group_id] = value
            if sequence != known + 1:
                yield f"{_named_group(value)} was told after {known}"
            if (sequence == 1) != (value["type"] == GROUP_FIRING):
                yield f"{_named_group(value)} is no beginning, or is one too many"
            if before is not None and before["type"] == GROUP_RESOLVED:
                yield f"{_named_group(value)} was told after its end"

    def _wrong_group(
        self, group_id: str, group: ToldGroup, stories: Mapping[Episode, Story]
    ) -> Iterator[str]:
        newest = group.newest
        counts = newest["data"]["counts"]
        firing = [e for e in group.episodes if e in stories and not stories[e].is_over]
        is_over = newest["type"] == GROUP_RESOLVED
        if is_over and firing:
            yield f"{_named_group(newest)} has ended, and {firing[0]} fires"
        if not is_over and not firing:
            yield f"{_named_group(newest)} has not ended, and no alert of it fires"
        if counts["joined"] != counts["firing"] + counts["ended"]:
            yield f"{_named_group(newest)} has counts that do not fit: {counts}"
        of_causes = {group_id, group_id.partition("-")[0]}
        if of_causes & {*self._ledger.merged, *self._ledger.merged.values()}:
            return  # alerts have moved from one to another
        if is_over and counts["joined"] != len(group.episodes):
            yield f"{_named_group(newest)} has had {len(group.episodes)} alerts: {counts}"


def _stories(transitions: dict[Step, Any]) -> dict[Episode, Story]:
    stories: dict[Episode, Story] = {}
    for _, value in sorted(transitions.items(), key=lambda each: each[0]):
        stories.setdefault(_episode(value["data"]), Story()).steps.append(value)
    return stories


def _episode(described: Any) -> Episode:
    return Episode(described["alert_id"], described["episode"])


def _by_start(
    stories: Mapping[Episode, Story], members: Mapping[Episode, Any]
) -> dict[tuple[str, str], Episode]:
    """Return episodes by alert and start; of two that began at once, one that was handed over."""
    found: dict[tuple[str, str], Episode] = {}
    for episode in sorted(stories, key=lambda each: each in members):
        data = stories[episode].steps[0]["data"]
        found[data["alert_id"], data["starts_at"]] = episode
    return found


def _is_group(value: Any) -> bool:
    return bool(value["type"].startswith(OF_GROUPS))


def _named_group(value: Any) -> str:
    data = value["data"]
    return (
        f"{value['type']} {data['sequence']} of {data['group_id']} ({data['rule']}) "
        f"at {value['timestamp']}"
    )
