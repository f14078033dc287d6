"""How often may be asked: token buckets (RFC 2697, 3, with one rate), by token and by address."""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address, ip_network

from streams.configuration.addresses import address_of

MOST_BUCKETS = 10_000
"""Of one kind. The ones that were used longest ago are forgotten: full again, or nearly so."""
_SITE_BITS = 64
"""Of an IPv6 address: whoever has one has all that begin alike."""


class RateLimit:
    """A bucket for each key, of which each request takes tokens, and which fills again.

    Args:
        rate: tokens a second; 0 for no limit.
        burst: how many a bucket holds.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """How much each one had, and when (s)."""

    def wait(self, key: Hashable) -> float:
        """Return how long (s) it takes until the key's bucket has a token; 0 if it has one."""
        return max(0.0, 1.0 - self._level(key)) / self._rate if self._rate else 0.0

    def take(self, key: Hashable, tokens: float = 1.0) -> float:
        """Take tokens if there is one; otherwise return how long (s) it takes until there is.

        A bucket that has fewer tokens owes the others: it takes longer until the next can be taken.
        """
        wait = self.wait(key)
        if self._rate and not wait:
            self._buckets[key] = self._level(key) - tokens, self._clock()
            self._buckets.move_to_end(key)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        return wait

    def _level(self, key: Hashable) -> float:
        level, at = self._buckets.get(key, (self._burst, -math.inf))
        return min(self._burst, level + (self._clock() - at) * self._rate)


def site_of(address: str) -> str:
    """Return what an address shares a limit by: itself, or the network of an IPv6 address."""
    found = address_of(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((int(found), _SITE_BITS), strict=False))
    return address
