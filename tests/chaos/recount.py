"""How long a worker's tasks stand still after kill -9 of it, under steady load."""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import TypeAlias

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from tests.chaos.following import Follower
from tests.chaos.report import say
from tests.chaos.system import SESSION_S, System
from tests.chaos.traffic import PARTITIONS, Traffic
from tests.support.waiting import until

BEFORE_S = 8.0
"""Seconds of events before the kill."""
IN_FLIGHT_S = 0.3
"""What was under way in the moment of the kill is committed within so many seconds, or never."""
WITHIN_S = 120.0

Offsets: TypeAlias = Mapping[TopicPartition, int]


async def measure(system: System, traffic: Traffic, times: int, seed: int) -> None:
    """Kill one of the workers that often; print what it took.

    It counts again when the last of all partitions has moved on, in the source topic and in the
    keyed one. It is level when all that had been sent by then is counted.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable
    say(f"session time-out {SESSION_S:g} s, {traffic.rate:,} events/s, seed {seed}")
    say(f"{'kill':>4}  {'counts again s':>14}  {'after the session':>17}  {'level again s':>13}")
    admin = AIOKafkaAdminClient(bootstrap_servers=system.kafka.address)
    await admin.start()
    try:
        for number in range(1, times + 1):
            await system.usual()
            async with traffic.flowing():
                await asyncio.sleep(BEFORE_S)
                again, level = await _kill(system, Progress(admin, system), chance)
            say(f"{number:>4}  {again:>14.1f}  {again - SESSION_S:>+17.1f}  {level:>13.1f}")
            await system.heal()
    finally:
        await admin.close()


class Progress:
    """How far the group is, in the source topic and in the keyed one."""

    def __init__(self, admin: AIOKafkaAdminClient, system: System) -> None:
        self._admin = admin
        self._group = system.settings["kafka"]["group_id"]

    async def committed(self) -> Offsets:
        """Return the committed offsets."""
        offsets = await self._admin.list_consumer_group_offsets(self._group)
        return {partition: at.offset for partition, at in offsets.items()}

    async def moved(self, since: Offsets) -> bool:
        """Tell whether all partitions are further than they were."""
        now = await self.committed()
        return all(now[partition] > at for partition, at in since.items())

    async def reached(self, ends: Offsets) -> bool:
        """Tell whether all partitions are that far."""
        now = await self.committed()
        return all(now[partition] >= at for partition, at in ends.items())


async def _kill(system: System, progress: Progress, chance: random.Random) -> tuple[float, float]:
    """Kill a worker and keep it down; return the seconds until it counts again and is level."""
    name = await system.some(chance)
    began = time.monotonic()
    with system.down(name):
        system.kill(name)
        await asyncio.sleep(IN_FLIGHT_S)
        since = await progress.committed()
        await until(lambda: progress.moved(since), WITHIN_S)
        again = time.monotonic() - began
        ends = await Follower(system.kafka.address, system.topic("source"), PARTITIONS).ends()
        await until(lambda: progress.reached(ends), WITHIN_S)
        return again, time.monotonic() - began
