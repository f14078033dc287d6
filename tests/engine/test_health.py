"""Ready, live: what a worker says of itself."""

import time
from types import SimpleNamespace
from typing import cast

import pytest

from streams.engine import health as under_test
from streams.engine.cluster.surroundings import Surroundings
from streams.engine.health import Health
from streams.engine.produce.broker_clock import BrokerClock
from streams.engine.tasks.manager import TaskManager


class Parts:
    """What health is made of, as the test says."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.moved_at = time.monotonic()
        self.crashed = False
        self.out_of_date: list[str] = []
        self.tasks = SimpleNamespace(
            joined=True, waiting_for=lambda: self.waiting, moved_at=lambda: self.moved_at
        )
        self.surroundings = SimpleNamespace(hindrances=["topic x is missing"], broker_answers=True)
        self.health = Health(
            cast("TaskManager", self.tasks),
            cast("Surroundings", self.surroundings),
            cast("BrokerClock", SimpleNamespace(disagreement="the clock is wrong")),
            join_within=1.0,
            has_crashed=lambda: self.crashed,
            out_of_date=lambda: self.out_of_date,
        )


def test_ready_unless_something_is_waited_for() -> None:
    parts = Parts()
    assert parts.health.ready() == (True, ["topic x is missing", "the clock is wrong"])
    parts.out_of_date = ["silences may be out of date", "groups may be out of date"]
    assert parts.health.ready()[0], "it does its work all the same"
    assert parts.health.ready()[1][-2:] == parts.out_of_date
    parts.waiting = ["partition 1 waits"]
    ready, reasons = parts.health.ready()
    assert not ready
    assert "partition 1 waits" in reasons
    parts.health.stopping()
    assert parts.health.ready() == (False, ["stopping"])


def test_not_live_after_a_crash() -> None:
    parts = Parts()
    assert parts.health.live()
    parts.crashed = True
    assert not parts.health.live()


@pytest.mark.parametrize(
    ("joined", "still", "answers", "live"),
    [
        (True, under_test.STUCK_AFTER - 1, True, True),
        (True, under_test.STUCK_AFTER + 1, True, False),
        (True, under_test.STUCK_AFTER + 1, False, True),
        (False, under_test.JOIN_WITHIN - 1, True, True),
        (False, under_test.JOIN_WITHIN + 1, False, False),
    ],
)
def test_live_while_something_moves(joined: bool, still: float, answers: bool, live: bool) -> None:
    parts = Parts()
    parts.tasks.joined = joined
    parts.surroundings.broker_answers = answers
    parts.moved_at -= still
    assert parts.health.live() is live
