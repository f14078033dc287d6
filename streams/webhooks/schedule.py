"""When to try again."""

from collections.abc import Sequence
from random import Random

JITTER = 0.1
"""Share by which a wait is longer or shorter, so that many deliveries do not come back at once."""


def next_attempt_at(
    attempts: int,
    now: float,
    schedule: Sequence[float],
    retry_after: float | None,
    random: Random,
) -> float | None:
    """Return the time (s) of the next attempt, null if there is none left.

    Args:
        attempts: how many were made and failed.
        now: the time of the last of them, in seconds.
        schedule: the waits after each attempt, in seconds.
        retry_after: the seconds that the receiver asks for: it is not tried sooner.
        random: where the jitter comes from.
    """
    if attempts > len(schedule):
        return None
    wait = schedule[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    if retry_after is not None:
        wait = max(wait, retry_after * random.uniform(1, 1 + JITTER))
    return now + wait
