"""What is done to the system, one function a fault.

Each begins at once, takes some seconds, and puts right what it broke, unless `System.heal` does.
Each leaves a note of what it did, with the moment.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import orjson
from aiokafka.errors import KafkaError

from tests.chaos.kafka import Cluster, LinkedKafka
from tests.chaos.link import (
    ADD_PARTITIONS_TO_TXN,
    DIRECTIONS,
    END_TXN,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Link,
)
from tests.chaos.scene import SOON_S, Account, Scene, later
from tests.chaos.storms import kill_storm
from tests.chaos.system import SESSION_S, WINDOW_S, System
from tests.chaos.traffic import PARTITIONS
from tests.support.brokers import KafkaStartError
from tests.support.oversized import HostileSender, oversized, unpacked

MEET_WITHIN_S = 8.0
IN_FLUSH = (ADD_PARTITIONS_TO_TXN, PRODUCE, TXN_OFFSET_COMMIT)
OTHER_GRACES_S = (1, 3, 8, 15)
STARTS = 3
"""Attempts to start a broker."""


Fault: TypeAlias = Callable[[Scene], Awaitable[None]]


# Workers are killed


async def kill_one(scene: Scene) -> None:
    name = await scene.system.some(scene.chance)
    with scene.system.down(name):
        scene.note(f"kill -9 {name}")
        scene.system.kill(name)
        await scene.wait(0, 2 * SESSION_S)


async def kill_all(scene: Scene) -> None:
    names = scene.system.running()
    scene.note(f"kill -9 {names}")
    for name in names:
        scene.system.kill(name)
    await scene.wait(1, 4)


async def kill_in_flush(scene: Scene) -> None:
    await _kill_at(scene, scene.chance.choice(IN_FLUSH))


async def kill_in_commit(scene: Scene) -> None:
    await _kill_at(scene, END_TXN)


async def kill_in_recovery(scene: Scene) -> None:
    name = await scene.system.some(scene.chance)
    scene.note(f"kill -9 {name}, to see it recover")
    scene.system.kill(name)
    await _kill_at(scene, INIT_PRODUCER_ID, name, scene.chance.uniform(0, 0.5))


async def _kill_at(scene: Scene, key: int, name: str | None = None, after: float = 0.0) -> None:
    name = name or await scene.system.some(scene.chance)
    link = scene.system.links[name]

    def kill() -> None:
        scene.system.kill(name)

    swallow = scene.heads() and not after
    act = kill if swallow else later(after, kill) if after else scene.soon(kill)
    how = await link.meet(key, act, swallow=swallow, within=MEET_WITHIN_S)
    scene.note(f"kill -9 {name} {how}")
    await asyncio.sleep(max(after, SOON_S))
    with scene.system.down(name):
        await scene.wait(0, SESSION_S)


# Workers are paused past their session


async def zombie(scene: Scene) -> None:
    name = await scene.system.some(scene.chance)
    scene.note(f"pause {name}")
    scene.system.pause(name)
    await scene.wait(1.2 * SESSION_S, 2.2 * SESSION_S)
    scene.note(f"resume {name}")
    scene.system.resume(name)


async def zombie_in_commit(scene: Scene) -> None:
    """What a paused worker had sent comes late as well, after its successor has taken over."""
    name = await scene.system.some(scene.chance)
    link = scene.system.links[name]
    key = scene.chance.choice((*IN_FLUSH, END_TXN))

    def pause() -> None:
        link.hold("to the broker")
        scene.system.pause(name)

    how = await link.meet(key, pause, swallow=False, within=MEET_WITHIN_S)
    scene.note(f"pause {name}, and hold what it sends, {how}")
    await scene.wait(1.2 * SESSION_S, 2.2 * SESSION_S)
    link.heal()
    scene.note(f"let through what {name} had sent")
    await scene.wait(0, 1)
    scene.note(f"resume {name}")
    scene.system.resume(name)


# Workers come and go in order


async def rolling_restart(scene: Scene) -> None:
    for name in scene.system.running():
        scene.note(f"restart {name}")
        await scene.system.stop(name)
        await scene.wait(1, 4)


async def join(scene: Scene) -> None:
    scene.system.wanted.add(scene.system.names[-1])
    await scene.wait(3, 6)


async def leave(scene: Scene) -> None:
    name = await scene.system.some(scene.chance)
    scene.note(f"{name} leaves")
    with scene.system.down(name):
        await scene.system.stop(name)
        await scene.wait(2, 5)


async def join_and_leave(scene: Scene) -> None:
    await asyncio.gather(join(scene), leave(scene))


async def other_windows(scene: Scene) -> None:
    """The grace goes up and down; the windows become longer but once."""
    grace = scene.chance.choice(OTHER_GRACES_S)
    gently = scene.heads()
    scene.note(f"stop all workers, {'SIGTERM' if gently else 'kill -9'}: grace {grace} s")
    await scene.system.change_windows(2 * WINDOW_S, grace, gently=gently)
    await scene.wait(1, 4)


# The brokers, all of them


async def broker_kill(scene: Scene) -> None:
    scene.note("kill -9 the broker")
    scene.system.kafka.strike()
    await _back(scene, scene.system.kafka)


async def broker_kill_in_flush(scene: Scene) -> None:
    link = scene.system.links[await scene.system.some(scene.chance)]
    act = scene.soon(scene.system.kafka.strike)
    key = scene.chance.choice((*IN_FLUSH, END_TXN))
    how = await link.meet(key, act, swallow=False, within=MEET_WITHIN_S)
    scene.note(f"kill -9 the broker {how}")
    await asyncio.sleep(SOON_S)
    await _back(scene, scene.system.kafka)


async def broker_restart_in_flush(scene: Scene) -> None:
    link = scene.system.links[await scene.system.some(scene.chance)]
    key = scene.chance.choice((*IN_FLUSH, END_TXN))
    begun = asyncio.Event()
    how = await link.meet(key, begun.set, swallow=False, within=MEET_WITHIN_S)
    scene.note(f"SIGTERM the broker {how}")
    await asyncio.to_thread(scene.system.kafka.stop)
    await _back(scene, scene.system.kafka)


async def _back(scene: Scene, down: Cluster | LinkedKafka, within: float = 3.0) -> None:
    await scene.wait(0, within)
    async with scene.system.repairing:
        for starts_left in reversed(range(STARTS)):
            # Reap it first: a process that was killed a moment ago may still seem to run.
            await asyncio.to_thread(down.kill)
            try:
                # All that do not run: if the other fault hit the rest, one alone has no quorum.
                await asyncio.to_thread(scene.system.kafka.start)
                break
            except KafkaStartError:
                # The round's other fault may have hit it while it started.
                if not starts_left:
                    raise
    scene.note("the broker is back")


# One broker of several


async def broker_lost(scene: Scene) -> None:
    await _lose(scene, scene.chance.choice(scene.system.kafka.brokers), "any one")


async def leader_lost(scene: Scene) -> None:
    what = scene.chance.choice(("source", "repartition", "changelog", "group", "transaction"))
    task = scene.chance.randrange(scene.system.tasks)
    while True:
        try:
            broker = await _leader(scene.system, what, task)
            break
        except (KafkaError, AssertionError):
            # The round's other fault may have hit all brokers.
            await asyncio.sleep(0.2)
    await _lose(scene, broker, f"which leads a {what}")


async def _leader(system: System, what: str, task: int) -> LinkedKafka:
    group = system.settings["kafka"]["group_id"]
    if what == "group":
        return await system.kafka.coordinator("group", group)
    if what == "transaction":
        return await system.kafka.coordinator("transaction", f"{group}-task-{task}")
    return await system.kafka.leader(system.topic(what), task)


async def _lose(scene: Scene, broker: LinkedKafka, which: str) -> None:
    if scene.heads():
        scene.note(f"kill -9 broker {broker.number}, {which}")
        broker.strike()
    else:
        link = scene.system.links[await scene.system.some(scene.chance)]
        key = scene.chance.choice((*IN_FLUSH, END_TXN))
        act = scene.soon(broker.strike)
        how = await link.meet(key, act, swallow=False, within=MEET_WITHIN_S)
        scene.note(f"kill -9 broker {broker.number}, {which}, {how}")
        await asyncio.sleep(SOON_S)
    await _back(scene, broker, within=8.0)


# The disk of a worker


async def disk_full(scene: Scene) -> None:
    """Its log is on that disk; so that it has something to say, its connections are broken."""
    name = await scene.system.some(scene.chance)
    scene.note(f"{name} cannot write to any file")
    scene.system.take_disk(name)
    for _ in range(scene.chance.randint(1, 3)):
        await scene.wait(0.5, 2)
        scene.note(f"reset {name}")
        scene.system.links[name].reset()
    await scene.wait(0.5, 2)
    if scene.heads():
        scene.note(f"kill -9 {name}")
        scene.system.kill(name)
    scene.system.give_disk(name)


# The network between one worker and the brokers


async def net_cut(scene: Scene) -> None:
    link = scene.system.links[await scene.system.some(scene.chance)]
    await _sometimes_in_flush(scene, link, f"cut {link.name} off", lambda: link.hold(*DIRECTIONS))
    await scene.wait(0.5 * SESSION_S, 2.5 * SESSION_S)
    if scene.heads():
        scene.note(f"the network of {link.name} has forgotten its connections")
        link.reset()
    scene.note(f"{link.name} is connected")
    link.heal()


async def net_half_cut(scene: Scene) -> None:
    link = scene.system.links[await scene.system.some(scene.chance)]
    way = scene.chance.choice(DIRECTIONS)
    await _sometimes_in_flush(scene, link, f"cut {link.name} off {way}", lambda: link.hold(way))
    await scene.wait(0.5 * SESSION_S, 2.5 * SESSION_S)
    scene.note(f"{link.name} is connected {way}")
    link.heal()


async def net_slow(scene: Scene) -> None:
    link = scene.system.links[await scene.system.some(scene.chance)]
    link.delay = scene.chance.uniform(0.1, 0.6)
    scene.note(f"slow {link.name} down by {link.delay:.3f} s")
    await scene.wait(SESSION_S, 2 * SESSION_S)
    link.heal()


async def net_reset(scene: Scene) -> None:
    link = scene.system.links[await scene.system.some(scene.chance)]
    for _ in range(scene.chance.randint(1, 4)):
        link.refusing = scene.heads()
        await _sometimes_in_flush(scene, link, f"reset {link.name}", link.reset)
        await scene.wait(0.1, 2)
        link.refusing = False


async def _sometimes_in_flush(scene: Scene, link: Link, what: str, act: Callable[[], None]) -> None:
    if scene.heads():
        scene.note(what)
        act()
        return
    key = scene.chance.choice((*IN_FLUSH, END_TXN, END_TXN))
    how = await link.meet(key, scene.soon(act), swallow=False, within=MEET_WITHIN_S)
    scene.note(f"{what} {how}")


# The events


async def burst(scene: Scene) -> None:
    scene.note("20 times as many events")
    scene.traffic.speed = 20.0
    await scene.wait(2, 4)
    scene.traffic.speed = 1.0
    scene.note("as many events as before")


async def silent_partition(scene: Scene) -> None:
    silent = scene.chance.randrange(PARTITIONS)
    scene.note(f"nothing more for partition {silent}")
    scene.traffic.silent |= {silent}
    await scene.wait(2, 3 * SESSION_S)
    if scene.heads():
        scene.traffic.silent -= {silent}


async def hot_campaign(scene: Scene) -> None:
    scene.traffic.hot = scene.chance.choice(scene.traffic.campaigns)
    scene.note(f"most events are of {scene.traffic.hot}")
    await scene.wait(4, 2 * SESSION_S)
    scene.traffic.hot = None


async def poison(scene: Scene) -> None:
    """Records that make their batch fail, and those that no topic takes whole."""
    scene.note("hostile records")
    sent = 0
    for _ in range(scene.chance.randint(4, 10)):
        # The round's other fault may have hit the broker.
        with contextlib.suppress(KafkaError):
            await _send_hostile(scene)
            sent += 1
        await scene.wait(0, 1)
    scene.note(f"{sent} times hostile records")


async def _send_hostile(scene: Scene) -> None:
    record, event = scene.traffic.good()
    poisoned = record._replace(value=orjson.dumps({**event, "poison": True}))
    kinds = [
        [poisoned] * scene.chance.randint(1, 5),
        [scene.chance.choice(oversized(record.partition, unpacked(event)))],
    ]
    address, source = scene.system.kafka.address, scene.system.topic("source")
    async with scene.traffic.turn, HostileSender(address, source) as sender:
        await sender.send(scene.chance.choice(kinds))


async def flood(scene: Scene) -> None:
    """Names and campaigns past the limits, of one tenant."""
    scene.note("flood")
    scene.traffic.flood = True
    await scene.wait(2, 6)
    scene.traffic.flood = False


# The source topic


async def topic_anew(scene: Scene) -> None:
    """Workers may be gone meanwhile: then it is the topic's id that tells them."""
    assert scene.account is not None
    gone = scene.chance.random() < 0.3
    async with scene.account.changing_source, scene.traffic.held():
        await scene.account.renew_source(scene.chance.uniform(0, 8))
        scene.note("the source topic was made anew")
        if gone:
            names = scene.system.running()
            scene.note(f"kill -9 {names}")
            for name in names:
                scene.system.kill(name)
    await scene.wait(1, 4)


