"""From queues to receivers: real servers, or a sender whose answers the test holds back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import structlog
from structlog.typing import EventDict

from streams.domain.commits import Commit
from streams.domain.deliveries import Delivery, Outbox
from streams.domain.partition import CampaignPartition
from streams.domain.partition_settings import PartitionSettings
from streams.domain.receivers import lifted
from streams.domain.restorer import PartitionRestorer
from streams.domain.windows import WindowPolicy
from streams.receivers.outcomes import Delivered, Outcome, Retry
from streams.receivers.receiver import Receiver
from streams.webhooks.client import WebhookClient
from streams.webhooks.dispatcher import Dispatcher, Sender, Timing
from streams.webhooks.guard import Guard
from tests.support.deliveries import delivery_of
from tests.support.deliveries import webhook_to as to
from tests.support.partitions import STATUS_GROUPS
from tests.support.ports import free_port
from tests.support.receiver import PATIENCE_S, SECRET, Collector, hang, status

AT_ONCE = Timing((0.01,) * 50, poll_interval=0.05)
RARELY = Timing((3600.0,), poll_interval=3600.0)
ONE_AT_A_TIME = replace(AT_ONCE, concurrency=1)
NOWHERE = "https://ops.example/"


class FakeHolder:
    """Holds partitions as the test says."""

    def __init__(self, count: int = 1) -> None:
        self.held = {number: partition(number) for number in range(count)}

    def ready(self) -> Mapping[int, CampaignPartition]:
        return self.held

    def partitions(self) -> int:
        return len(self.held)

    def peers(self) -> Mapping[int, str]:
        return {}

    def queue(self, number: int = 0) -> Outbox:
        return self.held[number].deliveries


@dataclass
class CountingMetrics:
    results: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)

    def attempted(self, receiver: Receiver, result: str) -> None:
        assert receiver.kind == "webhook"
        self.results.append(result)

    def delivered(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def receiver_changed(self, name: str, change: str) -> None:
        self.changes.append((name, change))


class HeldBack:
    """A sender that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, asyncio.Future[Outcome]]] = []

    async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
        del receiver, now
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.asked.append((delivery.webhook_id, future))
        return await future

    def answer(self, outcome: Outcome, number: int = -1) -> None:
        self.asked[number][1].set_result(outcome)


def partition(number: int = 0) -> CampaignPartition:
    settings = PartitionSettings(WindowPolicy(), STATUS_GROUPS, (), (), 60.0, "", lambda: "")
    return CampaignPartition(number, settings, [], 0.0)


def make(alert: str, sequence: int = 1, receiver: str = "ops") -> Delivery:
    return delivery_of(f"{alert}.{sequence}", receiver=receiver)


def enqueue(queue: Outbox, alert: str, sequence: int = 1, receiver: str = "ops") -> Delivery:
    """Add a delivery that is committed and due."""
    delivery = make(alert, sequence, receiver)
    queue.add(delivery)
    list(queue.take_changes())
    queue.mark_committed()
    return delivery


def read_back(before: CampaignPartition) -> CampaignPartition:
    """Return the partition as its next owner reads it from the changelog topic."""
    restorer = PartitionRestorer(before.number, before.settings, [0], 0.0)
    for offset, (key, value) in enumerate(before.take_changes(0.0)):
        restorer.add(key, value, offset)
    return restorer.restore().finish(0.0, 0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    holder: FakeHolder,
    *receivers: Receiver,
    sender: Sender | None = None,
    timing: Timing = AT_ONCE,
    metrics: CountingMetrics | None = None,
) -> AsyncIterator[Dispatcher]:
    counting = metrics or CountingMetrics()
    client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True)
    dispatcher = Dispatcher(holder, sender or client, receivers, timing, counting)
    await dispatcher.start()
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(0.0)


async def test_a_due_delivery_arrives_and_is_gone() -> None:
    holder, metrics = FakeHolder(), CountingMetrics()
    enqueue(holder.queue(), "a")
    async with Collector() as collector, running(holder, to(collector.url), metrics=metrics):
        (arrival,) = await collector.wait_for(1)
        assert arrival.webhook_id == "a.1"
        await until(lambda: len(holder.queue()) == 0)

    assert metrics.results == ["delivered"]
    assert len(metrics.seconds) == 1
    ((_, value),) = holder.queue().take_changes()
    assert value is None


