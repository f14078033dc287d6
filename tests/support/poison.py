"""A worker in which some records, otherwise fine, make the counting of their batch fail.

`python -m tests.support.poison worker …` is `campaign-streams worker …` with that defect: a kind of
error that nobody expected. The product itself has no switch for it.
"""

from collections.abc import Sequence

from streams.__main__ import main
from streams.domain.events import Rejected
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import SourcePartition

MODULE = "tests.support.poison"
POISON = b'"poison":true'
"""What is in a record that makes its batch fail."""

_count = SourcePartition.count


def _fail(
    self: SourcePartition,
    values: Sequence[bytes | None],
    broker_time: int,
    pre_aggregator: PreAggregator,
) -> list[Rejected]:
    rejected = _count(self, values, broker_time, pre_aggregator)
    if any(value is not None and POISON in value for value in values):
        raise OverflowError("a poisoned record")
    return rejected


if __name__ == "__main__":
    SourcePartition.count = _fail  # type: ignore[method-assign]
    main()
