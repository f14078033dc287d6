"""Poison pills: records that make processing fail. They are found, and dead-lettered.

Processing a batch may raise an unexpected error. By then half of the batch may be counted, so the
task is closed dirty: it is reopened from what was committed, and gets the same input again. What is
known of its poison pills outlives the task: for ten minutes after a failure the task tries each
batch before counting it, on counts of which nothing is kept, and halves a batch that fails down to
the records that make it fail. These become dead letters with the reason `unprocessable`, and
everything else is counted as always. A record of the repartition topic that failed is known by its
offset; of its partial counts only those that make processing fail become a dead letter, or all of
them where a trial does not fail.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import structlog
from aiokafka.errors import KafkaError

from streams.domain import partial_counts
from streams.domain.events import Reason, Rejected
from streams.domain.partial_counts import PartialCounts, WindowCounts
from streams.domain.partition import CampaignPartition
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import SourcePartition
from streams.engine.consume.transport import Batch
from streams.engine.produce.writer import RefusedError, TaskLostError
from streams.engine.tasks.context import TaskContext

_log = structlog.get_logger(__name__)

TRIAL_PERIOD = 600.0
"""Seconds after a failure in which each batch is tried first: more poison pills may follow one."""
LONGEST_DESCRIPTION = 300
"""Characters."""


class UnprocessableError(TaskLostError):
    """Processing raised what nobody expected.

    Attributes:
        what: the error, in one line.
        log_offset: of the record of the repartition topic that it was raised for; null for anything
            else.
    """

    what = ""
    log_offset: int | None = None

    @classmethod
    def of(cls, doing: str, error: Exception, log_offset: int | None = None) -> Self:
        """Make one of what was raised."""
        made = cls(f"{doing}: {describe(error)}")
        made.what = describe(error)
        made.log_offset = log_offset
        return made


def as_task_lost(doing: str, error: Exception) -> TaskLostError:
    """Return why a task is lost, given any error: if it is none of Kafka, its input may be."""
    if isinstance(error, TaskLostError):
        return error
    if isinstance(error, KafkaError | OSError):
        return TaskLostError(f"{doing}: {error!r}")
    _log.error("an unexpected error", doing=doing, exc_info=error)
    return UnprocessableError.of(doing, error)


def describe(error: Exception) -> str:
    """Name an error in one line."""
    return f"{type(error).__name__}: {error}"[:LONGEST_DESCRIPTION].replace("\n", " ")


class PoisonPills:
    """What a worker remembers of one task's poison pills, from one opening of the task to the next.

    Attributes:
        failed_counts: the error, in one line, that adding partial counts raised, by their offset in
            the repartition topic.
        headers_only: whether the dead-letter topic refuses the values of dead letters, so that they
            are written with their headers alone.
    """

    def __init__(self) -> None:
        self.failed_counts: dict[int, str] = {}
        self.headers_only = False
        self._trials_until = float("-inf")
        self._refused: set[str] = set()

    def needs_trial(self, now: float) -> bool:
        """Tell whether to try input before it is counted, at wall-clock `now` (s)."""
        return now < self._trials_until

    def start_trials(self, now: float) -> None:
        """Try input before it is counted, for `TRIAL_PERIOD` from wall-clock `now` (s) on."""
        self._trials_until = now + TRIAL_PERIOD

    def note_failure(self, error: Exception, context: TaskContext) -> None:
        """Take note of the error that closed the task, if its input may be the reason."""
        if isinstance(error, UnprocessableError):
            self.start_trials(context.now())
            if error.log_offset is not None:
                self.failed_counts[error.log_offset] = error.what
        elif isinstance(error, RefusedError):
            # The first time the topic may have got other settings, which will be heeded.
            context.limits.outdated = True
            self.headers_only = self.headers_only or (
                error.topic in self._refused and error.topic == context.topics.dead_letter
            )
            self._refused.add(error.topic)

    def forget_failed(self, before: int) -> None:
        """Forget failed counts before an offset: their dead letters are committed."""
        self.failed_counts = {at: what for at, what in self.failed_counts.items() if at >= before}


class Parts(NamedTuple):
    """Partial counts that can be added to the windows, those that cannot, and what these raise."""

    good: PartialCounts | None
    bad: PartialCounts | None
    raised: str


class PartialCountsRecord(NamedTuple):
    """Partial counts of the repartition topic, or a part of them, as a record."""

    offset: int
    value: bytes
    key: None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0
    timestamp_type: int = 0


class Trial:
    """Processes input for trial, on counts of its own.

    Args:
        context: what all tasks of the worker share.
        task: its number.
    """

    def __init__(self, context: TaskContext, task: int) -> None:
        self._context = context
        self._task = task

    def of_records(
        self,
        source: SourcePartition,
        batch: Batch,
        count: Callable[[SourcePartition, Batch, PreAggregator], object],
    ) -> list[Rejected]:
        """Return the records of a batch that cannot be processed.

        Args:
            source: the partition that they are from.
            batch: the records.
            count: counts a batch of a partition.
        """

        def process(positions: Sequence[int]) -> None:
            alike = SourcePartition(
                source.number,
                self._context.ingest_settings,
                self._context.campaigns,
                source.event_time,
            )
            pre_aggregator = PreAggregator()
            count(
                alike,
                batch._replace(records=[batch.records[at] for at in positions]),
                pre_aggregator,
            )
            for counts in pre_aggregator.partial_counts().values():
                for value in partial_counts.encode_records(counts):
                    self._apply(partial_counts.decode(value))

        return unprocessable(len(batch.records), process)

    def of_counts(self, counts: PartialCounts, known: str | None = None) -> Parts:
        """Split partial counts into those that can be added to the windows, and those that cannot.

        `known` is what was raised when it was added; null if it was not. If a trial does not show
        it, none of them can be added.
        """
        raised = self._raised(counts)
        if raised is None:
            return Parts(counts, None, "") if known is None else Parts(None, counts, known)
        good, bad = self._split(counts.windows)
        added = PartialCounts(counts.version, counts.event_times, counts.received_at, good)
        if not bad or self._raised(added) is not None:
            return Parts(None, counts, raised)
        return Parts(added, PartialCounts(counts.version, {}, counts.received_at, bad), raised)

    def _split(self, windows: list[WindowCounts]) -> tuple[list[WindowCounts], list[WindowCounts]]:
        if (
            self._raised(PartialCounts(partial_counts.PARTIAL_COUNTS_VERSION, {}, 0, windows))
            is None
        ):
            return windows, []
        halves = partial_counts.halves_of(windows)
        if halves is None:
            return [], windows
        (good, bad), (more_good, more_bad) = map(self._split, halves)
        return good + more_good, bad + more_bad

    def _raised(self, counts: PartialCounts) -> str | None:
        try:
            self._apply(counts)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return describe(error)
        return None

    def _apply(self, counts: PartialCounts) -> None:
        now = self._context.now()
        inputs = counts.event_times or {self._task: 0}
        partition = CampaignPartition(self._task, self._context.settings, inputs, now)
        partition.apply(counts, 0, now)
        partition.advance(now, 1)
        partition.prepare_handover()
        partition.take_changes(now)


def unprocessable(records: int, process: Callable[[Sequence[int]], None]) -> list[Rejected]:
    """Return which of so many records have to be left out so that `process` does not raise.

    Those that fail alone are found by halving. If the others fail in each other's company, the one
    that ends the shortest beginning that fails is left out, until none does.
    """
    found = _halve(range(records), process)
    while found:
        left_out = {each.position for each in found}
        rest = [position for position in range(records) if position not in left_out]
        one_more = _first_failing(rest, process)
        if one_more is None:
            break
        found.append(one_more)
    return sorted(found)


def _halve(positions: Sequence[int], process: Callable[[Sequence[int]], None]) -> list[Rejected]:
    error = _raised(positions, process)
    if error is None:
        return []
    if len(positions) == 1:
        return [_rejected(positions[0], error)]
    half = len(positions) // 2
    found = _halve(positions[:half], process) + _halve(positions[half:], process)
    if not found:
        first = _first_failing(positions, process)
        found = [first] if first is not None else []
    return found


def _first_failing(
    positions: Sequence[int], process: Callable[[Sequence[int]], None]
) -> Rejected | None:
    error = _raised(positions, process)
    if error is None:
        return None
    passes, fails = 0, len(positions)
    while fails - passes > 1:
        middle = (passes + fails) // 2
        raised = _raised(positions[:middle], process)
        if raised is None:
            passes = middle
        else:
            fails, error = middle, raised
    return _rejected(positions[fails - 1], error)


def _raised(positions: Sequence[int], process: Callable[[Sequence[int]], None]) -> Exception | None:
    try:
        process(positions)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    return None


def _rejected(position: int, error: Exception) -> Rejected:
    return Rejected(position, Reason.UNPROCESSABLE, describe(error))
