"""What a worker makes of the time that the broker says."""

import asyncio

import pytest
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from streams.engine.produce import broker_clock
from streams.engine.produce.broker_clock import BrokerClock

NOW = 1_790_000_000.0


class Wall:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


ONE, OTHER = TopicPartition("changelog", 0), TopicPartition("changelog", 1)


def answer(
    clock: BrokerClock,
    wall: Wall,
    offset: float,
    took: float = 0.02,
    partition: TopicPartition = ONE,
) -> None:
    """A write that takes so long, on a broker whose clock is that far ahead."""
    sent = wall.now
    wall.now += took
    at = int((sent + took / 2 + offset) * 1000) / 1000
    clock.appended(partition, at, sent, wall.now)


def test_a_clock_that_is_right_stays_as_it_is(wall: Wall) -> None:
    told: list[float] = []
    clock = BrokerClock(wall, told.append)
    for _ in range(100):
        answer(clock, wall, 0.0)
    assert clock.offset == 0.0
    assert told == []
    assert clock.now() == wall.now
    assert clock.disagreement is None


@pytest.mark.parametrize("offset", [3_600.0, -3_600.0, 0.3])
def test_the_offset_is_found_as_exactly_as_answers_are_quick(wall: Wall, offset: float) -> None:
    told: list[float] = []
    clock = BrokerClock(wall, told.append)
    for took in (0.5, 0.02, 0.1):
        answer(clock, wall, offset, took)
    assert clock.offset == pytest.approx(offset, abs=0.015)
    assert told[-1] == clock.offset
    assert clock.now() == wall.now + clock.offset


def test_a_clock_that_was_set_is_followed(wall: Wall) -> None:
    clock = BrokerClock(wall)
    answer(clock, wall, 0.0)
    wall.now -= 3_600
    answer(clock, wall, 3_600.0)
    assert clock.disagreement == "this worker's clock is 3600 s behind the broker's"
    wall.now += 7_200
    answer(clock, wall, -3_600.0)
    assert clock.disagreement == "this worker's clock is 3600 s ahead of the broker's"
    wall.now -= 3_600
    answer(clock, wall, 0.0)
    assert clock.disagreement is None


def test_brokers_whose_clocks_disagree_do_not_make_time_jump(
    wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    clock = BrokerClock(wall, told.append)
    with capture_logs() as logs:
        for _ in range(5):
            answer(clock, wall, 0.0, partition=ONE)
            answer(clock, wall, 60.0, partition=OTHER)
    assert (clock.offset, told) == (0.0, [])
    assert [(each["event"], each["apart_seconds"]) for each in logs] == [
        ("the brokers' clocks disagree: set them right", 60)
    ]
    monkeypatch.setattr(broker_clock, "FOLLOWED_FOR", 0.0)
    answer(clock, wall, 60.0, partition=OTHER)
    assert clock.offset == pytest.approx(60.0, abs=0.02)


async def test_counting_waits_for_the_first_answer(wall: Wall) -> None:
    clock = BrokerClock(wall)
    waiting = asyncio.create_task(clock.known())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    answer(clock, wall, 0.0)
    await asyncio.wait_for(waiting, 1.0)
    await clock.known()
    assert clock.is_known
    assert clock.is_told


async def test_a_broker_that_does_not_say_is_not_waited_for(wall: Wall) -> None:
    clock = BrokerClock(wall)
    clock.silent("changelog")
    await clock.known()
    assert clock.is_known
    assert not clock.is_told
    assert clock.offset == 0.0


async def test_a_broker_that_is_away_is_not_waited_for_long(
    wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_clock, "ANSWERS_WITHIN", 0.01)
    clock = BrokerClock(wall)
    await clock.known()
    assert not clock.is_known
