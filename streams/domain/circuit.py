"""The circuit of a receiver: whether anything is sent to it, after failures in a row.

A circuit breaker as in https://martinfowler.com/bliki/CircuitBreaker.html. It is closed until so
many attempts in a row have failed. Then it is open: nothing is attempted for some time, and after
that a probe, one attempt alone. A success closes it; a probe that fails doubles the time to the
next one, up to a bound.
"""

from typing import NamedTuple


class CircuitPolicy(NamedTuple):
    """When a circuit opens, and when it is probed.

    Attributes:
        failures: in a row, open it; 0: it never opens.
        wait: from opening to the first probe; s.
        longest_wait: between two probes; s.
    """

    failures: int = 0
    wait: float = 5.0
    longest_wait: float = 300.0


NEVER_OPENS = CircuitPolicy()


class Circuit:
    """The circuit of one receiver.

    Args:
        policy: when it opens, and when it is probed.
    """

    def __init__(self, policy: CircuitPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._wait = policy.wait
        self._opened_at: float | None = None
        self._probe_at = 0.0
        self.failing_since: float | None = None
        """When the first of the failures in a row was (s); null after a success."""
        self.succeeded_at = 0.0
        """When the newest success was (s)."""

    @property
    def is_open(self) -> bool:
        """Whether nothing but a probe is attempted."""
        return self._opened_at is not None

    @property
    def resumes_at(self) -> float:
        """When (s) the next attempt may begin."""
        return self._probe_at if self.is_open else 0.0

    def permits(self, under_way: int, now: float) -> bool:
        """Tell whether one more attempt may begin at `now` (s), with so many under way."""
        if not self.is_open:
            return True
        # A clock that was set back must not keep the probe away.
        is_time = now >= self._probe_at or now < self._probe_at - self._wait
        return under_way == 0 and is_time

    def succeeded(self, now: float) -> bool:
        """Take note of a success at `now` (s); tell whether that closes the circuit."""
        self.succeeded_at = now
        return self.reset()

    def reset(self) -> bool:
        """Forget all failures; tell whether that closes the circuit."""
        was_open = self.is_open
        self._failures, self._wait = 0, self._policy.wait
        self._opened_at = self.failing_since = None
        return was_open

    def failed(self, now: float) -> bool:
        """Take note of a failure at `now` (s); tell whether that opens the circuit."""
        self._failures += 1
        if self.failing_since is None:
            self.failing_since = now
        if self._opened_at is not None:
            # Attempts that were under way when it opened are no probes.
            if now >= self._probe_at:
                self._wait = min(self._wait * 2, max(self._policy.longest_wait, self._policy.wait))
                self._probe_at = now + self._wait
            return False
        if not self._policy.failures or self._failures < self._policy.failures:
            return False
        self._opened_at, self._probe_at = now, now + self._wait
        return True

    def resume(self, failing_since: float, now: float) -> None:
        """Open it at `now` (s) as it was before a restart; a probe may begin at once.

        Args:
            failing_since: when the first of the failures in a row was (s).
            now: wall-clock time (s).
        """
        if self._policy.failures:
            self.failing_since = failing_since
            self._opened_at, self._probe_at = now, now
