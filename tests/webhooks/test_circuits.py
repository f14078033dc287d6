"""Receivers that fail: probed, told of, disabled, and all of it over restarts."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from streams.configuration.alerting import DeliverySettings
from streams.domain.circuit import CircuitPolicy
from streams.domain.receivers import ReceiverRecord, failing, lifted
from streams.receivers.outcomes import Delivered, GiveUp, Retry
from streams.webhooks.dispatcher import Dispatcher, Timing
from tests.support.deliveries import webhook_to as to
from tests.support.receiver import Collector, status
from tests.webhooks.test_dispatcher import (
    NOWHERE,
    CountingMetrics,
    FakeHolder,
    HeldBack,
    enqueue,
    read_back,
    running,
    until,
)


class Clock:
    """A wall clock that goes on from where the test has set it forward to."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead

    def forward(self, seconds: float) -> None:
        self._ahead += seconds


WAIT = 30.0
POLICY = CircuitPolicy(failures=3, wait=WAIT, longest_wait=100.0)
DAY = 86_400.0


def timing(clock: Clock, **changes: float) -> Timing:
    """A schedule of whole days: a test sees who is attempted before that."""
    made = Timing((DAY,) * 50, 0.005, 1, clock, circuit=POLICY)
    return replace(made, **changes)  # type: ignore[arg-type]


def record(holder: FakeHolder, number: int = 0) -> ReceiverRecord:
    found = holder.held[number].receivers.get("ops")
    assert found is not None
    return found


def fails(holder: FakeHolder) -> bool:
    """Tell whether it is written down that the receiver fails."""
    found = holder.held[0].receivers.get("ops")
    return found is not None and found.failing_since > 0


async def sent(collector: Collector, count: int) -> None:
    """Check that so many attempts are made, and no more for ten polls."""
    await until(lambda: len(collector.arrivals) == count)
    await asyncio.sleep(0.06)
    assert len(collector.arrivals) == count


async def opened(holder: FakeHolder, collector: Collector, waiting: int = 20) -> None:
    """Let the circuit open, with deliveries waiting."""
    for number in range(waiting):
        enqueue(holder.queue(), f"a{number}")
    await sent(collector, 3)
    await until(lambda: fails(holder))


async def test_only_probes_are_sent_to_who_fails_and_everything_once_it_recovers() -> None:
    holder, clock, metrics = FakeHolder(2), Clock(), CountingMetrics()
    async with Collector() as collector, Collector() as other:
        collector.always = status(503)
        receivers = (to(collector.url), to(other.url, "other"))
        async with running(holder, *receivers, timing=timing(clock), metrics=metrics) as dispatcher:
            dispatcher.wake()
            await opened(holder, collector)
            enqueue(holder.queue(1), "x", receiver="other")
            dispatcher.wake()
            await other.wait_for(1)
            for wait in (30, 60, 100, 100):
                before = len(collector.arrivals)
                clock.forward(wait - 5)
                await sent(collector, before)
                clock.forward(6)
                await sent(collector, before + 1)
            assert len(holder.queue()) == 20
            collector.always = None
            clock.forward(101)
            # Those that failed too, a day before their next attempt.
            await until(lambda: len(holder.queue()) == 0)

        assert record(holder).failing_since == 0.0
        assert record(holder, 1).failing_since == 0.0
    assert metrics.changes == [("ops", "failing"), ("ops", "recovered")]


async def test_a_circuit_is_open_after_a_restart_wherever_the_partitions_go() -> None:
    holder, clock = FakeHolder(2), Clock()
    async with Collector() as collector:
        collector.always = status(503)
        async with running(holder, to(collector.url), timing=timing(clock)):
            await opened(holder, collector)
        since = record(holder).failing_since
        elsewhere = FakeHolder(0)
        elsewhere.held = {1: read_back(holder.held[1])}
        for number in range(5):
            enqueue(elsewhere.queue(1), f"b{number}")
        clock.forward(1.0)
        async with running(elsewhere, to(collector.url), timing=timing(clock)):
            await sent(collector, 4)
            assert record(elsewhere, 1).failing_since == since
            collector.always = None
            clock.forward(100.0)
            await until(lambda: len(elsewhere.queue(1)) == 0)