async def test_failures_are_tried_again_with_the_same_id() -> None:
    holder, metrics = FakeHolder(), CountingMetrics()
    enqueue(holder.queue(), "a")
    answers = (status(500), status(404), status(302, Location="/"), status(503, Retry_After="0"))
    async with Collector(*answers) as collector:
        async with running(holder, to(collector.url), metrics=metrics):
            await collector.wait_for(5)
            await until(lambda: len(holder.queue()) == 0)

        assert collector.ids() == ["a.1"] * 5
    assert metrics.results == ["status"] * 4 + ["delivered"]


async def test_a_receiver_that_comes_back_gets_everything() -> None:
    holder = FakeHolder()
    for number in range(20):
        enqueue(holder.queue(), f"a{number}")
    async with Collector() as collector:
        collector.accept_after(0.2)
        async with running(holder, to(collector.url)):
            await until(lambda: len(holder.queue()) == 0)

        assert set(collector.ids()) == {f"a{number}.1" for number in range(20)}


async def test_an_exhausted_schedule_gives_up_and_replay_sends_again() -> None:
    holder = FakeHolder()
    delivery = enqueue(holder.queue(), "a")
    answers = (status(500, "disk full"), status(500, "disk full"))
    async with Collector(*answers) as collector:
        timing = Timing((0.01,), poll_interval=0.05)
        async with running(holder, to(collector.url), timing=timing) as dispatcher:
            await until(lambda: delivery.state == "given-up")
            assert delivery.attempts == 2
            assert delivery.last_error == "HTTP status 500: disk full"

            assert holder.queue().replay(delivery.delivery_id, 0.0)
            dispatcher.wake()
            await collector.wait_for(3)
            await until(lambda: holder.queue().deliveries() == [])


async def test_transitions_of_one_alert_arrive_in_order() -> None:
    holder = FakeHolder()
    for sequence in range(1, 6):
        enqueue(holder.queue(), "a", sequence)
    answers = (status(500), status(204), status(500), status(429), status(204))
    async with Collector(*answers) as collector, running(holder, to(collector.url)):
        await collector.wait_for(8)

        assert collector.ids() == ["a.1", "a.1", "a.2", "a.2", "a.2", "a.3", "a.4", "a.5"]
        assert collector.most_under_way == 1


async def test_a_hanging_receiver_delays_no_other() -> None:
    holder = FakeHolder()
    for number in range(200):
        enqueue(holder.queue(), f"a{number}", receiver="dead")
        enqueue(holder.queue(), f"a{number}", receiver="ops")
    async with Collector() as dead, Collector() as ops:
        dead.always = hang
        # Nothing of `dead` ends before the test does: `ops` gets all or the test fails.
        async with running(holder, to(dead.url, "dead", timeout=600), to(ops.url)):
            await ops.wait_for(200)
            await dead.wait_for(8)

            assert dead.most_under_way == 8
            assert ops.most_under_way <= 8
            await until(lambda: len(holder.queue()) == 200)


async def test_an_unreachable_receiver_delays_no_other() -> None:
    holder = FakeHolder()
    for receiver in ("dead", "ops"):
        enqueue(holder.queue(), "a", receiver=receiver)
    async with Collector() as ops:
        dead = to(f"http://127.0.0.1:{free_port()}", "dead")
        async with running(holder, dead, to(ops.url)):
            await ops.wait_for(1)


async def test_the_limit_is_each_receivers_own() -> None:
    holder, sender = FakeHolder(3), HeldBack()
    for number in range(3):
        for alert in range(5):
            enqueue(holder.queue(number), f"{number}-{alert}")
    async with running(holder, to(NOWHERE), sender=sender, timing=replace(RARELY, concurrency=2)):
        for done in range(15):
            await until(lambda done=done: len(sender.asked) == min(done + 2, 15))  # type: ignore[misc]
            sender.answer(Delivered(204), done)
        await until(lambda: sum(len(p.deliveries) for p in holder.held.values()) == 0)

    assert len({webhook_id for webhook_id, _ in sender.asked}) == 15


