"""What a task has counted, decided and put aside since its last flush."""

from collections import Counter
from collections.abc import Iterable, Mapping
from zlib import crc32

from streams.domain.counts import StatusGroups
from streams.domain.events import Rejected
from streams.domain.partial_counts import PartialCounts
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.transitions import Transition, rfc3339
from streams.engine.consume.transport import Batch
from streams.engine.dead_letters.letter import dead_letter, size_of
from streams.engine.produce.writer import Record, TransactionBatch
from streams.engine.tasks.context import TaskContext
from streams.engine.tasks.isolation import Isolation
from streams.outputs.output import Changes

FULL_COUNTS = 25_000
"""With many campaigns; what a fast worker counts in a second or so, and puts into blocks within a
few ms."""
FULL_BYTES = 16 * 1024 * 1024


class OutputBuffer:
    """What a task owes to its topics, apart from its own state.

    Args:
        task: its number.
        context: what every task does alike.
        isolation: what is known of input that cannot be processed.

    Attributes:
        pre_aggregator: what was counted.
    """

    def __init__(self, task: int, context: TaskContext, isolation: Isolation) -> None:
        self.pre_aggregator = PreAggregator()
        self._task = task
        self._context = context
        self._isolation = isolation
        self._dead: list[Record] = []
        self._dead_bytes = 0
        self._decided: list[Transition] = []
        self._received_at = 0

    @property
    def is_full(self) -> bool:
        """Tell whether it is time for a flush."""
        return len(self.pre_aggregator) > FULL_COUNTS or self._dead_bytes > FULL_BYTES

    def dead_letter(self, batch: Batch, rejected: list[Rejected]) -> None:
        """Owe records of a batch to the dead-letter topic."""
        self._context.instruments.rejected(rejected)
        failed_at = rfc3339(self._context.now()).encode()
        limit = self._context.limits.record_bytes(self._context.topics.dead_letter)
        if self._isolation.bare:
            limit = 0
        for each in rejected:
            record = batch.records[each.position]
            letter = dead_letter(batch.partition, record, each, failed_at, limit)
            self._dead.append(letter)
            self._dead_bytes += size_of(letter)

    def applied(self, block: PartialCounts) -> None:
        """Take note of how old the events are that the rules will be held against next."""
        self._received_at = self._received_at or block.received_at

    def decide(self, decided: list[Transition], now: float, *, more: bool = False) -> None:
        """Owe what the rules made, at `now` (s), of all that was applied, or of a part of it."""
        if decided:
            age = now - self._received_at / 1000 if self._received_at else 0.0
            self._context.instruments.decided(decided, age)
            self._decided += decided
        if not more:
            self._received_at = 0

    def take_partial_counts(self) -> Mapping[int, PartialCounts]:
        """Hand out what was counted, for each partition of campaigns that got any."""
        pre_aggregator, self.pre_aggregator = self.pre_aggregator, PreAggregator()
        self._context.instruments.counted(pre_aggregator)
        blocks = pre_aggregator.blocks()
        groups = self._context.watch.groups
        unrecognised = _unrecognised(blocks.values(), groups)
        if unrecognised:
            self._context.instruments.unrecognised(unrecognised, groups)
        return blocks

    def add_to(self, writes: TransactionBatch) -> None:
        """Hand out the records of the output topics, and dead letters."""
        topics = self._context.topics
        decided, self._decided = self._decided, []
        changes = Changes(self._task, decided)
        for output in topics.outputs if changes else ():
            limit = self._context.limits.record_bytes(output.name)
            for key, value in output.kind.records(changes, self._context.watch, limit):
                number = crc32(key) % output.partitions
                writes.add(output.name, number, Record(key, value))
        dead, self._dead, self._dead_bytes = self._dead, [], 0
        for record in dead:
            writes.add(topics.dead_letter, self._task % topics.dead_letter_partitions, record)


def _unrecognised(blocks: Iterable[PartialCounts], groups: StatusGroups) -> Counter[str]:
    """Count the sends in blocks whose status is in no group."""
    found: Counter[str] = Counter()
    for block in blocks:
        for counts in block.windows:
            for column in counts.columns:
                outcome = column.dimensions.outcome
                if outcome not in groups.group_of and not column.dimensions.engagement:
                    found[outcome] += sum(column.counts)
    return found
