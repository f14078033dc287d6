"""One round: events flow, faults come, calm returns, everything is compared."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.cancelling import cancel
from streams.engine.cluster.reading import committed_offsets as offsets_of_group
from streams.engine.cluster.rights import transactional_id
from tests.chaos.alerts import SOUND_ROUNDS, AlertLedger
from tests.chaos.asking import Asker
from tests.chaos.cells import Difference, compare_answers, flood_campaigns
from tests.chaos.dead import DeadLetters
from tests.chaos.faults import ALL
from tests.chaos.following import Follower
from tests.chaos.groups import GroupedWebhooks, GroupLedger
from tests.chaos.operators import Operator
from tests.chaos.plan import Together
from tests.chaos.results import compare_results
from tests.chaos.rolled_up import compare_rolled_up
from tests.chaos.scene import Account, Scene
from tests.chaos.silences import CALM_S, Silences
from tests.chaos.system import (
    GRACE_S,
    GROUPING,
    ROLLUPS_S,
    RULES,
    SMALL,
    WINDOW_S,
    System,
)
from tests.chaos.traffic import PARTITIONS, Traffic
from tests.chaos.truth import FLOOD, CellName, Truth
from tests.chaos.webhooks import History, Webhooks
from tests.support.brokers import KafkaStartError
from tests.support.topics import committed_offsets, has_hidden_offsets
from tests.support.waiting import until
from tests.support.window_ledger import WindowLedger
from tests.support.workers import WorkerProcess

BEFORE_S = (2.0, 5.0)
"""Seconds of events before the first fault, by chance between these."""
APART_S = 4.0
"""Faults of the same round begin within so many seconds of each other."""
AFTER_S = (2.0, 4.0)
FAULTS_WITHIN_S = 180.0
CALM_WITHIN_S = 120.0
MARKERS_WITHIN_S = 10
"""Seconds in which the markers of transactions that have ended come."""
TROUBLE = (AssertionError, OSError, KafkaError, KafkaStartError, ExceptionGroup)
"""What may keep a round from its end; time-outs are OSErrors."""
LOST = re.compile(r"\blost_at_least=(\d+)")
"""What a worker says when it cannot read records any more."""
BROKEN = 3
"""So many campaigns fail in each round."""
CHANNEL_DOWN_EVERY = 3
"""In one of so many rounds a channel is down."""
TOLD_WITHIN_S = 60.0
"""Seconds in which receivers are told of everything, once all is calm."""


@dataclass
class Result:
    """What came out of a round."""

    number: int
    faults: Together
    seed: str
    events: int = 0
    calm_after: float = 0.0
    dead_letters: int = 0
    transitions: int = 0
    difference: Difference = field(default_factory=Difference)
    dead_wrong: list[str] = field(default_factory=list)
    alerts_wrong: list[str] = field(default_factory=list)
    results: int = 0
    results_wrong: list[str] = field(default_factory=list)
    webhooks: int = 0
    kills: int = 0
    groups: int = 0
    """Groups that a receiver was told of."""
    members: int = 0
    """Alerts that were handed over to be told in them."""
    silences: int = 0
    acknowledgements: int = 0
    webhooks_wrong: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """What kept the round from its end."""

    @property
    def exact(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.wrong

    @property
    def wrong(self) -> list[str]:
        """All that is wrong, in words."""
        return [
            *self.trouble,
            *self.difference.where,
            *self.dead_wrong,
            *self.alerts_wrong,
            *self.results_wrong,
            *self.webhooks_wrong,
        ]


class Rounds:
    """Rounds on one system, each compared with all that was ever sent to it."""

    def __init__(self, system: System, traffic: Traffic, seed: int) -> None:
        self._system = system
        self._traffic = traffic
        self._seed = seed
        address, topic = system.kafka.address, system.topic
        self._source = Follower(address, topic("source"), PARTITIONS)
        self._keyed = Follower(address, topic("repartition"), system.tasks)
        self._alerts = Follower(address, topic("alerts"), system.tasks)
        self._dead = Follower(address, topic("dead_letter"), system.tasks)
        self._windows = Follower(address, topic("windows"), system.tasks)
        self._truth = Truth(WINDOW_S, GRACE_S, max(ROLLUPS_S.values()))
        self._ledger = AlertLedger(str(rule["name"]) for rule in RULES)
        self._silences = Silences()
        self._history = History()
        self._webhooks = Webhooks(system.receiver, self._silences)
        self._handed_over = Follower(address, topic("groups"), 1)
        self._groups = GroupLedger()
        self._grouped = GroupedWebhooks(GROUPING, system.grouping_receiver, self._groups)
        self._told_before: set[str] = set()
        self._operator = Operator(self._running, random.Random(seed))  # noqa: S311 - repeatable
        self._results = WindowLedger()
        self._letters = DeadLetters()
        self._hop_ends: dict[int, int] = {}
        self._broken_in: dict[str, int] = {}
        self._dead_before = 0
        self._dead_wrong: list[str] = []
        self._expired = 0
        self.changing_source = asyncio.Lock()

    async def run(self, number: int, faults: Together) -> Result:
        """Run one round."""
        result = Result(number, faults, f"{self._seed}/{number}")
        chance = random.Random(result.seed)  # noqa: S311 - repeatable
        self._system.notes.info("round %d: %s, seed %s", number, " + ".join(faults), result.seed)
        records, letters = self._truth.records, self._put_aside
        self._expired, told = 0, self._told_lost()
        transitions, results = self._ledger.transitions, self._results.records
        before = self._totals()
        self._results.may_repeat |= "other-windows" in faults
        try:
            errors = self._system.kafka.coordinator_errors()
            await self._system.usual()
            await self._choose_broken(number, chance)
            await self._disturb(faults, chance)
            self._broken_in.update(dict.fromkeys(self._traffic.broken, number))
            if self._traffic.channel_changed or self._traffic.channel_down:
                self._broken_in.update(dict.fromkeys(self._traffic.sharing, number))
            began = time.monotonic()
            try:
                await self._settle()
            except AssertionError:
                if self._system.kafka.coordinator_errors() == errors:
                    raise
                await self._system.repair()
                await self._settle()
            result.calm_after = time.monotonic() - began
            await self._compare(number, result, set(self._truth.changed))
        except TROUBLE as error:
            result.trouble.append(f"no calm: {error!r}")
        result.events = self._truth.records - records
        result.dead_letters = self._put_aside - letters
        told = self._told_lost() - told
        # A worker that the round's other fault ends may have had no time to say it.
        if told != self._expired and len(faults) == 1:
            result.trouble.append(f"{self._expired} records were deleted unread, {told} are said")
        result.transitions = self._ledger.transitions - transitions
        result.results = self._results.records - results
        for name, total in self._totals().items():
            setattr(result, name, total - before[name])
        for each in result.wrong:
            self._system.notes.error("%s", each)
        return result

    def _totals(self) -> dict[str, int]:
        """Return what there has been in all rounds, by the name in a result."""
        receivers = self._system.receiver, self._system.grouping_receiver
        groups, members = self._grouped.summary
        return {
            "webhooks": sum(len(each.sent) for each in receivers),
            "kills": self._system.kills,
            "groups": groups,
            "members": members,
            "silences": self._silences.made,
            "acknowledgements": len(self._operator.answered),
        }

    async def _choose_broken(self, number: int, chance: random.Random) -> None:
        """Choose what fails next; one campaign of it is silenced, the last one no more."""
        broken = chance.sample(self._traffic.campaigns, BROKEN)
        # Not in the first one: nothing is known of the campaigns yet.
        is_down = number % CHANNEL_DOWN_EVERY == 2
        silenced = [broken[0], *sorted(self._traffic.sharing)[: 2 * is_down]]
        worker = chance.choice(self._running())
        await self._silences.change(worker, chance.choice(silenced), CALM_S)
        self._traffic.broken = frozenset(broken)
        self._traffic.channel_down, self._traffic.channel_changed = is_down, False

    async def change_silence(self, chance: random.Random) -> None:
        """End the silence that there is, and make another one, if a worker answers."""
        running = self._running()
        if running:
            campaign_id = chance.choice(sorted(self._traffic.broken | self._traffic.sharing))
            await self._silences.change(chance.choice(running), campaign_id)

    async def _disturb(self, faults: Together, chance: random.Random) -> None:
        """Let events flow and faults come, while somebody acknowledges alerts."""
        operating = asyncio.create_task(self._operator.run())
        try:
            await disturb(self._system, self._traffic, faults, chance, self)
        finally:
            await cancel(operating)
            answered = len(self._operator.answered)
            self._system.notes.info("%d acknowledgements were answered so far", answered)

    # What becomes of the source topic

    @property
    def _put_aside(self) -> int:
        return self._dead_before + len(self._truth.refused)

    def _told_lost(self) -> int:
        """How many records were lost, as the workers' logs say."""
        workers = self._system.workers.values()
        logs = [each.log for each in workers if isinstance(each, WorkerProcess)]
        return sum(int(found) for log in logs for found in LOST.findall(log))

    async def renew_source(self, away: float) -> None:
        """Make the source topic anew when it was away for so many seconds, and all is counted."""
        await _persist(self._count)
        await until(lambda: _unless_away(self._hopped), CALM_WITHIN_S)
        # The new topic's records have the same coordinates.
        await _persist(self._read_dead)
        self._dead_wrong += self._letters.problems(self._truth.refused)
        self._dead_before += len(self._truth.refused)
        self._letters = DeadLetters()
        self._truth.refused.clear()
        kafka, topic = self._system.kafka, self._system.topic("source")
        # Nothing is sent meanwhile, so it may be made twice if the broker goes away.
        await _persist(lambda: kafka.recreate_topic(topic, PARTITIONS, SMALL, away))
        self._source = Follower(kafka.address, topic, PARTITIONS)

    async def expire_source(self, share: float) -> int:
        """Delete that share of what no worker has read; return how many records that were.

        None, if the group does not show what the workers have read: a broker that stopped may have
        left out the marker of their last transaction (KAFKA-20734), and they have read more.
        """
        if await self._has_hidden_offsets():
            self._system.notes.info("committed offsets are hidden: nothing is deleted")
            return 0
        ends = await self._source.ends()
        committed = await self._surely_committed(ends)
        before = {
            partition: at + int(share * (end - at))
            for partition, end in ends.items()
            if (at := committed.get(partition.partition, 0)) < end
        }
        async for record in self._source.read():
            at = TopicPartition(record.topic, record.partition)
            if not committed.get(record.partition, 0) <= record.offset < before.get(at, 0):
                self._truth.take(record)
        await self._system.kafka.delete_records(before)
        lost = sum(at - committed.get(each.partition, 0) for each, at in before.items())
        self._expired += lost
        return lost

    async def _settle(self) -> None:
        """Return when all that the faults broke works again and all events went all the way."""
        await self._system.heal()
        await self._count()
        await self._calm()

    async def _count(self) -> None:
        if self._truth.size != self._system.window_s:
            self._truth.lengthen(self._system.window_s)
        async for record in self._source.read():
            self._truth.take(record)

    async def _calm(self) -> None:
        """Return when everything that was sent went all the way."""
        await until(self._hopped, CALM_WITHIN_S)
        if not self._system.keyed:
            async for record in self._keyed.read():
                self._hop_ends[record.partition] = record.offset + 1
            await until(self._arrived, CALM_WITHIN_S)
        await self._system.ready()

    async def _hopped(self) -> bool:
        committed = await self._committed("source")
        return all(
            committed.get(partition.partition, 0) == end
            for partition, end in self._source.positions.items()
        )

    async def _arrived(self) -> bool:
        committed = await self._committed("repartition")
        return all(committed.get(number, 0) >= end for number, end in self._hop_ends.items())

    async def _committed(self, role: str) -> dict[int, int]:
        group = self._system.settings["kafka"]["group_id"]
        address = self._system.kafka.address
        return await committed_offsets(address, group, self._system.topic(role))

    async def _has_hidden_offsets(self) -> bool:
        """Tell whether the group stays without offsets that a task has committed."""
        kafka, group = self._system.kafka, self._system.settings["kafka"]["group_id"]

        async def is_hidden(task: int) -> bool:
            return await has_hidden_offsets(kafka.address, transactional_id(group, task))

        for _ in range(MARKERS_WITHIN_S):
            if not any([await is_hidden(task) for task in range(self._system.tasks)]):
                return False
            await asyncio.sleep(1)
        return True

    async def _surely_committed(self, partitions: Collection[TopicPartition]) -> dict[int, int]:
        """Return committed offsets by partition, also if the group's coordinator has just started.

        While it loads it names no offsets at all, as if nothing had ever been committed.
        """
        connection = {"bootstrap_servers": self._system.kafka.address}
        group = self._system.settings["kafka"]["group_id"]
        found: dict[int, int] = {}

        async def is_known() -> bool:
            try:
                committed = await offsets_of_group(connection, group, partitions)
            except KafkaError:
                return False
            found.update({each.partition: at.offset for each, at in committed.items()})
            return True

        await until(is_known, CALM_WITHIN_S)
        return found

    async def _compare(self, number: int, result: Result, names: set[CellName]) -> None:
        """Compare cells with what each worker says, and everything else."""
        await self._silences.tidy(self._running()[-1])
        await self._read_dead()
        for asker in self._askers():
            result.difference.add(await self._ask(asker, names))
        result.dead_wrong = self._dead_wrong + self._letters.problems(self._truth.refused)
        self._dead_wrong = []
        result.webhooks_wrong = await self._compare_told()
        result.alerts_wrong = await self._compare_alerts(number)
        result.results_wrong = await self._compare_results(names)
        self._truth.changed.clear()

    async def _compare_results(self, names: set[CellName]) -> list[str]:
        asker = self._askers()[-1]
        campaigns = {name.campaign_id for name in names}
        if FLOOD in campaigns:
            campaigns = campaigns - {FLOOD} | set(await flood_campaigns(asker))
        return await compare_results(asker, sorted(campaigns), self._results, self._read_results)

    async def _read_results(self) -> None:
        async for record in self._windows.read():
            self._results.take(record)

    async def _read_dead(self) -> None:
        async for record in self._dead.read():
            self._letters.take(record)

    def _running(self) -> list[WorkerProcess]:
        workers = [self._system.workers[name] for name in self._system.running()]
        return [each for each in workers if isinstance(each, WorkerProcess)]

    def _askers(self) -> list[Asker]:
        workers = ((name, self._system.workers[name]) for name in self._system.running())
        return [Asker(name, each) for name, each in workers if isinstance(each, WorkerProcess)]

    async def _ask(self, asker: Asker, names: set[CellName]) -> Difference:
        difference = Difference()
        await compare_answers(asker, self._truth.cells, names, self._truth.size, difference)
        await compare_rolled_up(asker, self._truth.cells, names, ROLLUPS_S, difference)
        return difference

    async def _compare_told(self) -> list[str]:
        """Return what is wrong with what receivers were told, each thing once.

        What is told of groups, and of alerts that were silenced, takes its time.
        """
        asker = self._askers()[-1]
        deadline = time.monotonic() + TOLD_WITHIN_S
        while True:
            await asker.delivered()
            self._history.take(await asker.alerts())
            await self._read_alerts()
            async for record in self._handed_over.read():
                self._groups.take(record)
            found = [
                *self._webhooks.wrong(self._history, self._ledger.values),
                *self._grouped.wrong(self._history, self._ledger.values),
            ]
            new = [each for each in found if each not in self._told_before]
            if not new or time.monotonic() > deadline:
                self._told_before.update(new)
                return new
            await asyncio.sleep(0.5)

    async def _read_alerts(self) -> None:
        async for record in self._alerts.read():
            self._ledger.take(record)

    async def _compare_alerts(self, number: int) -> list[str]:
        asker = self._askers()[-1]
        while True:
            await self._read_alerts()
            firing = await asker.firing()
            seen = self._ledger.transitions
            await self._read_alerts()
            if seen == self._ledger.transitions:
                break  # none came while the worker was asked
        sound = {
            each
            for each in self._traffic.campaigns
            if number - self._broken_in.get(each, -SOUND_ROUNDS) >= SOUND_ROUNDS
        }
        traffic = self._traffic
        is_down = traffic.channel_down and not traffic.channel_changed
        sharing = traffic.sharing if is_down else frozenset()
        found = self._ledger.problems(firing, traffic.broken, frozenset(sound), sharing)
        return found + self._ledger.missing(self._operator.answered)

    async def compare_restarted(self, last: Result) -> None:
        """Kill all workers, and compare every cell there ever was with what comes out of Kafka.

        Args:
            last: the last round's; gets what is wrong.
        """
        self._system.notes.info("restart all workers")
        try:
            await self._system.restart_all()
            await self._compare(last.number, last, set(self._truth.cells))
        except TROUBLE as error:
            last.trouble.append(f"no calm after all workers were restarted: {error!r}")