async def test_one_delivery_is_never_attempted_twice_at_once() -> None:
    holder, sender = FakeHolder(), HeldBack()
    enqueue(holder.queue(), "a")
    async with running(holder, to(NOWHERE), sender=sender) as dispatcher:
        await until(lambda: len(sender.asked) == 1)
        for _ in range(20):
            dispatcher.wake()
            await asyncio.sleep(0)
        enqueue(holder.queue(), "b")
        dispatcher.wake()
        await until(lambda: len(sender.asked) == 2)

    assert [webhook_id for webhook_id, _ in sender.asked] == ["a.1", "b.1"]


async def test_nothing_is_sent_before_its_commit() -> None:
    holder, sender = FakeHolder(), HeldBack()
    queue = holder.queue()
    async with running(holder, to(NOWHERE), sender=sender, timing=RARELY) as dispatcher:
        queue.add(make("a"))
        dispatcher.wake()
        await asyncio.sleep(0.02)
        list(queue.take_changes())
        dispatcher.wake()
        await asyncio.sleep(0.02)
        assert sender.asked == []

        queue.mark_committed()
        dispatcher.wake()
        await until(lambda: len(sender.asked) == 1)


async def test_wake_looks_at_once() -> None:
    holder, sender = FakeHolder(), HeldBack()
    async with running(holder, to(NOWHERE), sender=sender, timing=RARELY) as dispatcher:
        await asyncio.sleep(0.01)
        enqueue(holder.queue(), "a")
        dispatcher.wake()

        await until(lambda: len(sender.asked) == 1)


async def test_the_next_of_an_alert_does_not_wait_to_be_looked_for() -> None:
    holder, sender = FakeHolder(), HeldBack()
    enqueue(holder.queue(), "a", 1)
    enqueue(holder.queue(), "a", 2)
    async with running(holder, to(NOWHERE), sender=sender, timing=RARELY):
        await until(lambda: len(sender.asked) == 1)
        sender.answer(Delivered(204))

        await until(lambda: len(sender.asked) == 2)
        assert sender.asked[1][0] == "a.2"


async def test_a_commit_without_deliveries_wakes_nobody() -> None:
    holder, sender = FakeHolder(), HeldBack()
    async with running(holder, to(NOWHERE), sender=sender, timing=RARELY) as dispatcher:
        await asyncio.sleep(0.01)
        enqueue(holder.queue(), "a")
        dispatcher.on_commit(Commit(0, records=7))
        await asyncio.sleep(0.05)
        assert sender.asked == []
        dispatcher.on_commit(Commit(0, has_deliveries=True))
        await until(lambda: len(sender.asked) == 1)


async def test_a_retry_is_made_when_it_is_due_without_being_woken() -> None:
    holder, sender = FakeHolder(), HeldBack()
    enqueue(holder.queue(), "a")
    timing = Timing((0.05,), poll_interval=3600.0)
    async with running(holder, to(NOWHERE), sender=sender, timing=timing):
        await until(lambda: len(sender.asked) == 1)
        sender.answer(Retry("unexpected", "not now"))
        await until(lambda: len(sender.asked) == 2)


async def test_without_being_woken_it_looks_now_and_then() -> None:
    holder, sender = FakeHolder(), HeldBack()
    async with running(holder, to(NOWHERE), sender=sender):
        await asyncio.sleep(0.01)
        enqueue(holder.queue(), "a")

        await until(lambda: len(sender.asked) == 1)


# Receivers that are no more


async def test_gone_disables_a_receiver_and_only_that() -> None:
    holder, metrics = FakeHolder(2), CountingMetrics()
    for alert in "abc":
        enqueue(holder.queue(), alert, 1)
        enqueue(holder.queue(), alert, 2)
    enqueue(holder.queue(), "a", receiver="other")
    async with Collector(status(410)) as collector, Collector() as other:
        receivers = (to(collector.url), to(other.url, "other"))
        async with running(holder, *receivers, metrics=metrics, timing=ONE_AT_A_TIME) as dispatcher:
            await other.wait_for(1)
            await until(lambda: len(holder.queue()) == 0)
            enqueue(holder.queue(1), "later")
            dispatcher.wake()
            await until(lambda: len(holder.queue(1)) == 0)

        assert len(collector.arrivals) == 1
    given_up = holder.queue().deliveries() + holder.queue(1).deliveries()
    assert len(given_up) == 7
    assert all("410" in (delivery.last_error or "") for delivery in given_up)
    assert "POST /v1/receivers/ops/enable" in (given_up[-1].last_error or "")
    assert sorted(metrics.results) == ["delivered", "disabled"]


