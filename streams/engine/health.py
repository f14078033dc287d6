"""Health of a worker: readiness (it does its work) and liveness (it makes progress)."""

import time
from collections.abc import Callable, Iterable

from streams.engine.cluster.surroundings import Surroundings
from streams.engine.produce.broker_clock import BrokerClock
from streams.engine.tasks.manager import TaskManager

JOIN_WITHIN = 60.0
"""Seconds without progress in which a worker has to get its first assignment from the group."""
STUCK_AFTER = 300.0
"""Seconds without progress of a task; longer than all that a task waits for."""


class Health:
    """What a worker knows of its own state.

    Args:
        tasks: of the worker.
        surroundings: look at what keeps the worker from its work.
        clock: the broker's.
        join_within: seconds without progress in which the first assignment has to come, if these
            are more than `JOIN_WITHIN`.
        has_crashed: tells whether the work has ended early.
        out_of_date: returns why what all workers know may be out of date here; nothing of what is
            not.
    """

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        tasks: TaskManager,
        surroundings: Surroundings,
        clock: BrokerClock,
        *,
        join_within: float,
        has_crashed: Callable[[], bool],
        out_of_date: Callable[[], Iterable[str]],
    ) -> None:
        self._tasks = tasks
        self._surroundings = surroundings
        self._clock = clock
        self._out_of_date = out_of_date
        self._join_within = max(JOIN_WITHIN, join_within)
        self._has_crashed = has_crashed
        self._stopping = False

    def stopping(self) -> None:
        """Be unready from here on: the worker stops."""
        self._stopping = True

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether the worker does its work; if not, why, and otherwise what else is wrong."""
        if self._stopping:
            return False, ["stopping"]
        waiting = self._tasks.waiting_for()
        others = [*filter(None, [self._clock.disagreement]), *self._out_of_date()]
        reasons = [*self._surroundings.hindrances, *waiting, *others]
        return not waiting, reasons

    def live(self) -> bool:
        """Tell whether the worker makes progress; false means that it should be started anew.

        A worker that was never assigned anything has nothing to lose by that. One that was waits
        while the brokers are away, and is stuck if nothing moves though they answer.
        """
        if self._has_crashed():
            return False
        still = time.monotonic() - self._tasks.moved_at()
        if not self._tasks.joined:
            return still < self._join_within
        return still < STUCK_AFTER or not self._surroundings.broker_answers
