"""What all tasks of a worker share: topics, settings, clock, and who is notified of their work."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from aiokafka.structs import TopicPartition

from streams.configuration.kafka import TopicSettings
from streams.domain.campaigns import Campaigns
from streams.domain.partition import EvaluationFailure
from streams.domain.partition_settings import PartitionSettings
from streams.domain.sources import IngestSettings
from streams.engine.cluster.message_limits import MessageLimits
from streams.engine.produce.broker_clock import BrokerClock, known_clock
from streams.engine.tasks.events import TaskEvents
from streams.outputs.output import OutputTopic
from streams.outputs.registry import OUTPUTS
from streams.outputs.topics import CHANGELOG, DEAD_LETTER, GROUPS, REPARTITION


class Output(NamedTuple):
    """An output topic that is used: its name, and how many partitions it has."""

    kind: OutputTopic
    name: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics' names, and how many partitions those have that any task may write to."""

    source: str
    repartition: str
    changelog: str
    dead_letter: str
    dead_letter_partitions: int
    outputs: tuple[Output, ...]
    groups: str = "groups"
    group_partitions: int = 1

    @classmethod
    def of(cls, settings: TopicSettings, partition_counts: Mapping[str, int]) -> Self:
        """Return the topics of a configuration, given how many partitions each of them has."""
        named = [(output, settings.name_of(output.topic)) for output in OUTPUTS]
        return cls(
            settings.source,
            settings.repartition,
            settings.changelog,
            settings.dead_letter,
            partition_counts[settings.dead_letter],
            tuple(
                Output(kind, name, partition_counts[name])
                for kind, name in named
                if name is not None
            ),
            settings.groups,
            partition_counts[settings.groups],
        )

    def written(self) -> Iterator[tuple[str, str, int]]:
        """Yield the topics that tasks write to: setting, name, how many partitions it must have.

        A task uses its own partition of the repartition and of the changelog topic; these are
        checked elsewhere, and need none here.
        """
        yield REPARTITION.setting, self.repartition, 0
        yield CHANGELOG.setting, self.changelog, 0
        for output in self.outputs:
            yield output.kind.topic.setting, output.name, output.partitions
        yield GROUPS.setting, self.groups, self.group_partitions
        yield DEAD_LETTER.setting, self.dead_letter, self.dead_letter_partitions


class Instruments(Protocol):
    """Is notified of what happens in a task beside its commits."""

    def evaluation_failed(self, failures: Iterable[EvaluationFailure]) -> None:
        """Rules could not be evaluated for campaigns, whether or not anything is committed."""

    def commit_failed(self, outcome: str) -> None:
        """A transaction was not committed: `refused` by a broker for a record, or `failed`."""

    def records_lost(self, partition: TopicPartition, cause: str, records: int) -> None:
        """Records, as far as is known, cannot be read any more, and were not."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What all tasks of a worker share.

    Args:
        topics: the topics that tasks read and write.
        repartitions: whether partial counts go to the tasks of their campaigns; otherwise the
            source topic is keyed by campaign, and each task keeps its own.
        ingest_settings: how records of the source topic are read.
        settings: what is counted, which rules are evaluated and who is notified.
        now: the broker's time (s, UTC), as far as it is known.
        instruments: are notified of what happens beside commits.
        events: passes each commit on.
        campaigns: the campaigns that any task has counted.
        limits: the largest record that each topic takes.
        clock: where `now` comes from.
    """

    topics: Topics
    repartitions: bool
    ingest_settings: IngestSettings
    settings: PartitionSettings
    now: Callable[[], float]
    instruments: Instruments
    events: TaskEvents
    campaigns: Campaigns
    limits: MessageLimits
    clock: BrokerClock = field(default_factory=known_clock)

    def written_by(self, task: int, tasks: int) -> list[TopicPartition]:
        """Return the partitions that one of `tasks` tasks may write to; its changelog is first."""
        topics = self.topics
        return [
            TopicPartition(topics.changelog, task),
            *(
                TopicPartition(topics.repartition, n)
                for n in (range(tasks) if self.repartitions else (task,))
            ),
            *(
                TopicPartition(output.name, n)
                for output in topics.outputs
                for n in range(output.partitions)
            ),
            TopicPartition(topics.groups, task % topics.group_partitions),
            TopicPartition(topics.dead_letter, task % topics.dead_letter_partitions),
        ]
