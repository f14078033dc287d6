"""The stream of events: as fast as wanted, of every kind, with incidents, and events of now."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

import orjson
from aiokafka.errors import KafkaError

from tests.chaos.truth import FLOOD
from tests.support.mixture import MS, SPOILS, Mixture, SourceRecord, endpoint, send_event
from tests.support.oracle import ENGAGEMENT, GROUPS
from tests.support.topics import Sender

PARTITIONS = 6
SOUND_CAMPAIGNS = 24
PIECE_S = 0.05
"""Seconds of the stream that are sent at once."""
AT_ONCE = 1_000
POOL = 60
"""Different events of a campaign: so many, and their times."""
FAILING = 4
"""Of these, sends that fail."""
BROKEN = 0.9
"""Share of a broken campaign's events that are sends that fail, more than those: so many that also
a campaign of which nothing is known is told to be broken within seconds."""
BAD = 0.01
LATE = 0.002
LATE_BY_MS = 600 * MS
"""So late are half of these; the others up to that. Windows are rolled up by then, or will be."""
DISORDER_MS = 2 * MS
FLOODED = 0.4
"""Share of all events that a flood has; in half of these the campaign's id is a new one."""
HOT = 0.9
"""Share of all events that a hot campaign has."""
SHARING = 12
"""So many campaigns have sends by one channel in common, which nobody else uses."""
SHARED_CHANNEL = "IN_APP"
SHARED = 0.8
"""Share of these campaigns' events that are sends by it."""

COUNTABLE = {"_campaign.send", *(f"_campaign.{name}" for name in ENGAGEMENT)}
_SLOT = 1_111_111_111_111
_FAILURES = ("FAILURE", "HOOK_FAILURE", "TRANSIENT_FAILURE")
_SOUND_MIX = (*("SUCCESS",) * 19, "FAILURE")


class Pattern(NamedTuple):
    """An event without its time."""

    head: bytes
    tail: bytes


