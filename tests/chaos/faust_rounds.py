"""Rounds for stock Faust: the same events and faults, and its counts from its changelog topic."""

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from tests.chaos.faults import FAULTS
from tests.chaos.faust_system import FaustSystem
from tests.chaos.following import Follower
from tests.chaos.plan import Together
from tests.chaos.rounds import CALM_WITHIN_S, TROUBLE, disturb
from tests.chaos.system import FAUST_RETENTION_S, GRACE_S, WINDOW_S
from tests.chaos.traffic import PARTITIONS, Traffic
from tests.chaos.truth import CellName, Truth
from tests.support.topics import committed_offsets
from tests.support.waiting import until

TRANSACTIONAL = {"kill-in-commit", "kill-in-recovery", "zombie-in-commit"}
"""They wait for requests that Faust does not send."""
OF_THE_TOPIC = {"topic-anew", "source-expired"}
"""They need the independent count of `tests.chaos.rounds`."""
APPLY = [name for name in FAULTS if name not in TRANSACTIONAL | OF_THE_TOPIC]
STILL_S = 4.0
"""Nothing more comes when nothing came for so many seconds: more than one commit interval."""
HEAD = f"{'round':>5}  {'events':>9}  {'calm s':>7}  {'lost':>8}  {'doubled':>8}  faults"


@dataclass
class FaustResult:
    """What came out of a round: how much more is lost and doubled than before it.

    Less than nothing is lost when events of an earlier round were counted after it.
    """

    number: int
    faults: Together
    events: int = 0
    calm_after: float | None = None
    lost: int = 0
    doubled: int = 0
    trouble: str = ""

    @property
    def line(self) -> str:
        """One line of the table."""
        calm = "never" if self.calm_after is None else f"{self.calm_after:.1f}"
        return (
            f"{self.number:>5}  {self.events:>9,}  {calm:>7}  {self.lost:>8,}  "
            f"{self.doubled:>8,}  {' + '.join(self.faults)}  {self.trouble}"
        )


class FaustRounds:
    """Rounds on one system. A difference does not end them: it is what they look for."""

    def __init__(self, system: FaustSystem, traffic: Traffic, seed: int) -> None:
        self._system = system
        self._traffic = traffic
        self._seed = seed
        self._source = Follower(system.kafka.address, system.topic("source"), PARTITIONS)
        self._changelog: Follower | None = None
        self._truth = Truth(WINDOW_S, GRACE_S, FAUST_RETENTION_S)
        self._said: dict[CellName, int] = {}
        self._off: dict[CellName, int] = {}

    async def run(self, number: int, faults: Together) -> FaustResult:
        """Run one round."""
        result = FaustResult(number, faults)
        chance = random.Random(f"{self._seed}/{number}")  # noqa: S311 - repeatable
        self._system.notes.info("round %d: %s", number, " + ".join(faults))
        before = self._truth.records
        try:
            await disturb(self._system, self._traffic, faults, chance, None)
            began = time.monotonic()
            await self._system.heal()
            async for record in self._source.read():
                self._truth.take(record)
            await until(self._arrived, CALM_WITHIN_S)
            result.calm_after = time.monotonic() - began
        except TROUBLE as error:
            result.trouble = repr(error)
        result.events = self._truth.records - before
        await self._compare(result)
        return result

    async def _arrived(self) -> bool:
        """Tell whether Faust has committed all offsets, of the source and of its own topic."""
        address, group = self._system.kafka.address, self._system.group
        for topic in (self._system.topic("source"), *await self._system.topics_of("-repartition")):
            follower = Follower(address, topic, PARTITIONS)
            ends = await follower.ends()
            committed = await committed_offsets(address, group, topic)
            if any(committed.get(at.partition, 0) < end for at, end in ends.items()):
                return False
        return True

    async def _compare(self, result: FaustResult) -> None:
        """Compare all cells; what was off before this round is not counted again."""
        if self._changelog is None:
            (topic,) = await self._system.topics_of("-changelog")
            self._changelog = Follower(self._system.kafka.address, topic, PARTITIONS)
        await self._read_until_still(self._changelog)
        for name in self._truth.cells.keys() | self._said.keys():
            off = self._said.get(name, 0) - sum(self._truth.cells.get(name, {}).values())
            before, self._off[name] = self._off.get(name, 0), off
            result.doubled += max(off, 0) - max(before, 0)
            result.lost += max(-off, 0) - max(-before, 0)

    async def _read_until_still(self, changelog: Follower) -> None:
        """Read the changes, and those that come although all offsets are committed."""
        deadline = time.monotonic() + CALM_WITHIN_S
        changed = True
        while changed and time.monotonic() < deadline:
            await asyncio.sleep(STILL_S)
            changed = False
            async for record in changelog.read():
                changed = True
                campaign_id, (start, _) = orjson.loads(record.key or b"")
                self._said[CellName(campaign_id, int(start))] = orjson.loads(record.value or b"0")

    def summary(self, results: list[FaustResult]) -> Iterable[str]:
        """What is off in the end."""
        lost = -sum(off for off in self._off.values() if off < 0)
        doubled = sum(off for off in self._off.values() if off > 0)
        wrong = sum(off != 0 for off in self._off.values())
        yield (
            f"{len(results)} rounds, {sum(result.events for result in results):,} events: "
            f"in the end {lost:,} lost and {doubled:,} doubled, "
            f"in {wrong:,} of {len(self._off):,} windows"
        )