async def test_enabling_closes_the_circuit_at_once() -> None:
    holder, clock = FakeHolder(), Clock()
    async with Collector() as collector:
        collector.always = status(503)
        receiver = to(collector.url)
        async with running(holder, receiver, timing=timing(clock)) as dispatcher:
            await opened(holder, collector)
            collector.always = None
            clock.forward(1.0)
            book = holder.held[0].receivers
            book.note("ops", lifted(book.get("ops"), receiver.target, clock()))
            dispatcher.wake()
            await until(lambda: len(holder.queue()) == 0)


async def test_what_a_partition_brings_is_out_of_date_if_the_receiver_worked_here_since() -> None:
    holder, clock = FakeHolder(2), Clock()
    enqueue(holder.queue(), "a")
    async with Collector() as collector:
        receiver = to(collector.url)
        async with running(holder, receiver, timing=timing(clock)) as dispatcher:
            await until(lambda: len(holder.queue()) == 0)
            at = clock() - 60
            holder.held[1].receivers.note("ops", failing(None, receiver.target, at, "no", at))
            dispatcher.wake()
            await until(lambda: record(holder, 1).failing_since == 0.0)
            for number in range(5):
                enqueue(holder.queue(), f"b{number}")
            dispatcher.wake()
            await until(lambda: len(holder.queue()) == 0)


@pytest.mark.parametrize("outcome", [Retry("unexpected", "a defect"), GiveUp("status", "wrong")])
async def test_what_says_nothing_of_the_receiver_does_not_open_it(outcome: Retry | GiveUp) -> None:
    holder, clock, sender = FakeHolder(), Clock(), HeldBack()
    for number in range(6):
        enqueue(holder.queue(), f"a{number}")
    async with running(holder, to(NOWHERE), sender=sender, timing=timing(clock)):
        for number in range(6):
            await until(lambda number=number: len(sender.asked) == number + 1)  # type: ignore[misc]
            sender.answer(outcome)
            clock.forward(2.0)


async def test_a_receiver_that_has_failed_for_days_is_disabled_until_it_is_enabled() -> None:
    holder, clock, metrics = FakeHolder(), Clock(), CountingMetrics()
    policy = timing(clock, disable_after=5 * DAY)
    # Signed at times that are days ahead.
    async with Collector(check=lambda *_: None) as collector:
        collector.always = status(500, "broken")
        receiver = to(collector.url)
        with capture_logs() as logs:
            async with running(holder, receiver, timing=policy, metrics=metrics):
                await opened(holder, collector)
                clock.forward(5 * DAY - 60)
                await sent(collector, 4)
                assert record(holder).status == "enabled"
                clock.forward(120)
                await until(lambda: record(holder).status == "disabled")
                # Those that wait for another attempt are given up when that is due.
                clock.forward(2 * DAY)
                await until(lambda: len(holder.queue()) == 0)
        assert [each["reason"] for each in logs if "failed for too long" in each["event"]] == [
            "HTTP status 500: broken"
        ]
        given_up = holder.queue().deliveries()
        assert len(given_up) == 20
        assert "enable lifts that" in (given_up[-1].last_error or "")
        elsewhere = FakeHolder(0)
        elsewhere.held = {0: read_back(holder.held[0])}
        before = len(collector.arrivals)
        enqueue(elsewhere.queue(), "b")
        async with running(elsewhere, receiver, timing=policy) as dispatcher:
            await until(lambda: len(elsewhere.queue()) == 0)
            assert len(collector.arrivals) == before
            collector.always = None
            book = elsewhere.held[0].receivers
            book.note("ops", lifted(book.get("ops"), receiver.target, clock() + 1))
            for delivery in elsewhere.queue().deliveries():
                assert elsewhere.queue().replay(delivery.delivery_id, clock())
            dispatcher.wake()
            await collector.wait_for(before + 21)
            await until(lambda: len(elsewhere.queue()) == 0)
    assert metrics.changes == [("ops", "failing"), ("ops", "disabled")]