class Traffic:
    """Sends events inside `async with flowing()`.

    What is wrong with them is changed while they flow: `broken` campaigns fail, all sends by the
    channel that the `sharing` campaigns have in common fail while it is `channel_down`, `hot` has
    most of the events, `silent` partitions get none, `speed` multiplies the rate, in a `flood` a
    tenant makes up names and campaigns. With `countable` all of them can be counted: none is
    broken, and none of a kind that is left out. With `keyed` all events of a campaign are in one
    partition.
    """

    def __init__(  # noqa: PLR0913 - what the stream is like
        self,
        address: str,
        topic: str,
        rate: int,
        seed: str,
        *,
        countable: bool = False,
        keyed: bool = False,
    ) -> None:
        self.rate = rate
        self.speed = 1.0
        self.broken: frozenset[str] = frozenset()
        self.channel_down = False
        self.channel_changed = False
        """Whether it has gone down or come up in this round."""
        self.hot: str | None = None
        self.flood = False
        self.silent: frozenset[int] = frozenset()
        self._address = address
        self._topic = topic
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._bad_share = 0.0 if countable else BAD
        self._keyed = keyed
        self._late_from = int(time.time() * 1000) - LATE_BY_MS
        mixture = Mixture(0, until=0, campaigns=SOUND_CAMPAIGNS)
        self.campaigns = mixture.ids
        self._sound = {each: _patterns(mixture, each, countable) for each in mixture.ids}
        self._failing = {each: _failing(each) for each in mixture.ids}
        self.sharing = frozenset(mixture.ids[::2][:SHARING])
        self._shared = {
            each: (_by_channel(each, _SOUND_MIX), _by_channel(each, _FAILURES))
            for each in self.sharing
        }
        self._holding = 0
        self._silent = asyncio.Event()
        self.turn = asyncio.Lock()
        """Who sends beside the stream has it, and who holds the stream."""

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Let the events flow; at the end, the broker has what was sent."""
        ending = asyncio.Event()
        running = asyncio.create_task(self._run(ending))
        try:
            yield
        finally:
            ending.set()
            await running

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Send nothing for so long; what was sent before has arrived, or will not."""
        self._holding += 1
        try:
            async with self.turn:
                await self._silent.wait()
                yield
        finally:
            self._holding -= 1

    async def _run(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            if self._holding:
                self._silent.set()
                await asyncio.sleep(PIECE_S)
                continue
            self._silent.clear()
            # A broker that is gone for too long: what is in the topic is what counts.
            with contextlib.suppress(KafkaError):
                async with Sender(self._address, self._topic) as sender:
                    while not ending.is_set() and not self._holding:
                        began = time.monotonic()
                        for part in self._parts():
                            await sender.send(part)
                            await asyncio.sleep(0)
                        await asyncio.sleep(max(0.0, PIECE_S - (time.monotonic() - began)))

    def good(self) -> tuple[SourceRecord, dict[str, object]]:
        """Make a record that can be counted, and the event that it is."""
        campaign_id, partition = self._addressed()
        now = int(time.time() * 1000)
        event: dict[str, object] = send_event(campaign_id, now, "SUCCESS")
        return SourceRecord(partition, campaign_id.encode(), orjson.dumps(event)), event

    def _parts(self) -> Iterator[list[SourceRecord]]:
        left = max(1, round(self.rate * self.speed * PIECE_S))
        while left > 0:
            yield [self._record() for _ in range(min(left, AT_ONCE))]
            left -= AT_ONCE

    def _record(self) -> SourceRecord:
        now = int(time.time() * 1000)
        campaign_id, partition = self._addressed()
        while partition in self.silent:
            campaign_id, partition = self._addressed()
        if self.flood and self._chance.random() < FLOODED:
            return self._flooding(now)
        draw = self._chance.random()
        bad = draw < self._bad_share
        value = self._bad(campaign_id, now) if bad else self._good(campaign_id, now)
        if self._keyed:
            return SourceRecord(partition, campaign_id.encode(), value)
        return SourceRecord(partition, b"some key" if draw < 0.5 else None, value)

    def _flooding(self, now: int) -> SourceRecord:
        """Make an event of a campaign that was never there, or of a name in one that was."""
        number = self._chance.getrandbits(40)
        name = f"{number:x}"
        campaign_id, fields, status = FLOOD, {"treatment_id": name}, "SUCCESS"
        match number % 4:
            case 0:
                status = name
            case 1:
                fields = {"treatment_id": "0", "delivery_type": name}
            case 2 | 3:
                campaign_id, fields = f"{FLOOD}-{name}", {}
        event = send_event(campaign_id, now, status, app_id=FLOOD, **fields)
        partition = sum(campaign_id.encode()) if self._keyed else number
        partition %= PARTITIONS
        if partition in self.silent:
            return self._flooding(now)
        return SourceRecord(partition, campaign_id.encode(), orjson.dumps(event))

    def _addressed(self) -> tuple[str, int]:
        """Choose a campaign, and the partition that its event goes to."""
        draw = self._chance.random
        campaign_id = self.campaigns[int(draw() * len(self.campaigns))]
        if self.hot is not None and draw() < HOT:
            campaign_id = self.hot
        if self._keyed:
            # Not as the program parts campaigns: it must not rely on that here.
            return campaign_id, sum(campaign_id.encode()) % PARTITIONS
        return campaign_id, int(draw() * PARTITIONS)

    def _good(self, campaign_id: str, now: int) -> bytes:
        draw = self._chance.random
        patterns = self._sound[campaign_id]
        if campaign_id in self.broken and draw() < BROKEN:
            patterns = self._failing[campaign_id]
        elif campaign_id in self.sharing and draw() < SHARED:
            patterns = self._shared[campaign_id][self.channel_down]
        head, tail = patterns[int(draw() * len(patterns))]
        late = draw()
        if late < LATE / 2:
            at = self._late_from + now % 20_000
        elif late < LATE:
            at = now - int(draw() * LATE_BY_MS)
        else:
            at = now - int(draw() * DISORDER_MS)
        return b"%b%d%b" % (head, at, tail)

    def _bad(self, campaign_id: str, now: int) -> bytes | None:
        reason, spoil = self._chance.choice(SPOILS)
        if reason == "too-large" and self._chance.random() < 0.9:
            return b"small"  # large ones are slow to send
        event = send_event(campaign_id, now, "SUCCESS")
        return spoil(event, now)


def _patterns(mixture: Mixture, campaign_id: str, countable: bool) -> list[Pattern]:
    """A campaign's events when all is well: of every kind, and few failures."""
    patterns: list[Pattern] = []
    failing = 0
    while len(patterns) < POOL:
        event = mixture.event(campaign_id, _SLOT)
        if countable and event["event_type"] not in COUNTABLE:
            continue
        fails = GROUPS.get(event["attributes"].get("campaign_send_status", "")) == "failure"
        if fails and failing == FAILING:
            continue
        failing += fails
        patterns.append(_pattern(event))
    return patterns


def _failing(campaign_id: str) -> list[Pattern]:
    return [
        _pattern(
            send_event(campaign_id, _SLOT, status, treatment_id=treatment, delivery_type="SMS")
        )
        for status in _FAILURES
        for treatment in ("0", "1")
    ]


def _by_channel(campaign_id: str, statuses: Sequence[str]) -> list[Pattern]:
    context = endpoint(SHARED_CHANNEL)
    events = (send_event(campaign_id, _SLOT, status, context=context) for status in statuses)
    return [_pattern(event) for event in events]


def _pattern(event: dict[str, object]) -> Pattern:
    slot = b'"event_timestamp":%d' % _SLOT
    head, tail = orjson.dumps(event).split(slot)
    return Pattern(head + slot[: -len(str(_SLOT))], tail)
