"""The state of the worker, as it is when the metrics are asked for."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from streams.domain.silences.silence import CompiledSilence
from streams.observability.families import Families

TASK_STATES = ("restoring", "running", "suspended", "lost")
SILENCE_STATES = ("pending", "active", "expired")


class WorkerState(NamedTuple):
    """How the state of a worker is asked for.

    Attributes:
        ready: tells whether it does its work, and why not.
        live: tells whether it makes progress.
        tasks: returns the states of the tasks that it owns, with how many are in each.
        silences: returns all silences.
        now: the wall clock (s, UTC).
    """

    ready: Callable[[], tuple[bool, list[str]]]
    live: Callable[[], bool]
    tasks: Callable[[], Mapping[str, int]]
    silences: Callable[[], Iterable[CompiledSilence]]
    now: Callable[[], float]


class StateGauges:
    """Gauges of a worker's state.

    Args:
        families: makes them.
    """

    def __init__(self, families: Families) -> None:
        self._ready = families.gauge("ready", "1 while the worker does its work, as /readyz says")
        self._live = families.gauge("live", "1 while the worker makes progress, as /livez says")
        self._tasks = families.gauge("tasks", "Tasks that the worker owns, by state", "state")
        self._silences = families.gauge("silences", "Silences by state", "state")
        self._state: WorkerState | None = None

    def follow(self, state: WorkerState) -> None:
        """Show this state from here on; before that a worker is neither ready nor live."""
        self._state = state

    def read(self) -> None:
        """Set all gauges to what the worker is now."""
        state = self._state
        self._ready.set(state is not None and state.ready()[0])
        self._live.set(state is not None and state.live())
        tasks = {} if state is None else state.tasks()
        for name in TASK_STATES:
            self._tasks.labels(name).set(tasks.get(name, 0))
        silences: Counter[str] = Counter()
        if state is not None:
            now = state.now()
            silences.update(each.state(now) for each in state.silences())
        for name in SILENCE_STATES:
            self._silences.labels(name).set(silences[name])
