"""Long work in slices, between which others work."""

import asyncio
import time

SLICE_S = 0.002
"""How long (s) others wait at most for the next pause, as far as one step of work is short."""


class TimeSlices:
    """Lets others work once a slice is over: await it after each short step.

    A step takes a fraction of a millisecond, as a rule.

    Args:
        pauses: whether it does.
        is_measured: whether CPU time is measured, without what others do meanwhile; asking the
            system for it takes longer than many a request.
    """

    def __init__(self, *, pauses: bool = True, is_measured: bool = False) -> None:
        self._pauses = pauses
        self._clock = time.thread_time if is_measured else _unmeasured
        self._spent = 0.0
        self._until = time.perf_counter() + SLICE_S
        self._begun = self._clock()

    async def __call__(self) -> None:
        """Pause if the slice is over."""
        if self._pauses and time.perf_counter() >= self._until:
            self._spent += self._clock() - self._begun
            await asyncio.sleep(0)
            self._until = time.perf_counter() + SLICE_S
            self._begun = self._clock()

    @property
    def spent(self) -> float:
        """CPU time (s) of the slices up to now; 0 if it is not measured."""
        return self._spent + self._clock() - self._begun


def _unmeasured() -> float:
    return 0.0
