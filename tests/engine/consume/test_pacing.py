"""When a broker is asked for records again."""

import asyncio

import pytest

from streams.engine.consume.pacing import ENOUGH, GATHER, Pacing


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return pauses


def stands_still() -> float:
    return 1000.0


@pytest.mark.parametrize(
    ("size", "pauses"),
    [(1, [GATHER]), (ENOUGH - 1, [GATHER]), (ENOUGH, []), (0, [])],
    ids=["little", "not enough", "enough", "nothing: the broker has waited"],
)
async def test_after_little_the_next_question_waits(
    slept: list[float], size: int, pauses: list[float]
) -> None:
    paced = Pacing(stands_still)
    await paced.wait(1)
    assert slept == []
    paced.answered(1, size)
    await paced.wait(1)
    assert slept == pytest.approx(pauses)


async def test_each_broker_has_its_own_pace(slept: list[float]) -> None:
    paced = Pacing(stands_still)
    paced.answered(1, 1)
    await paced.wait(2)
    assert slept == []


async def test_time_that_has_passed_is_not_waited_for(slept: list[float]) -> None:
    times = iter([1000.0, 1000.0 + GATHER])
    paced = Pacing(lambda: next(times))
    paced.answered(1, 1)
    await paced.wait(1)
    assert slept == []
