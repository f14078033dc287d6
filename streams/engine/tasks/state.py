"""The states of a stream task, and which may follow which.

        TaskRestorer.open
               │
               ▼
    ┌──── RESTORING ─────────────┐
    │          │ start           │
    │          ▼                 │
    ├───── RUNNING ──────────────┤
    │  suspend │ ▲ resume        │ close
    │          ▼ │               │
    ├──── SUSPENDED ─────────────┤
    │                            │
    │ lose                       ▼
    └───► LOST ── close ──► CLOSED ───► the manager opens another one, if the task is still assigned

`CREATED` of Kafka Streams has no object here: it is a task that is assigned and not being opened.
`LOST` stands for what Kafka Streams does after a `TaskCorruptedException` or a
`TaskMigratedException`: the task is closed dirty and restored from what was committed.
"""

from enum import StrEnum


class TaskState(StrEnum):
    """The state of one stream task."""

    RESTORING = "restoring"
    """Its producer has fenced all earlier ones and its state is read back; the positions of its
    inputs are compared with the logs as they are now."""
    RUNNING = "running"
    """It takes batches, evaluates rules and commits."""
    SUSPENDED = "suspended"
    """A rebalance is under way: it takes no batches, and commits once more, for handover."""
    LOST = "lost"
    """What it has in memory may differ from what is committed: it must not commit any more."""
    CLOSED = "closed"
    """Its producer is closed. The end."""

    def to(self, following: "TaskState") -> "TaskState":
        """Return `following`.

        Raises:
            IllegalTransitionError: `following` may not come after this state.
        """
        if following not in _FOLLOWING[self]:
            raise IllegalTransitionError(f"a task that is {self} cannot become {following}")
        return following


_FOLLOWING = {
    TaskState.RESTORING: {TaskState.RUNNING, TaskState.LOST, TaskState.CLOSED},
    TaskState.RUNNING: {TaskState.SUSPENDED, TaskState.LOST, TaskState.CLOSED},
    TaskState.SUSPENDED: {TaskState.RUNNING, TaskState.LOST, TaskState.CLOSED},
    TaskState.LOST: {TaskState.CLOSED},
    TaskState.CLOSED: set[TaskState](),
}


class IllegalTransitionError(Exception):
    """A task was told to become what it cannot become from its state: a defect of the caller."""
