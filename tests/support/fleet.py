"""Workers with a few lanes and one groups topic, in memory: they crash, move and lag behind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

import msgspec
import orjson

from streams.domain import changelog
from streams.domain.causes.exchange import GroupView
from streams.domain.deliveries import Delivery
from streams.domain.detectors.threshold import Threshold
from streams.domain.notification.grouping import GroupTimes
from streams.domain.notification.rate_limit import Rate, ReceiverLimit, TokenBucket
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, PartialCounts, partition_of
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.restorer import PartitionRestorer
from streams.domain.rules import Rule
from streams.domain.transitions import Transition
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

RULE = Rule("failure-spike", frozenset({"FAILURE"}), Threshold(0.2))
TIMES = GroupTimes(group_wait=5.0, group_interval=20.0, rest_interval=60.0)
CHANNELS = ("GCM", "EMAIL")
START = 1_790_000_040
"""The start (s) of a window."""


@dataclass
class Lane:
    """What is committed of a lane, and the partition that a worker has of it."""

    number: int
    worker: int
    partition: CampaignPartition
    changelog: dict[bytes, bytes | None] = field(default_factory=dict)
    log: list[PartialCounts] = field(default_factory=list)
    applied: int = 0


@dataclass
class Received:
    """What a receiver got."""

    delivery: Delivery
    at: float

    @property
    def body(self) -> bytes:
        return bytes(self.delivery.transition)

    @property
    def type(self) -> str:
        return str(orjson.loads(self.body)["type"])


class Fleet:
    """Lanes on some workers.

    Args:
        seed: of what decides who crashes, moves and lags.
        lanes: how many there are.
        workers: how many.
        campaigns: how many each lane has, all of one app.
        reopen_within: seconds in which an alert that comes back is the same one.
        settings: of partitions, beside rules and receivers: `ops` groups, `plain` does not.
        labels: by which `ops` groups; none: by cause.
        limit: of `ops`, at each worker; null for none.
        groups: whether `ops` groups.
        step: seconds between two steps of the lanes.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        seed: int,
        *,
        lanes: int = 3,
        workers: int = 2,
        campaigns: int = 5,
        reopen_within: float = 0.0,
        settings: PartitionSettings = PARTITION_SETTINGS,
        labels: tuple[str, ...] = (),
        limit: Rate | None = None,
        groups: bool = True,
        step: float = 0.5,
    ) -> None:
        self.every = step
        self.random = Random(seed)  # noqa: S311 - repeatable
        self.now = float(START)
        self.topic: list[tuple[bytes, bytes | None]] = []
        self.views = [GroupView() for _ in range(workers)]
        self._read = [0] * workers
        self._reads = True
        self._settings = [
            replace(
                settings,
                rules=(replace(RULE, keep_firing_for=0.0, reopen_within=reopen_within),),
                receivers=("ops", "plain"),
                grouping={"ops": TIMES} if groups else {},
                group_labels={"ops": labels} if labels else {},
                rate_limits=(
                    {"ops": ReceiverLimit(TokenBucket(limit), TIMES)} if limit is not None else {}
                ),
                lanes=lanes,
                group_view=view,
            )
            for view in self.views
        ]
        self.campaigns = _names(lanes, campaigns)
        self.lanes = [
            Lane(
                number,
                number % workers,
                CampaignPartition(number, self._settings[number % workers], [0], self.now),
            )
            for number in range(lanes)
        ]
        self.decided: list[Transition] = []
        """All that was committed."""
        self.received: dict[str, list[Received]] = {"ops": [], "plain": []}
        self.broken: set[tuple[str, str]] = set()
        """Campaigns and channels whose sends fail."""
        self.crashes = 0
        self.failures: list[str] = []
        """What could not be evaluated; a test fails with the first one, unless it is tolerant."""
        self.tolerant = False

    def everywhere(self, channel: str) -> Iterable[tuple[str, str]]:
        return [(name, channel) for names in self.campaigns for name in names]

    def run(self, seconds: float, *, chaos: float = 0.0) -> None:
        """Let time pass. `chaos` is how often (0 to 1) a step goes wrong."""
        end = self.now + seconds
        while self.now < end:
            self.now += self.every
            for lane in self.lanes:
                self._step(lane, chaos)
            for worker in range(len(self.views)):
                if self.random.random() >= chaos:
                    self._follow(worker)

    def _step(self, lane: Lane, chaos: float) -> None:
        self._count(lane)
        partition = lane.partition
        decided = partition.advance(self.now, len(lane.log))
        if self.random.random() < chaos / 4:
            self._crash(lane)
            return
        self._commit(lane, decided)
        if self.random.random() < chaos / 8:
            self._crash(lane)
            return
        self._deliver(lane, chaos)

    def _count(self, lane: Lane) -> None:
        start = int(self.now - self.now % 60)
        sends = {
            name: {
                key: count
                for channel in CHANNELS
                for key, count in counts(
                    {"SUCCESS": 1, "FAILURE": 19}
                    if (name, channel) in self.broken
                    else {"SUCCESS": 20},
                    None,
                    channel,
                    channel,
                ).items()
            }
            for name in self.campaigns[lane.number]
        }
        event_time = int(self.now * 1000)
        # It is read back: the log has it whether or not the lane crashes.
        lane.log.append(
            PartialCounts(
                PARTIAL_COUNTS_VERSION, {0: event_time}, event_time, [window_counts(start, sends)]
            )
        )
        while lane.applied < len(lane.log):
            lane.partition.apply(lane.log[lane.applied], lane.applied, self.now)
            lane.applied += 1

    def _commit(self, lane: Lane, decided: list[Transition]) -> None:
        partition = lane.partition
        if not partition.is_evaluated:
            decided += partition.evaluate(self.now)
        failures = partition.take_failures()
        self.failures += [str(each.error) for each in failures]
        assert self.tolerant or not failures
        for key, value in partition.take_changes(self.now):
            lane.changelog[key] = value
        self.topic += partition.take_group_records()
        partition.take_suppressed()
        lane.changelog[b"applied"] = b"%d" % lane.applied
        partition.deliveries.mark_committed()
        self.decided += decided

    def _deliver(self, lane: Lane, chaos: float) -> None:
        outbox = lane.partition.deliveries
        for delivery in outbox.due(self.now):
            if self.random.random() < chaos / 2:
                outbox.failed(delivery, "503", self.now + 1)
                continue
            copy = msgspec.json.decode(msgspec.json.encode(delivery), type=Delivery)
            self.received[delivery.receiver].append(Received(copy, self.now))
            if self.random.random() < chaos / 2:
                # It arrived, but nobody knows.
                outbox.failed(delivery, "timeout", self.now + 1)
            else:
                outbox.delivered(delivery)

    def _crash(self, lane: Lane) -> None:
        """Drop what is not committed; any worker restores the lane."""
        self.crashes += 1
        lane.worker = self.random.randrange(len(self.views))
        records = dict(lane.changelog)
        committed = int(records.pop(b"applied", b"0") or b"0")
        restorer = PartitionRestorer(
            lane.number, self._settings[lane.worker], [0], self.now, topic="state"
        )
        for offset, (key, value) in enumerate(records.items()):
            restorer.add(key, value, offset)
        replay = restorer.restore()
        if replay.replay_from_offset is not None:
            for offset in range(replay.replay_from_offset, committed):
                replay.add(lane.log[offset], offset, self.now)
        lane.partition = replay.finish(self.now, committed)
        lane.applied = committed

    def _follow(self, worker: int) -> None:
        """Read the topic up to any record, or anew."""
        view, end = self.views[worker], len(self.topic)
        if not self._reads:
            return
        position = self.random.randint(self._read[worker], end)
        for key, value in self.topic[self._read[worker] : position]:
            view.restore(key, value)
        self._read[worker] = position

    def configure(self, grouping: Mapping[str, GroupTimes]) -> None:
        """Restart all workers with other receivers that group."""
        self._settings = [replace(each, grouping=grouping) for each in self._settings]
        for lane in self.lanes:
            self._crash(lane)

    def stop_reading(self) -> None:
        """Let no worker read the topic from here on."""
        self._reads = False

    def read_anew(self, worker: int) -> None:
        """Let a worker read the topic from its beginning."""
        self.views[worker].clear()
        for key, value in dict(self.topic[: self._read[worker]]).items():
            self.views[worker].restore(key, value)


def _names(lanes: int, campaigns: int) -> list[list[str]]:
    names: list[list[str]] = [[] for _ in range(lanes)]
    number = 0
    while any(len(of_lane) < campaigns for of_lane in names):
        name = f"campaign-{number}"
        number += 1
        of_lane = names[partition_of(name, lanes)]
        if len(of_lane) < campaigns:
            of_lane.append(name)
    return names


__all__ = ["START", "Fleet", "Received", "changelog"]