async def test_gone_is_remembered_over_restarts_wherever_the_partitions_go() -> None:
    holder = FakeHolder(2)
    enqueue(holder.queue(), "a")
    async with Collector(status(410)) as collector:
        async with running(holder, to(collector.url)):
            await until(lambda: len(holder.queue()) == 0)
        for number in range(2):
            # What another worker reads back, which gets only one of the partitions.
            elsewhere = FakeHolder(0)
            elsewhere.held = {number: read_back(holder.held[number])}
            delivery = enqueue(elsewhere.queue(number), "b")
            async with running(elsewhere, to(collector.url)):
                await until(lambda delivery=delivery: delivery.state == "given-up")  # type: ignore[misc]

        assert len(collector.arrivals) == 1


async def test_a_receiver_that_is_enabled_gets_what_comes_then() -> None:
    holder = FakeHolder(2)
    enqueue(holder.queue(), "a")
    async with Collector(status(410)) as collector:
        receiver = to(collector.url)
        async with running(holder, receiver) as dispatcher:
            await until(lambda: len(holder.queue()) == 0)
            # In one partition is enough: of what they say the newest holds.
            book = holder.held[1].receivers
            book.note("ops", lifted(book.get("ops"), receiver.target, 0.0))
            assert holder.queue().replay("a.1.ops", 0.0)
            dispatcher.wake()
            await collector.wait_for(2)
            await until(lambda: holder.queue().deliveries() == [])


async def test_a_receiver_with_another_url_is_another_one() -> None:
    holder = FakeHolder()
    enqueue(holder.queue(), "a")
    async with Collector(status(410)) as former, Collector() as latter:
        async with running(holder, to(former.url)):
            await until(lambda: len(holder.queue()) == 0)
        enqueue(holder.queue(), "b")
        async with running(holder, to(latter.url)):
            await latter.wait_for(1)
        record = holder.held[0].receivers.get("ops")
        assert record is not None
        assert record.status == "enabled"


# Receivers that ask for peace, and those that fail


