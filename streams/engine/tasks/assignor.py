"""Assigns tasks to the members of the group.

A task is a partition of the repartition topic with its state, and the source partitions that are
read with it. All of a task goes to one worker, always, so one transactional id fences all of it.
The members send the leader which tasks they hold and the URL of their API; the leader sends all of
them which member holds which task.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)


def share_out(tasks: int, held: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    """Give every task to one member, evenly, moving as few as can be.

    Args:
        tasks: how many there are.
        held: what each member holds now.
    """
    members = sorted(held)
    least, more = divmod(tasks, len(members))
    free = set(range(tasks))
    shares: dict[str, list[int]] = {}
    # Those that hold most may keep one more than the others.
    for at, member in enumerate(sorted(members, key=lambda m: (-len(list(held[m])), m))):
        allowed = least + (at < more)
        shares[member] = sorted(free & set(held[member]))[:allowed]
        free -= set(shares[member])
    rest = sorted(free)
    for at, member in enumerate(sorted(members, key=lambda m: (-len(list(held[m])), m))):
        missing = least + (at < more) - len(shares[member])
        shares[member] += [rest.pop(0) for _ in range(missing)]
    return {member: sorted(share) for member, share in shares.items()}


class TaskAssignor:
    """An assignor for aiokafka, of one member.

    Args:
        tasks: how many tasks there are; all members of the group have to agree.
        source: the source topic.
        repartition: the repartition topic; null when the source is keyed by campaign itself.
    """

    version = 0

    def __init__(self, tasks: int, source: str, repartition: str | None) -> None:
        # Members with another number of tasks are refused by the group's coordinator.
        self.name = f"campaign-tasks-{tasks}"
        self.tasks = tasks
        self.source = source
        self._repartition = repartition
        self.url: str | None = None
        """The URL of this member's API."""
        self.held: set[int] = set()
        self.peers: dict[int, str] = {}
        self.sources = 0
        """How many partitions the source topic has."""

    def sources_of(self, task: int, partitions: Iterable[int]) -> list[int]:
        """Return those of the source partitions that are read with a task."""
        return sorted(p for p in partitions if p % self.tasks == task)

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return the metadata for the leader: the tasks that this member holds, the URL of its API.

        The number of source partitions is part of it: to a member whose metadata is the same as
        before, the embedded broker gives its last assignment, whatever the leader assigns.
        """
        said = {"tasks": sorted(self.held), "url": self.url, "sources": self.sources}
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), orjson.dumps(said))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign, as the leader, all partitions to the members."""
        said: dict[str, dict[str, Any]] = {
            member: orjson.loads(metadata.user_data) for member, metadata in members.items()
        }
        shares = share_out(self.tasks, {member: each["tasks"] for member, each in said.items()})
        urls = {
            str(task): said[member]["url"]
            for member, tasks in shares.items()
            for task in tasks
            # Any client may join the group, with any metadata.
            if isinstance(said[member]["url"], str) and said[member]["url"]
        }
        sources = cluster.partitions_for_topic(self.source) or set()
        # Without repartitioning each task has its own partition, also while the topic is missing.
        read = sources if self._repartition is not None else range(self.tasks)
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version,
                self._partitions(tasks, read),
                orjson.dumps({"urls": urls, "sources": len(sources)}),
            )
            for member, tasks in shares.items()
        }

    def _partitions(self, tasks: list[int], sources: Iterable[int]) -> list[tuple[str, list[int]]]:
        read = sorted(p for task in tasks for p in self.sources_of(task, sources))
        topics = [(self.source, read)]
        if self._repartition is not None:
            topics.append((self._repartition, tasks))
        return topics

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Take note of which member holds which task."""
        said = orjson.loads(assignment.user_data)
        self.peers = {int(task): url for task, url in said["urls"].items() if isinstance(url, str)}
        self.sources = said["sources"]
