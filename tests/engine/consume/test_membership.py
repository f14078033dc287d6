"""Whether a worker is certainly in its group, by the heartbeats that were answered."""

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator

from streams.engine.consume.membership import Membership


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Coordinator:
    """Answers a heartbeat after some seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.takes = 0.0
        self.answer = True

    async def _do_heartbeat(self) -> bool:
        self._clock.now += self.takes
        return self.answer


def test_nobody_knows_before_the_first_heartbeat() -> None:
    assert not Membership().is_confirmed(1e9)


@pytest.mark.parametrize("answer", [True, False])
async def test_a_heartbeat_counts_from_when_it_was_sent_if_it_was_answered(answer: bool) -> None:
    clock = Clock()
    coordinator, membership = Coordinator(clock), Membership(clock)
    membership.follow(coordinator)
    assert await coordinator._do_heartbeat()
    clock.now += 1.0
    coordinator.takes, coordinator.answer = 3.0, answer
    assert await coordinator._do_heartbeat() is answer
    age = 3.0 if answer else 4.0
    assert membership.is_confirmed(age)
    assert not membership.is_confirmed(age - 0.1)


def test_aiokafka_calls_what_is_followed() -> None:
    """Should another version call its method something else, nothing would be told again."""
    assert "_do_heartbeat" in GroupCoordinator._heartbeat_routine.__code__.co_names