# Told to another receiver


async def commit_until(
    holder: FakeHolder, dispatcher: Dispatcher, condition: Callable[[], bool]
) -> None:
    """Commit what the dispatcher enqueues, as a task does, until a condition holds."""

    def committed() -> bool:
        list(holder.queue().take_changes())
        holder.queue().mark_committed()
        dispatcher.wake()
        return condition()

    await until(committed)


async def test_changes_are_counted_at_each_worker_and_nothing_is_enqueued() -> None:
    holder, clock, metrics = FakeHolder(), Clock(), CountingMetrics()
    async with Collector() as collector:
        collector.always = status(503)
        async with running(
            holder, to(collector.url), timing=timing(clock), metrics=metrics
        ) as dispatcher:
            await opened(holder, collector, 4)
            enqueued = len(holder.queue().deliveries())
            collector.always = None
            clock.forward(WAIT + 1)
            await commit_until(holder, dispatcher, lambda: len(holder.queue()) == 0)
            collector.always = status(410)
            enqueue(holder.queue(), "b")
            await commit_until(holder, dispatcher, lambda: len(metrics.changes) == 3)
        assert len(holder.queue().deliveries()) <= enqueued + 1
    assert metrics.changes == [("ops", "failing"), ("ops", "recovered"), ("ops", "disabled")]


async def test_a_success_of_an_attempt_under_way_closes_it() -> None:
    holder, clock, sender = FakeHolder(), Clock(), HeldBack()
    for number in range(6):
        enqueue(holder.queue(), f"a{number}")
    async with running(holder, to(NOWHERE), sender=sender, timing=timing(clock, concurrency=4)):
        await until(lambda: len(sender.asked) == 4)
        for number in range(3):
            sender.answer(Retry("timeout", "no"), number)
        await until(lambda: fails(holder))
        sender.answer(Delivered(204), 3)
        await until(lambda: record(holder).failing_since == 0.0)


async def test_after_two_days_everything_arrives_in_order_and_nothing_was_given_up() -> None:
    """With the waits as shipped; meanwhile there are new alerts, and alerts that go on."""
    holder, clock, shipped = FakeHolder(), Clock(), DeliverySettings()
    circuit = shipped.circuit
    policy = Timing(
        shipped.retry_schedule,
        0.005,
        clock=clock,
        circuit=CircuitPolicy(circuit.failures, circuit.wait, circuit.longest_wait),
        disable_after=shipped.disable_after,
    )
    async with Collector(check=lambda *_: None) as collector:
        collector.always = status(503)
        async with running(holder, to(collector.url), timing=policy) as dispatcher:
            for step in range(2 * 24 * 6):
                if step % 24 == 0:
                    for alert in range(step // 24 + 1):
                        enqueue(holder.queue(), f"a{alert}", step // 24 - alert + 1)
                clock.forward(600)
                dispatcher.wake()
                await asyncio.sleep(0.01)
            down, waiting = len(collector.arrivals), len(holder.queue())
            assert waiting == 12 * 13 // 2
            assert all(d.state == "pending" for d in holder.queue().deliveries())
            # Probes that were not due use up no attempts, and are kept all the same.
            assert max(d.attempted - d.attempts for d in holder.queue().deliveries()) > 0
            collector.always = None
            clock.forward(circuit.longest_wait)
            await until(lambda: len(holder.queue()) == 0)
    ids = [arrival.webhook_id.split(".") for arrival in collector.arrivals[down:]]
    assert len(ids) == waiting
    for alert in range(12):
        sequences = [int(sequence) for name, sequence in ids if name == f"a{alert}"]
        assert sequences == list(range(1, 13 - alert))
