"""Receivers that have to be told again: when, of what, and never out of order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import structlog

from streams.domain.deliveries import Delivery
from streams.domain.detectors.threshold import Threshold
from streams.domain.receiver_events import ReceiverChange
from streams.domain.rules import Rule
from streams.domain.transitions import Transition
from streams.receivers.outcomes import Delivered, Disable, GiveUp, Outcome, Retry
from streams.receivers.receiver import Receiver, ResentReceiver
from streams.webhooks import resender
from streams.webhooks.dispatcher import Dispatcher, Timing
from streams.webhooks.resender import Resender
from tests.support.deliveries import webhook_to
from tests.support.kinds import manager
from tests.support.partitions import MemoryHolder, counts, holder, partition_settings
from tests.support.receiver import PATIENCE_S

RULE = Rule("failing", frozenset({"FAILURE"}), Threshold(0.1), keep_firing_for=0.0)
SETTINGS = replace(partition_settings(rules=(RULE,)), receivers=("manager", "ops"))
START = 59.0
SELDOM = {"resend_interval": 3600.0, "fires_for": 10_000.0}


class Clock:
    """Goes as the test says."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Client:
    """Notes what is sent, in order, and answers as it is told."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.resent: list[list[str]] = []
        self.answers: list[Outcome] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def send(self, receiver: Receiver, delivery: Delivery, now: float) -> Outcome:
        del now
        if receiver.name == "manager":
            self.sent.append(f"{delivery.campaign_id} {delivery.sequence}")
        return Delivered(200)

    async def resend(
        self, receiver: ResentReceiver, firing: Sequence[Transition], now: float
    ) -> Outcome:
        del now
        assert receiver.name == "manager"
        self.resent.append([each.data.campaign_id for each in firing])
        await self.goes_on.wait()
        self.sent += [f"{each.data.campaign_id} again" for each in firing]
        return self.answers.pop(0) if self.answers else Delivered(200)

    def told_again(self) -> list[str]:
        """Return the campaigns of all requests."""
        return [name for names in self.resent for name in names]


class Metrics:
    def __init__(self) -> None:
        self.results: list[tuple[str, str, int]] = []

    def attempted(self, receiver: Receiver, result: str) -> None: ...

    def delivered(self, seconds: float) -> None: ...

    def receiver_changed(self, name: str, change: ReceiverChange) -> None: ...

    def resent(self, kind: str, result: str, alerts: int) -> None:
        self.results.append((kind, result, alerts))


class Bench:
    """Partitions with alerts, a dispatcher and a resender."""

    def __init__(self, partitions: int) -> None:
        self.owns = True
        self.clock = Clock()
        self.client = Client()
        self.metrics = Metrics()
        self.holder: MemoryHolder = holder(partitions, settings=SETTINGS)
        receivers = [manager(**SELDOM), webhook_to("https://ops.example/", "ops")]
        timing = Timing((3600.0,), poll_interval=0.02, clock=self.clock)
        self.dispatcher = Dispatcher(self.holder, self.client, receivers, timing, self.metrics)
        self.resender = Resender(
            self.holder,
            self.client,
            receivers,
            self.dispatcher,
            self.metrics,
            lambda: self.owns,
            self.clock,
        )

    def send(self, *campaigns: str, partition: int = 0, window: int = 0, **outcomes: int) -> None:
        """Count sends of campaigns, evaluate and commit."""
        for each in campaigns:
            self.holder.add(each, window, counts(outcomes), partition=partition)
        here = self.holder.here[partition]
        here.evaluate(self.clock.now)
        here.take_changes(self.clock.now)
        here.deliveries.mark_committed()
        self.dispatcher.wake()

    async def until(self, *sent: str) -> None:
        """Return once exactly this was sent to the manager, in this order of each campaign."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.client.sent) < len(sent):  # noqa: ASYNC110 - the client is a fake
                await asyncio.sleep(0.005)
        assert sorted(self.client.sent, key=_campaign) == sorted(sent, key=_campaign)

    async def rounds(self, count: int) -> None:
        """Return once so many requests were made."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.client.resent) < count:  # noqa: ASYNC110 - the client is a fake
                await asyncio.sleep(0.005)


def _campaign(sent: str) -> str:
    return sent.split(maxsplit=1)[0]


@asynccontextmanager
async def running(partitions: int = 1) -> AsyncIterator[Bench]:
    bench = Bench(partitions)
    await bench.dispatcher.start()
    await bench.resender.start()
    try:
        yield bench
    finally:
        await asyncio.gather(bench.resender.stop(0.0), bench.dispatcher.stop(0.0))


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resender, "LOOK_EVERY_S", 0.01)


async def test_it_is_told_again_once_in_an_interval() -> None:
    async with running() as bench:
        bench.send("a", FAILURE=60)
        await bench.until("a 1")
        await asyncio.sleep(0.1)
        assert bench.client.resent == [], "it has just been told"
        for number in (1, 2):
            bench.clock.now += 3600.0
            await bench.until("a 1", *["a again"] * number)
        await asyncio.sleep(0.1)
        assert bench.metrics.results == [("alertmanager", "delivered", 1)] * 2


async def test_an_end_that_is_decided_meanwhile_goes_out_after_it() -> None:
    async with running() as bench:
        bench.send("a", FAILURE=60)
        await bench.until("a 1")
        bench.client.goes_on.clear()
        bench.clock.now += 3600.0
        await bench.rounds(1)
        bench.send("a", window=3600, SUCCESS=6000)
        await asyncio.sleep(0.1)
        assert bench.client.sent == ["a 1"]
        bench.client.goes_on.set()
        await bench.until("a 1", "a again", "a 2")
        for _ in range(3):
            bench.clock.now += 3600.0
            await asyncio.sleep(0.05)
        assert bench.client.sent == ["a 1", "a again", "a 2"]


async def test_what_ends_between_two_requests_of_a_round_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resender, "MOST_AT_ONCE", 1)
    async with running() as bench:
        bench.send("a", "b", FAILURE=60)
        await bench.until("a 1", "b 1")
        bench.client.goes_on.clear()
        bench.clock.now += 3600.0
        await bench.rounds(1)
        ((first,),) = bench.client.resent
        other = "b" if first == "a" else "a"
        bench.send(other, window=3600, SUCCESS=6000)
        bench.client.goes_on.set()
        async with asyncio.timeout(PATIENCE_S):
            while f"{other} 2" not in bench.client.sent:  # noqa: ASYNC110 - the client is a fake
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert bench.client.told_again() == [first]


async def test_many_go_out_together() -> None:
    names = [f"c{number:03}" for number in range(150)]
    async with running() as bench:
        bench.send(*names, FAILURE=60)
        await bench.until(*(f"{name} 1" for name in names))
        bench.clock.now += 3600.0
        await bench.rounds(3)
        assert [len(each) for each in bench.client.resent] == [64, 64, 22]
        assert sorted(bench.client.told_again()) == names


async def test_what_comes_here_is_told_at_once_and_nothing_else() -> None:
    async with running(2) as bench:
        bench.send("a", FAILURE=60)
        bench.send("b", partition=1, FAILURE=60)
        await bench.until("a 1", "b 1")
        moved = bench.holder.here.pop(1)
        await asyncio.sleep(0.05)
        bench.holder.here[1] = moved
        await bench.until("a 1", "b 1", "b again")


async def test_what_has_moved_away_is_not_told() -> None:
    async with running(2) as bench:
        bench.send("a", FAILURE=60)
        bench.send("b", partition=1, FAILURE=60)
        await bench.until("a 1", "b 1")
        bench.client.goes_on.clear()
        del bench.holder.here[0]
        bench.clock.now += 3600.0
        await bench.rounds(1)
        bench.client.goes_on.set()
        await bench.until("a 1", "b 1", "b again")


async def test_nothing_is_told_of_what_may_be_somebody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resender, "MOST_AT_ONCE", 1)
    async with running() as bench:
        bench.send("a", "b", FAILURE=60)
        await bench.until("a 1", "b 1")
        bench.client.goes_on.clear()
        bench.clock.now += 3600.0
        await bench.rounds(1)
        bench.owns = False
        bench.client.goes_on.set()
        await asyncio.sleep(0.1)
        assert len(bench.client.resent) == 1
        bench.owns = True
        await bench.rounds(3)
        assert sorted(bench.client.told_again()[1:]) == ["a", "b"]


async def test_a_failure_is_made_good_sooner_than_in_an_interval() -> None:
    async with running() as bench:
        bench.send("a", FAILURE=60)
        await bench.until("a 1")
        bench.client.answers = [Retry("status", "HTTP status 503")] * 2
        bench.clock.now += 3600.0
        with structlog.testing.capture_logs() as logs:
            await bench.until("a 1", "a again")
            bench.clock.now += resender.FIRST_WAIT_S - 0.1
            await asyncio.sleep(0.1)
            assert len(bench.client.resent) == 1
            bench.clock.now += 0.1
            await bench.rounds(2)
            await asyncio.sleep(0.05)
            bench.clock.now += 2 * resender.FIRST_WAIT_S
            await bench.rounds(3)
        assert [each["event"] for each in logs] == ["resending failed"] * 2
        results = [result for _, result, _ in bench.metrics.results]
        assert results == ["status", "status", "delivered"]


async def test_who_asks_for_peace_has_it() -> None:
    async with running() as bench:
        bench.send("a", FAILURE=60)
        await bench.until("a 1")
        bench.client.answers = [Retry("status", "HTTP status 503", 600.0)]
        bench.clock.now += 3600.0
        await bench.rounds(1)
        bench.clock.now += 599.0
        await asyncio.sleep(0.1)
        assert len(bench.client.resent) == 1
        bench.clock.now += 1.0
        await bench.rounds(2)


async def test_who_is_gone_is_left_alone() -> None:
    async with running() as bench:
        bench.send("a", FAILURE=60)
        await bench.until("a 1")
        bench.client.answers = [Disable("HTTP status 410")]
        for _ in range(3):
            bench.clock.now += 3600.0
            await asyncio.sleep(0.05)
        assert len(bench.client.resent) == 1


async def test_a_refusal_does_not_keep_the_others_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resender, "MOST_AT_ONCE", 1)
    async with running() as bench:
        bench.send("a", "b", FAILURE=60)
        await bench.until("a 1", "b 1")
        bench.client.answers = [GiveUp("status", "HTTP status 400")]
        bench.clock.now += 3600.0
        await bench.until("a 1", "b 1", "a again", "b again")


async def test_a_defect_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as bench:
        bench.send("a", FAILURE=60)
        await bench.until("a 1")
        with monkeypatch.context() as broken, structlog.testing.capture_logs() as logs:
            broken.delattr(bench.client.__class__, "resend")
            bench.clock.now += 3600.0
            await asyncio.sleep(0.1)
        assert [each["event"] for each in logs] == ["resending broke"]
        bench.clock.now += 3600.0
        await bench.until("a 1", "a again")


async def test_a_clock_that_is_set_back_silences_nobody() -> None:
    async with running() as bench:
        bench.clock.now += 1e6
        bench.send("a", window=999_960, FAILURE=60)
        await bench.until("a 1")
        bench.clock.now -= 1e5
        await bench.until("a 1", "a again")


async def test_a_stop_waits_for_the_request_under_way() -> None:
    async with running() as bench:
        bench.send("a", "b", FAILURE=60)
        await bench.until("a 1", "b 1")
        bench.client.goes_on.clear()
        bench.clock.now += 3600.0
        await bench.rounds(1)
        stopping = asyncio.create_task(bench.resender.stop(PATIENCE_S))
        await asyncio.sleep(0.05)
        bench.client.goes_on.set()
        await stopping
        await bench.until("a 1", "b 1", "a again", "b again")


async def test_a_stop_does_not_wait_for_ever() -> None:
    async with running() as bench:
        bench.send("a", FAILURE=60)
        await bench.until("a 1")
        bench.client.goes_on.clear()
        bench.clock.now += 3600.0
        await bench.rounds(1)
        await bench.resender.stop(0.05)
        assert bench.holder.here[0].deliveries.hold(
            bench.holder.here[0].alerts.live()[0].alert_id, "manager"
        ), "let go"
