import itertools
import json
from collections.abc import Sequence

import pytest

from streams.traffic.pacing import Pace, play, play_fast
from streams.traffic.plans import make_plan
from streams.traffic.simulation import STEP_MS, Step, events

START_MS = 1_767_225_600_000


class Clock:
    """Time passes by sleeping, and when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


async def test_a_pace_is_kept() -> None:
    clock = Clock()
    pace = Pace(200, clock, clock.sleep)
    for _ in range(100):
        await pace.wait(10)
    assert clock.now - 1000 == pytest.approx(5)


async def test_a_stall_is_not_made_up_in_a_burst() -> None:
    clock = Clock()
    pace = Pace(100, clock, clock.sleep)
    await pace.wait(10)
    clock.now += 60
    stalled = clock.now
    for _ in range(100):
        await pace.wait(10)
    assert clock.now - stalled == pytest.approx(9.5)


async def test_events_are_sent_when_they_are_due() -> None:
    plan = make_plan(seed=1, start_ms=START_MS, duration_ms=5_000, incidents=0)
    clock = Clock()
    sent: list[bytes] = []

    async def send(batch: Sequence[bytes]) -> None:
        played_ms = START_MS + (clock.now - 1000) * 1000
        for event in batch:
            arrival_ms = json.loads(event)["arrival_timestamp"]
            assert arrival_ms <= played_ms + 100
            assert arrival_ms > played_ms - STEP_MS - 1
        sent.extend(batch)

    await play(plan, send, clock, clock.sleep)
    assert sent == [event for _, event in events(plan)]
    assert clock.now == pytest.approx(1005)


async def test_what_took_too_long_is_caught_up_with() -> None:
    plan = make_plan(seed=1, start_ms=START_MS, duration_ms=5_000, incidents=0)
    clock = Clock()
    calls = 0

    async def send(batch: Sequence[bytes]) -> None:  # noqa: ARG001 - slow once
        nonlocal calls
        calls += 1
        if calls == 3:
            clock.now += 2

    await play(plan, send, clock, clock.sleep)
    assert clock.now == pytest.approx(1005)


async def test_observers_hear_of_labels_before_the_events_are_sent() -> None:
    plan = make_plan(seed=1, start_ms=START_MS, duration_ms=300_000)
    order: list[str] = []
    labels: list[str] = []
    sent = 0

    def observe(step: Step) -> None:
        order.append("observe")
        labels.extend(label.kind for label in step.began)

    async def send(batch: Sequence[bytes]) -> None:
        nonlocal sent
        order.append("send")
        sent += len(batch)

    await play_fast(plan, send, observe)
    assert sent == len(list(events(plan)))
    assert labels == [label.kind for label in plan.labels()]
    assert all(before == "observe" for before, each in itertools.pairwise(order) if each == "send")
    assert order[0] == "observe"
