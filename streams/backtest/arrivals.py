"""What arrivals of any kind have in common on their way through a task."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, Self, TypeVar

from streams.backtest.task import BacktestTask, Decided
from streams.configuration.models import Configuration
from streams.configuration.translation import ingest_settings_of, partition_settings_of
from streams.domain.partial_counts import WindowCounts
from streams.domain.partition_settings import PartitionSettings
from streams.domain.sources import IngestSettings

Block = TypeVar("Block")


@dataclass(frozen=True, slots=True)
class BacktestSettings:
    """What one configuration says of a backtest.

    Args:
        partition: what is counted and which rules are evaluated.
        ingest: how events are read, and which times are rejected.
        interval: between two commits (s).
    """

    partition: PartitionSettings
    ingest: IngestSettings
    interval: float

    @classmethod
    def of(cls, configuration: Configuration) -> Self:
        """Return what a configuration says.

        One task stands for all of them, so it has the places for campaigns of all.
        """
        settings = replace(
            partition_settings_of(configuration, base_url=None),
            grouping={},
            group_labels={},
            rate_limits={},
        )
        places = settings.limits.campaigns * configuration.topics.partitions
        return cls(
            replace(settings, limits=replace(settings.limits, campaigns=places)),
            ingest_settings_of(configuration),
            configuration.flush.interval,
        )


@dataclass(slots=True)
class Seen:
    """What there was among the arrivals.

    Attributes:
        arrivals: how many lines or events.
        rejected: how many sends a worker would not count, by the reason, and where the first is.
        unrecognised: how many sends had a status that is in no group, by the status.
        first_at: time (ms, UTC) of the first arrival; null before it.
        last_at: of the last one.
    """

    arrivals: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_at: dict[str, str] = field(default_factory=dict)
    unrecognised: Counter[str] = field(default_factory=Counter)
    first_at: int | None = None
    last_at: int = 0

    def reject(self, reason: str, sends: int, place: str) -> None:
        """Take note of sends that are not counted."""
        self.rejected[reason] += sends
        self.rejected_at.setdefault(reason, place)


class Arrivals(Generic[Block]):
    """Arrivals on their way through a task, some at a time.

    Args:
        settings: of the backtest.
        inputs: the source partitions that they come from.

    Attributes:
        seen: what there was among them.
    """

    def __init__(self, settings: BacktestSettings, inputs: range = range(1)) -> None:
        self.settings = settings
        self.seen = Seen()
        self._inputs = inputs
        self._until = 0
        """Time (ms) of the commit that has what arrives now."""
        self._task_or_none: BacktestTask | None = None

    @abstractmethod
    def add(self, block: Block) -> Iterator[Decided]:
        """Let some arrive; yield what is decided before the last of them is committed."""

    @abstractmethod
    def _commit(self) -> Iterator[Decided]:
        """Commit what has arrived and is not committed, at its time."""

    def finish(self, until: int = 0) -> Iterator[Decided]:
        """Commit the last arrivals; let time go on up to `until` (ms, UTC)."""
        if self._task_or_none is not None:
            yield from self._commit()
            yield from self._task_or_none.pass_time(max(until, self._until) + 1)

    def _note_unrecognised(self, windows: Iterable[WindowCounts]) -> None:
        known = self.settings.partition.groups.group_of
        for window in windows:
            for column in window.columns:
                status = column.dimensions.outcome
                if status not in known and not column.dimensions.engagement:
                    self.seen.unrecognised[status] += sum(column.counts)

    def _begin(self, at: int) -> BacktestTask:
        """Return the task; it begins with the first arrival, at `at` (ms)."""
        task = self._task_or_none
        if task is None:
            settings = self.settings
            task = BacktestTask(settings.partition, settings.interval, self._inputs, at)
            self._task_or_none = task
            self._until = task.commit_of(at)
            self.seen.first_at = at
        return task

    @property
    def task(self) -> BacktestTask:
        """The task, once anything has arrived.

        Raises:
            LookupError: nothing has.
        """
        if self._task_or_none is None:
            raise LookupError("nothing has arrived")
        return self._task_or_none

    @property
    def campaign_days(self) -> float:
        """Days of windows in which campaigns had counts: a day of ten campaigns is ten."""
        task = self._task_or_none
        size = self.settings.partition.windows.size
        return task.campaign_windows * size / 86_400 if task is not None else 0.0
