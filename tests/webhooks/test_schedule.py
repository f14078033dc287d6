"""When to try again."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.webhooks.schedule import next_attempt_at

# ruff: noqa: S311 - jitter is no secret

SCHEDULE = (5.0, 30.0, 120.0)
seeds = st.integers(0, 2**32)


@given(seeds, st.integers(1, 3))
def test_the_wait_is_the_schedules_within_a_tenth(seed: int, attempts: int) -> None:
    at = next_attempt_at(attempts, 1000.0, SCHEDULE, None, Random(seed))

    wait = SCHEDULE[attempts - 1]
    assert at is not None
    assert 1000 + 0.9 * wait <= at <= 1000 + 1.1 * wait


@given(seeds)
def test_never_sooner_than_the_receiver_asks(seed: int) -> None:
    at = next_attempt_at(1, 1000.0, SCHEDULE, 60.0, Random(seed))

    assert at is not None
    assert 1060 <= at <= 1066


@given(seeds)
def test_a_short_retry_after_does_not_hurry_the_schedule(seed: int) -> None:
    at = next_attempt_at(2, 1000.0, SCHEDULE, 1.0, Random(seed))

    assert at is not None
    assert at >= 1027


def test_after_the_last_wait_there_is_none() -> None:
    assert next_attempt_at(4, 1000.0, SCHEDULE, None, Random(0)) is None
    assert next_attempt_at(4, 1000.0, SCHEDULE, 60.0, Random(0)) is None
    assert next_attempt_at(1, 1000.0, (), None, Random(0)) is None


def test_waits_of_many_are_spread() -> None:
    random = Random(1)

    waits = {next_attempt_at(1, 0.0, SCHEDULE, None, random) for _ in range(100)}

    assert len(waits) == 100
