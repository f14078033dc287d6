"""Workers are killed along the way of a notification, one after the other.

From the counts that an alert is decided on to the answer of the receiver that was told of it, each
step is written in a transaction, or follows from one. So the kills come as such a transaction is
under way, and as a webhook is.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tests.chaos.link import ADD_PARTITIONS_TO_TXN, END_TXN, PRODUCE
from tests.chaos.scene import Scene

KILLS = (8, 10)
"""So many times in a round, by chance."""
MET_WITHIN_S = 8.0
CHANNEL_EVERY = 3
"""After so many kills the shared channel goes down or comes up."""

Moment: TypeAlias = Callable[[Scene], Awaitable[str]]


async def at_decision(scene: Scene) -> str:
    """As a worker writes transitions of alerts, which receivers will be told of."""
    key = scene.chance.choice((ADD_PARTITIONS_TO_TXN, PRODUCE))
    return await _at_request(scene, key, scene.system.topic("alerts"))


async def at_grouping(scene: Scene) -> str:
    """As a worker writes sums, alerts that it hands over, or causes."""
    key = scene.chance.choice((ADD_PARTITIONS_TO_TXN, PRODUCE))
    return await _at_request(scene, key, scene.system.topic("groups"))


async def at_commit(scene: Scene) -> str:
    """As a worker commits what it did before, whatever that is."""
    return await _at_request(scene, END_TXN, "")


async def at_attempt(scene: Scene) -> str:
    """As a webhook has arrived: its receiver may yet take it, refuse it, or answer late."""
    return await _at_webhook(scene, answered=False)


async def at_answer(scene: Scene) -> str:
    """As a receiver has taken a webhook, which the worker may have had no time to write down."""
    return await _at_webhook(scene, answered=True)


MOMENTS: tuple[Moment, ...] = (at_decision, at_grouping, at_commit, at_attempt, at_answer)


async def kill_storm(scene: Scene) -> None:
    """Kill -9 as many workers one after the other; meanwhile a channel and silences change."""
    for number in range(scene.chance.randint(*KILLS)):
        if number % CHANNEL_EVERY == 0:
            scene.traffic.channel_down = not scene.traffic.channel_down
            scene.traffic.channel_changed = True
            scene.note(f"the channel is {'down' if scene.traffic.channel_down else 'up'}")
        if scene.account is not None and scene.heads():
            await scene.account.change_silence(scene.chance)
        scene.note(await scene.chance.choice(MOMENTS)(scene))
        await scene.wait(0.1, 2.0)


async def _at_request(scene: Scene, key: int, topic: str) -> str:
    """Kill whichever worker first sends a request of a kind that names a topic."""
    killed = asyncio.Event()
    swallow = scene.heads()
    kill = _killing(scene, killed, at_once=swallow)

    def watching(name: str) -> Callable[[int, bytes], bool]:
        def watch(seen: int, data: bytes) -> bool:
            if seen != key or topic.encode() not in data or killed.is_set():
                return False
            kill(name)
            return swallow

        return watch

    with contextlib.ExitStack() as watched:
        for name in scene.system.running():
            watched.enter_context(scene.system.links[name].watching(watching(name)))
        how = await _wait(scene, killed)
    goes = "which is swallowed" if swallow else "which goes on"
    return f"{how} at a request {key} {topic}, {goes}"


async def _at_webhook(scene: Scene, *, answered: bool) -> str:
    """Kill whichever worker first sends a webhook."""
    killed = asyncio.Event()
    kill = _killing(scene, killed, at_once=not answered and scene.heads())

    def watch(name: str, was_answered: bool) -> None:
        if was_answered == answered and not killed.is_set() and name in scene.system.running():
            kill(name)

    with contextlib.ExitStack() as watched:
        for receiver in (scene.system.receiver, scene.system.grouping_receiver):
            watched.enter_context(receiver.watching(watch))
        how = await _wait(scene, killed)
    return f"{how} at a webhook, {'answered' if answered else 'not answered'}"


def _killing(scene: Scene, killed: asyncio.Event, *, at_once: bool) -> Callable[[str], None]:
    """Return what kills a worker at once, or within milliseconds, and says so."""

    def kill(name: str) -> None:
        killed.set()
        scene.note(f"kill -9 {name}")
        act = scene.kill(name)
        (act if at_once else scene.soon(act))()

    return kill


async def _wait(scene: Scene, killed: asyncio.Event) -> str:
    """Wait for the moment; kill any worker if it does not come."""
    try:
        await asyncio.wait_for(killed.wait(), MET_WITHIN_S)
    except TimeoutError:
        name = await scene.system.some(scene.chance)
        killed.set()
        scene.note(f"kill -9 {name}")
        scene.system.kill(name)
        return "killed before there was one"
    return "killed"
