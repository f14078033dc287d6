"""A receiver's rate limit: how many notifications it gets in a time.

It is a token bucket, as of Linux's `tc` or of an API gateway: full at first, and filled evenly. All
partitions of a worker share it, so it holds per worker; after a restart it is full.
"""

from collections.abc import Mapping
from typing import NamedTuple

from streams.domain.notification.grouping import GroupTimes

RATE_LIMITED = "rate-limited"
BEYOND = "beyond the rate limit: it waits"
"""Why, for people."""


class Rate(NamedTuple):
    """At most so many notifications at once, and then as many in each `seconds`."""

    most: int
    seconds: float


class TokenBucket:
    """Says which notifications are within a rate.

    Args:
        rate: of them.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._tokens = float(rate.most)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Tell whether one more is within the rate at `now` (s); it counts then.

        If the clock was set back, time goes on from there.
        """
        if self._at is not None and now > self._at:
            filled = self._tokens + (now - self._at) * self.rate.most / self.rate.seconds
            self._tokens = min(float(self.rate.most), filled)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class ReceiverLimit(NamedTuple):
    """The rate limit of a receiver, and when it is told of what is beyond that."""

    bucket: TokenBucket
    times: GroupTimes


def is_within(limits: Mapping[str, ReceiverLimit], receiver: str, now: float) -> bool:
    """Tell whether a receiver may get one more notification at `now` (s, UTC), which counts."""
    limit = limits.get(receiver)
    return limit is None or limit.bucket.take(now)
