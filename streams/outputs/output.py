"""What an output topic is: a topic that other systems read, written in the tasks' transactions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from streams.domain.emission import WindowResult
from streams.domain.partition_settings import PartitionSettings
from streams.domain.transitions import Transition
from streams.outputs.topics import Topic


class Keyed(NamedTuple):
    """A record of an output topic; the key decides its partition."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """What one commit of one task changes.

    Args:
        partition: the task's number, which is that of its partition of campaigns.
        transitions: of alerts, in the order in which they were decided.
        results: of closed windows, where an output topic `reads_windows`.
    """

    partition: int
    transitions: Sequence[Transition] = ()
    results: Sequence[WindowResult] = ()

    def __bool__(self) -> bool:
        """Tell whether there is anything to write about."""
        return bool(self.transitions or self.results)


Records: TypeAlias = Callable[[Changes, PartitionSettings, int], Iterator[Keyed]]
"""Makes records of changes, given what is counted and the size (bytes) that a record may have."""


@dataclass(frozen=True, slots=True)
class OutputTopic:
    """An output topic.

    Args:
        topic: what it is made with.
        schema: the last part of the path at which the API publishes the JSON Schema of its values.
        json_schema: makes that schema.
        describes: what has that schema, in words.
        records: makes its records of what a commit changes. They are written in the transaction of
            that commit, in their order.
        reads_windows: whether `records` needs the results of closed windows; they are not made
            unless a topic that is named needs them.
    """

    topic: Topic
    schema: str
    json_schema: Callable[[], dict[str, object]]
    describes: str
    records: Records
    reads_windows: bool = False
