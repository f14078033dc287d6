"""Events of the tasks of a worker, and their subscribers."""

from collections.abc import Callable

import structlog

from streams.domain.commits import Commit

_log = structlog.get_logger(__name__)


class TaskEvents:
    """Passes events on to those who subscribed, at once and in that order.

    The parts of a worker are put together in one direction: a part that is notified of events is
    made after the tasks, and subscribes here. A subscriber that raises is logged, and neither the
    task nor the others are affected.
    """

    def __init__(self) -> None:
        self._on_commit: list[Callable[[Commit], None]] = []
        self._on_change: list[Callable[[], None]] = []
        self._on_restored: list[Callable[[int, int, int], None]] = []

    def on_commit(self, subscriber: Callable[[Commit], None]) -> None:
        """Call `subscriber` with each transaction of a task, once it is committed."""
        self._on_commit.append(subscriber)

    def on_change(self, subscriber: Callable[[], None]) -> None:
        """Call `subscriber` whenever a task has been opened or closed."""
        self._on_change.append(subscriber)

    def on_restored(self, subscriber: Callable[[int, int, int], None]) -> None:
        """Call `subscriber` while a task's state is read back, as `restored` is called."""
        self._on_restored.append(subscriber)

    def committed(self, commit: Commit) -> None:
        """Notify subscribers of a committed transaction."""
        for subscriber in self._on_commit:
            try:
                subscriber(commit)
            except Exception:  # noqa: BLE001 - what is committed is committed
                _log.exception("on_commit failed", task=commit.partition)

    def changed(self) -> None:
        """Notify subscribers that a task has been opened or closed."""
        for subscriber in self._on_change:
            try:
                subscriber()
            except Exception:  # noqa: BLE001 - the tasks go on
                _log.exception("on_change failed")

    def restored(self, task: int, reached: int, end: int) -> None:
        """Notify subscribers that a task's changelog was read up to offset `reached` of `end`."""
        for subscriber in self._on_restored:
            subscriber(task, reached, end)
