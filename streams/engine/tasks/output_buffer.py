"""What a task has counted, decided and dead-lettered since its last commit."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from streams.domain.commits import Commit, Decision, SuppressedTransition
from streams.domain.counts import StatusGroups
from streams.domain.emission import WindowResult
from streams.domain.events import Rejected
from streams.domain.heartbeats import Heartbeats
from streams.domain.partial_counts import PartialCounts
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.table import Folded
from streams.domain.transitions import Transition, rfc3339
from streams.engine.consume.transport import Batch
from streams.engine.dead_letters.letter import dead_letter, size_of
from streams.engine.produce.writer import Record, TransactionBatch
from streams.engine.tasks.context import TaskContext
from streams.engine.tasks.poison_pills import PoisonPills
from streams.outputs.output import Changes

FULL_COUNTS = 25_000
"""Counts. With many campaigns a fast worker makes that many in a second or so, and encodes them
within a few ms."""
FULL_BYTES = 16 * 1024 * 1024
"""Bytes of dead letters."""


class OutputBuffer:
    """What a task will write to its topics, apart from its own state.

    Args:
        task: its number.
        context: what all tasks of the worker share.
        poison_pills: records of the task known to make processing fail.

    Attributes:
        pre_aggregator: counts the events of the source topic.
        next_commit: what the next commit holds so far.
    """

    def __init__(self, task: int, context: TaskContext, poison_pills: PoisonPills) -> None:
        self.pre_aggregator = PreAggregator()
        self.next_commit = Commit(task)
        self._task = task
        self._context = context
        self._poison_pills = poison_pills
        self._dead: list[Record] = []
        self._dead_bytes = 0
        self._received_at = 0
        self._heartbeats: Heartbeats | None = None
        settings = context.settings
        if any(rule.detector.on_closing for rule in settings.rules):
            self._heartbeats = Heartbeats(context.campaigns.partitions, settings.windows.size)

    @property
    def is_full(self) -> bool:
        """Tell whether there is enough to commit before its time."""
        return len(self.pre_aggregator) > FULL_COUNTS or self._dead_bytes > FULL_BYTES

    def dead_letter(self, batch: Batch, rejected: list[Rejected]) -> None:
        """Make dead letters of records of a batch."""
        self.next_commit.rejected += rejected
        failed_at = rfc3339(self._context.now()).encode()
        limit = self._context.limits.record_bytes(self._context.topics.dead_letter)
        if self._poison_pills.headers_only:
            limit = 0
        for each in rejected:
            record = batch.records[each.position]
            letter = dead_letter(batch.partition, record, each, failed_at, limit)
            self._dead.append(letter)
            self._dead_bytes += size_of(letter)

    def added(self, counts: PartialCounts, late: int, expired: int, folded: Folded) -> None:
        """Take note of partial counts that were added to the windows.

        Args:
            counts: which were added.
            late: how many of their events corrected closed windows.
            expired: how many of their events were added nowhere, as their window had expired.
            folded: how many of their events were counted under `__other__`.
        """
        self._received_at = self._received_at or counts.received_at
        commit, before = self.next_commit, self.next_commit.folded
        commit.late += late
        commit.expired += expired
        commit.folded = Folded(before.names + folded.names, before.campaigns + folded.campaigns)

    def decide(
        self,
        decided: list[Transition],
        suppressed: list[SuppressedTransition],
        now: float,
        *,
        more: bool = False,
    ) -> None:
        """Take transitions decided at `now` (s), on all counts that were added, or on a part.

        Nobody is notified of those that are also in `suppressed`.
        """
        self.next_commit.suppressed += suppressed
        if decided:
            age = now - self._received_at / 1000 if self._received_at else 0.0
            self.next_commit.decisions += [Decision(each, age) for each in decided]
        if not more:
            self._received_at = 0

    def take_partial_counts(self) -> Mapping[int, PartialCounts]:
        """Hand out what was counted, by the partition of the campaigns."""
        pre_aggregator, self.pre_aggregator = self.pre_aggregator, PreAggregator()
        self.next_commit.add_counted(pre_aggregator)
        counts = pre_aggregator.partial_counts()
        unrecognised = _unrecognised(counts.values(), self._context.settings.groups)
        self.next_commit.unrecognised.update(unrecognised)
        if self._heartbeats is not None:
            self._heartbeats.add_to(counts, pre_aggregator.event_times, pre_aggregator.received_at)
        return counts

    def take_commit(self, records: int) -> Commit:
        """Return the commit that was collected just now, and begin the next one."""
        commit, self.next_commit = self.next_commit, Commit(self._task)
        commit.records = records
        return commit

    def add_to(self, writes: TransactionBatch, results: Sequence[WindowResult] = ()) -> None:
        """Hand out the records of the output topics, with results of windows, and dead letters."""
        topics = self._context.topics
        changes = Changes(self._task, list(self.next_commit.transitions), results)
        for output in topics.outputs if changes else ():
            limit = self._context.limits.record_bytes(output.name)
            for key, value in output.kind.records(changes, self._context.settings, limit):
                number = crc32(key) % output.partitions
                writes.add(output.name, number, Record(key, value))
        dead, self._dead, self._dead_bytes = self._dead, [], 0
        for record in dead:
            writes.add(topics.dead_letter, self._task % topics.dead_letter_partitions, record)


def _unrecognised(partial: Iterable[PartialCounts], groups: StatusGroups) -> Counter[str]:
    """Count the sends whose status is in no group, by status."""
    found: Counter[str] = Counter()
    for each in partial:
        for counts in each.windows:
            for column in counts.columns:
                outcome = column.dimensions.outcome
                if outcome not in groups.group_of and not column.dimensions.engagement:
                    found[outcome] += sum(column.counts)
    return found