async def _unless_away(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Tell whether something holds; not while the round's other fault keeps Kafka away."""
    try:
        return await condition()
    except (KafkaError, OSError):
        return False


async def _persist(act: Callable[[], Awaitable[None]]) -> None:
    """Do something that can be done again from where it stopped, as soon as Kafka is there."""

    async def done() -> bool:
        await act()
        return True

    await until(lambda: _unless_away(done), CALM_WITHIN_S)


async def disturb(
    system: System,
    traffic: Traffic,
    faults: Together,
    chance: random.Random,
    account: Account | None,
) -> None:
    """Let events flow and faults come."""
    await system.usual()
    async with traffic.flowing():
        await asyncio.sleep(chance.uniform(*BEFORE_S))
        async with asyncio.timeout(FAULTS_WITHIN_S), asyncio.TaskGroup() as group:
            for position, name in enumerate(faults):
                own = random.Random(f"{chance.random()}")  # noqa: S311 - repeatable
                scene = Scene(system, traffic, own, account)
                after = chance.uniform(0, APART_S) if position else 0.0
                group.create_task(_begin(name, scene, after))
        await asyncio.sleep(chance.uniform(*AFTER_S))
    traffic.silent = frozenset()
    traffic.flood = False


async def _begin(name: str, scene: Scene, after: float) -> None:
    await asyncio.sleep(after)
    await ALL[name](scene)