class Clock:
    """A wall clock that stands still."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("code", [429, 502, 503, 504])
async def test_peace_is_for_the_receiver(code: int) -> None:
    """Whatever is due to it, of whichever partition, waits; nobody else does."""
    holder, clock = FakeHolder(3), Clock()
    for number in range(3):
        for alert in range(20):
            enqueue(holder.queue(number), f"{number}-{alert}")
    timing = Timing((0.0,), poll_interval=0.005, clock=clock)
    async with Collector(status(code, Retry_After="30")) as collector, Collector() as other:
        receivers = (to(collector.url), to(other.url, "other"))
        async with running(holder, *receivers, timing=replace(timing, concurrency=1)) as dispatcher:
            await collector.wait_for(1)
            await until(lambda: holder.held[0].receivers.get("ops") is not None)
            enqueue(holder.queue(1), "later")
            enqueue(holder.queue(1), "x", receiver="other")
            dispatcher.wake()
            await other.wait_for(1)
            clock.now += 29.9
            await asyncio.sleep(0.05)
            assert len(collector.arrivals) == 1
            clock.now += 5.0
            await collector.wait_for(62)
            await until(lambda: all(len(each.deliveries) == 0 for each in holder.held.values()))


async def test_peace_is_kept_over_a_restart_wherever_the_partitions_go() -> None:
    holder, clock = FakeHolder(2), Clock()
    enqueue(holder.queue(), "a")
    timing = Timing((3600.0,), poll_interval=0.005, clock=clock)
    async with Collector(status(503, Retry_After="30")) as collector:
        async with running(holder, to(collector.url), timing=timing):
            await until(lambda: holder.held[1].receivers.get("ops") is not None)
        elsewhere = FakeHolder(0)
        elsewhere.held = {1: read_back(holder.held[1])}
        enqueue(elsewhere.queue(1), "b")
        async with running(elsewhere, to(collector.url), timing=timing):
            await asyncio.sleep(0.05)
            assert len(collector.arrivals) == 1
            clock.now += 30.0
            await collector.wait_for(2)


async def test_a_success_does_not_end_the_peace_that_was_asked_for() -> None:
    holder, sender, clock = FakeHolder(), HeldBack(), Clock()
    for alert in "abc":
        enqueue(holder.queue(), alert)
    timing = Timing((3600.0,), poll_interval=0.005, clock=clock)
    async with running(holder, to(NOWHERE), sender=sender, timing=replace(timing, concurrency=2)):
        await until(lambda: len(sender.asked) == 2)
        sender.answer(Retry("status", "no", 30.0), 0)
        sender.answer(Delivered(204), 1)
        await until(lambda: len(holder.queue()) == 2)
        await asyncio.sleep(0.05)
        assert len(sender.asked) == 2
        clock.now += 30.0
        await until(lambda: len(sender.asked) == 3)


async def test_a_receiver_that_fails_is_not_tried_with_all_that_waits() -> None:
    """Its next attempts are one at a time, and with time between them."""

    class Failing:
        under_way = most_under_way = attempts = 0

        async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
            del receiver, delivery, now
            self.attempts += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            return Retry("connection", "no")

    holder, sender, clock = FakeHolder(), Failing(), Clock()
    for alert in range(1000):
        enqueue(holder.queue(), f"a{alert}")
    timing = Timing((3600.0,), poll_interval=0.005, clock=clock)
    async with running(holder, to(NOWHERE), sender=sender, timing=timing):
        await until(lambda: sender.attempts == 8)
        await asyncio.sleep(0.05)
        assert (sender.attempts, sender.most_under_way) == (8, 8)
        sender.most_under_way = 0
        for more in range(1, 20):
            clock.now += 1.0
            await until(lambda more=more: sender.attempts == 8 + more)  # type: ignore[misc]
        assert sender.most_under_way == 1
        assert len(holder.queue()) == 1000


async def test_what_is_owed_to_a_receiver_that_was_removed_is_given_up() -> None:
    holder = FakeHolder()
    delivery = enqueue(holder.queue(), "a", receiver="former")
    async with running(holder):
        await until(lambda: delivery.state == "given-up")

    assert delivery.attempts == 0
    assert delivery.last_error == "receiver former is not in the configuration any more"


# Partitions that come and go


async def test_the_result_for_a_partition_that_went_is_dropped() -> None:
    holder, sender = FakeHolder(), HeldBack()
    gone = holder.queue()
    delivery = enqueue(gone, "a")
    async with running(holder, to(NOWHERE), sender=sender, timing=RARELY):
        await until(lambda: len(sender.asked) == 1)
        del holder.held[0]
        sender.answer(Delivered(204))
        await asyncio.sleep(0.01)

    assert gone.deliveries() == [delivery]
    assert delivery.attempts == 0


async def test_an_attempt_for_a_partition_that_went_is_broken_off() -> None:
    holder, sender = FakeHolder(), HeldBack()
    enqueue(holder.queue(), "a")
    async with running(holder, to(NOWHERE), sender=sender, timing=ONE_AT_A_TIME) as dispatcher:
        await until(lambda: len(sender.asked) == 1)
        holder.held = {1: partition(1)}
        enqueue(holder.queue(1), "b")
        dispatcher.wake()
        await until(lambda: len(sender.asked) == 2)

        assert sender.asked[0][1].cancelled()
        assert sender.asked[1][0] == "b.1"


async def test_what_waited_for_a_partition_that_went_is_not_sent() -> None:
    holder, sender = FakeHolder(2), HeldBack()
    enqueue(holder.queue(0), "a")
    async with running(holder, to(NOWHERE), sender=sender, timing=ONE_AT_A_TIME) as dispatcher:
        await until(lambda: len(sender.asked) == 1)
        enqueue(holder.queue(1), "b")
        dispatcher.wake()
        await asyncio.sleep(0.01)
        del holder.held[1]
        dispatcher.wake()
        await asyncio.sleep(0.01)
        sender.answer(Delivered(204))
        await until(lambda: len(holder.queue(0)) == 0)

    assert [webhook_id for webhook_id, _ in sender.asked] == ["a.1"]


async def test_a_partition_that_went_and_came_back_is_sent_again() -> None:
    holder, sender = FakeHolder(), HeldBack()
    enqueue(holder.queue(), "a")
    async with running(holder, to(NOWHERE), sender=sender) as dispatcher:
        await until(lambda: len(sender.asked) == 1)
        held, holder.held = holder.held, {}
        dispatcher.wake()
        await until(sender.asked[0][1].cancelled)
        holder.held = held
        dispatcher.wake()
        await until(lambda: len(sender.asked) == 2)

    assert [webhook_id for webhook_id, _ in sender.asked] == ["a.1", "a.1"]


# Stopping, and what goes wrong


async def test_stop_waits_for_attempts_under_way() -> None:
    holder, sender = FakeHolder(), HeldBack()
    enqueue(holder.queue(), "a")
    enqueue(holder.queue(), "b")
    async with running(holder, to(NOWHERE), sender=sender, timing=ONE_AT_A_TIME) as dispatcher:
        await until(lambda: len(sender.asked) == 1)
        stopping = asyncio.create_task(dispatcher.stop(PATIENCE_S))
        await asyncio.sleep(0.01)
        assert not stopping.done()
        sender.answer(Delivered(204))
        await stopping

    assert [delivery.alert_id for delivery in holder.queue().deliveries()] == ["b"]
    assert len(sender.asked) == 1


async def test_stop_breaks_off_what_takes_too_long() -> None:
    holder, sender = FakeHolder(), HeldBack()
    delivery = enqueue(holder.queue(), "a")
    async with running(holder, to(NOWHERE), sender=sender) as dispatcher:
        await until(lambda: len(sender.asked) == 1)
        await dispatcher.stop(0.01)

    assert sender.asked[0][1].cancelled()
    assert holder.queue().due(1.0) == [delivery]


async def test_a_defect_of_the_sender_is_a_failed_attempt() -> None:
    class Broken:
        async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
            raise LookupError(f"oh {receiver} {delivery} {now}")

    holder = FakeHolder()
    delivery = enqueue(holder.queue(), "a")
    async with running(holder, to(NOWHERE), sender=Broken(), timing=RARELY):
        await until(lambda: delivery.attempts == 1)

    assert delivery.last_error == "unexpected LookupError"
    assert delivery.state == "pending"


async def test_a_defect_of_the_holder_does_not_end_deliveries() -> None:
    class Faulty(FakeHolder):
        broken = True

        def ready(self) -> Mapping[int, CampaignPartition]:
            if self.broken:
                raise LookupError("oh")
            return super().ready()

    holder, sender = Faulty(), HeldBack()
    enqueue(holder.queue(), "a")
    async with running(holder, to(NOWHERE), sender=sender):
        await asyncio.sleep(0.01)
        holder.broken = False
        await until(lambda: len(sender.asked) == 1)


async def test_logs_name_the_delivery_and_no_secret() -> None:
    holder = FakeHolder()
    enqueue(holder.queue(), "a")
    with structlog.testing.capture_logs() as logs:
        async with Collector(status(500)) as collector, running(holder, to(collector.url)):
            await until(lambda: len(holder.queue()) == 0)

    failed, delivered = logs
    named: EventDict = {
        "delivery_id": "a.1.ops",
        "alert_id": "a",
        "campaign_id": "c",
        "receiver": "ops",
    }
    assert failed.items() >= {**named, "attempt": 1, "reason": "HTTP status 500"}.items()
    assert delivered.items() >= {**named, "attempt": 2, "status": 204}.items()
    assert "hidden" not in str(logs)
    assert SECRET not in str(logs)


@pytest.mark.parametrize("retry_after", [3600.0, None])
async def test_a_wait_is_kept(retry_after: float | None) -> None:
    holder, sender = FakeHolder(), HeldBack()
    delivery = enqueue(holder.queue(), "a")
    now = 1000.0
    timing = Timing((60.0,), poll_interval=0.005, clock=lambda: now)
    async with running(holder, to(NOWHERE), sender=sender, timing=timing):
        await until(lambda: len(sender.asked) == 1)
        sender.answer(Retry("status", "no", retry_after))
        await until(lambda: delivery.attempts == 1)
        assert delivery.next_attempt_at >= now + (retry_after or 54.0)

        now = delivery.next_attempt_at - 0.001
        await asyncio.sleep(0.02)
        assert len(sender.asked) == 1
        now = delivery.next_attempt_at
        await until(lambda: len(sender.asked) == 2)