async def source_expired(scene: Scene) -> None:
    assert scene.account is not None
    # Whoever makes the topic anew waits for the workers that are held down here.
    async with scene.account.changing_source:
        lost = await _expire_source(scene, scene.account)
    scene.note(f"{lost} records that no worker had read were deleted")
    await scene.wait(1, 4)


async def _expire_source(scene: Scene, account: Account) -> int:
    with contextlib.ExitStack() as held:
        for name in scene.system.names:
            held.enter_context(scene.system.down(name))
        for name in scene.system.running():
            scene.system.kill(name)
        for link in scene.system.links.values():
            # A commit that a link holds would come through after it was asked what is committed.
            link.reset()
        await scene.wait(2, 5)
        async with scene.traffic.held():
            return await account.expire_source(scene.chance.uniform(0.2, 1.0))


FAULTS: dict[str, Fault] = {
    "kill-one": kill_one,
    "kill-all": kill_all,
    "kill-in-flush": kill_in_flush,
    "kill-in-commit": kill_in_commit,
    "kill-in-recovery": kill_in_recovery,
    "zombie": zombie,
    "zombie-in-commit": zombie_in_commit,
    "rolling-restart": rolling_restart,
    "join": join,
    "leave": leave,
    "join-and-leave": join_and_leave,
    "other-windows": other_windows,
    "broker-kill": broker_kill,
    "broker-kill-in-flush": broker_kill_in_flush,
    "broker-restart-in-flush": broker_restart_in_flush,
    "disk-full": disk_full,
    "net-cut": net_cut,
    "net-half-cut": net_half_cut,
    "net-slow": net_slow,
    "net-reset": net_reset,
    "burst": burst,
    "silent-partition": silent_partition,
    "hot-campaign": hot_campaign,
    "poison": poison,
    "flood": flood,
    "topic-anew": topic_anew,
    "source-expired": source_expired,
}
BY_NAME: dict[str, Fault] = {"kill-storm": kill_storm}
"""Those that take long, and come only where they are asked for."""
OF_SEVERAL: dict[str, Fault] = {"broker-lost": broker_lost, "leader-lost": leader_lost}
"""Those that need more than one broker."""


ALL = FAULTS | BY_NAME | OF_SEVERAL


def faults_of(brokers: int) -> dict[str, Fault]:
    """Return the faults that fit so many brokers."""
    return FAULTS | OF_SEVERAL if brokers > 1 else FAULTS
