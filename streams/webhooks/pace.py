"""How much is sent to one receiver at a time: less while it fails, nothing while it asks for peace.

A receiver that fails quickly would otherwise be tried with all that waits for it, one attempt after
the other, as fast as it fails: no good for it, and work that its neighbours have to wait for.
"""

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 1.0


class Pace:
    """The pace of one receiver.

    Args:
        limit: how many attempts may be under way at once when all is well.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._allowed = limit
        self._failures = 0
        self._resumes_at = 0.0
        self.paused_until = 0.0
        """The receiver asked for nothing before that (s)."""

    def succeeded(self) -> None:
        """Take note of a success: one more at a time, up to the limit."""
        self._failures = 0
        self._resumes_at = 0.0
        self._allowed = min(self._allowed + 1, self._limit)

    def failed(self, now: float) -> None:
        """Take note of a failure at `now` (s): half as many at a time, after a longer pause."""
        pause = min(FIRST_PAUSE_S * 2.0 ** min(self._failures, 32), LONGEST_PAUSE_S)
        self._failures += 1
        self._resumes_at = now + pause
        self._allowed = max(self._allowed // 2, 1)

    def room(self, under_way: int, now: float) -> bool:
        """Tell whether one more attempt may begin at `now` (s), with so many under way."""
        return under_way < self._allowed and now >= self.resumes_at

    @property
    def resumes_at(self) -> float:
        """When (s) the next attempt may begin."""
        return max(self._resumes_at, self.paused_until)
