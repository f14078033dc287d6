"""Who gets which lanes.

A lane is a partition of the keyed topic with its state, and the source partitions that are read
with it. All of a lane goes to one worker, always, so one transactional id fences all of it. The
members tell the leader which lanes they hold and where they can be asked; the leader tells all of
them who holds what.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)


def share_out(lanes: int, held: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    """Give every lane to one member, evenly, moving as few as can be.

    Args:
        lanes: how many there are.
        held: what each member holds now.
    """
    members = sorted(held)
    least, more = divmod(lanes, len(members))
    free = set(range(lanes))
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


class LaneAssignor:
    """An assignor for aiokafka, of one member.

    Args:
        lanes: how many lanes there are; all members of the group have to agree.
        source: the source topic.
        keyed: the keyed topic; null when the source is keyed by campaign itself.
    """

    version = 0

    def __init__(self, lanes: int, source: str, keyed: str | None) -> None:
        # Members with another number of lanes are refused by the group's coordinator.
        self.name = f"campaign-lanes-{lanes}"
        self.lanes = lanes
        self.source = source
        self._keyed = keyed
        self.url: str | None = None
        """Where this member's API can be asked."""
        self.held: set[int] = set()
        self.peers: dict[int, str] = {}
        self.sources = 0
        """How many partitions the source topic has."""

    def sources_of(self, lane: int, partitions: Iterable[int]) -> list[int]:
        """Return those of the source partitions that are read with a lane."""
        return sorted(p for p in partitions if p % self.lanes == lane)

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Say to the leader what this member holds, and where it can be asked.

        And how many source partitions it knows of: to a member that says the same as before, the
        embedded broker gives the assignment that it had, whatever the leader says.
        """
        said = {"lanes": sorted(self.held), "url": self.url, "sources": self.sources}
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), orjson.dumps(said))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign, as the leader, all partitions to the members."""
        said: dict[str, dict[str, Any]] = {
            member: orjson.loads(metadata.user_data) for member, metadata in members.items()
        }
        shares = share_out(self.lanes, {member: each["lanes"] for member, each in said.items()})
        urls = {
            str(lane): said[member]["url"]
            for member, lanes in shares.items()
            for lane in lanes
            # Whoever joins the group can say anything.
            if isinstance(said[member]["url"], str) and said[member]["url"]
        }
        sources = cluster.partitions_for_topic(self.source) or set()
        # Without a hop each lane has its own partition, also while the topic is missing.
        read = sources if self._keyed is not None else range(self.lanes)
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version,
                self._partitions(lanes, read),
                orjson.dumps({"urls": urls, "sources": len(sources)}),
            )
            for member, lanes in shares.items()
        }

    def _partitions(self, lanes: list[int], sources: Iterable[int]) -> list[tuple[str, list[int]]]:
        read = sorted(p for lane in lanes for p in self.sources_of(lane, sources))
        topics = [(self.source, read)]
        if self._keyed is not None:
            topics.append((self._keyed, lanes))
        return topics

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Take note of who holds what."""
        said = orjson.loads(assignment.user_data)
        self.peers = {int(lane): url for lane, url in said["urls"].items() if isinstance(url, str)}
        self.sources = said["sources"]
