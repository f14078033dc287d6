"""The topics: made as they should be, and checked against what is there."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from streams.cancelling import close
from streams.configuration.models import Configuration
from streams.domain import partial_counts
from streams.engine.cluster.message_limits import (
    DEFAULT_BYTES,
    LEAST_BYTES,
    MAX_MESSAGE_BYTES,
    SEGMENT_BYTES,
    MessageLimits,
    topic_settings,
)
from streams.engine.cluster.rights import Right, describe_missing
from streams.errors import RightsError, TopicError

_log = structlog.get_logger(__name__)

RECORD_BYTES = 16 * 1024 * 1024
"""A dead letter is its record and more, so its topic should take more than the source; what is
larger all the same is cut off."""

CLEANUP_POLICY = "cleanup.policy"
TIMESTAMP_TYPE = "message.timestamp.type"

POSITION_BYTES = 120
"""What the changelog topic has at most for a source partition's position, beside the topic's
name."""
MOST_SOURCES = 6_000
"""Partitions of the source topic: every task keeps the event time of each in one record."""

APPEAR_TRIES, APPEAR_WAIT = 50, 0.2
"""How often, and how many seconds apart, to look for a topic that was just made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic as it should be. `fixed`: another number of partitions cannot be worked with."""

    name: str
    setting: str
    fixed: bool
    settings: Mapping[str, str]


def wanted(configuration: Configuration) -> list[Wanted]:
    """Return the topics that a configuration needs."""
    topics = configuration.topics
    # Answers to writes then say what time it is at the broker, and none is refused for its time.
    large = {MAX_MESSAGE_BYTES: str(RECORD_BYTES), TIMESTAMP_TYPE: "LogAppendTime"}
    compact = {**large, CLEANUP_POLICY: "compact", "min.cleanable.dirty.ratio": "0.1"}
    repartition = {**large, CLEANUP_POLICY: "delete", "retention.ms": str(7 * 86_400_000)}
    month = {TIMESTAMP_TYPE: "LogAppendTime", "retention.ms": str(30 * 86_400_000)}
    return [
        Wanted(topics.source, "topics.source", False, {}),
        Wanted(topics.repartition, "topics.repartition", True, repartition),
        Wanted(topics.changelog, "topics.changelog", True, compact),
        Wanted(topics.alerts, "topics.alerts", False, month),
        Wanted(
            topics.dead_letter,
            "topics.dead_letter",
            False,
            {**large, **month, CLEANUP_POLICY: "delete"},
        ),
    ]


class TopicAdmin:
    """Makes and checks topics.

    Args:
        connection: keyword arguments for aiokafka clients.
        configuration: says which topics.
    """

    def __init__(self, connection: Mapping[str, Any], configuration: Configuration) -> None:
        self._connection = connection
        self._configuration = configuration
        names = [each.name for each in wanted(configuration)]
        self.limits = MessageLimits(connection, names)
        """How large records may be, once `prepare` was called."""

    async def prepare(self, *, create: bool) -> dict[str, int]:
        """Make the topics that are missing, if allowed, and check all of them.

        Returns:
            The number of partitions of each topic.

        Raises:
            TopicError: if a topic is missing, has another number of partitions than it must, is
                cleaned up in a way that loses counts, or does not take what is written to it.
        """
        admin = AIOKafkaAdminClient(**self._connection)
        try:
            await admin.start()
            names = [each.name for each in wanted(self._configuration)]
            counts = await _partition_counts(admin, names)
            missing = [each for each in wanted(self._configuration) if each.name not in counts]
            if missing and not create:
                raise TopicError(_missing(missing))
            if missing:
                await self._create(admin, missing, counts)
                counts = await _appeared(admin, names)
            self._check(counts)
            settings = await topic_settings(admin, names)
            self.limits.learn(settings)
            self._check_cleanup(settings)
            self._check_sizes(settings)
        except KafkaError as error:
            raise TopicError(f"topics cannot be made or listed: Kafka answers {error!r}") from error
        finally:
            await close(admin.close())
        return counts

    async def _create(
        self, admin: AIOKafkaAdminClient, missing: list[Wanted], counts: Mapping[str, int]
    ) -> None:
        topics = self._configuration.topics
        tasks = topics.partitions
        if self._configuration.source.keyed:
            tasks = counts.get(topics.source, tasks)
        new = [
            NewTopic(
                each.name,
                tasks if each.fixed else topics.partitions,
                topics.replication_factor,
                topic_configs=dict(each.settings),
            )
            for each in missing
        ]
        response = await admin.create_topics(new)
        for name, code, message, *_ in response.topic_errors:
            error = for_code(code)
            # Another worker that starts at the same moment may have been first.
            if error in {TopicAuthorizationFailedError, ClusterAuthorizationFailedError}:
                user = self._configuration.kafka.sasl.username
                raise RightsError(describe_missing([Right("CREATE", "topic", name)], user))
            if code and error is not TopicAlreadyExistsError:
                raise TopicError(f"topic {name} cannot be made: {message or error.__name__}")

    def _check(self, counts: Mapping[str, int]) -> None:
        expected = self.tasks(counts)
        for each in wanted(self._configuration):
            if each.name not in counts:
                raise TopicError(_missing([each]))
            if each.fixed and counts[each.name] != expected:
                raise TopicError(self._mismatch(each, counts[each.name], expected))
        self._check_source(counts[self._configuration.topics.source], expected)

    def _check_source(self, sources: int, tasks: int) -> None:
        """See that how far the source was read fits into records of the changelog topic."""
        topic = self._configuration.topics.source
        of_task = partial_counts.RECORD_BYTES // (len(topic) + POSITION_BYTES)
        if -(-sources // tasks) > of_task:
            raise TopicError(
                f"topic {topic} has {sources} partitions for {tasks} tasks, but a task can read at "
                f"most {of_task}: raise topics.partitions and count anew, as docs/operations.md "
                "says"
            )
        if sources > MOST_SOURCES:
            raise TopicError(
                f"topic {topic} has {sources} partitions, but must not have more than "
                f"{MOST_SOURCES}: name another topic in topics.source"
            )

    def _check_cleanup(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        for topic in wanted(self._configuration):
            policy = settings.get(topic.name, {}).get(CLEANUP_POLICY)
            right = topic.settings.get(CLEANUP_POLICY)
            if policy is None or right is None:
                continue
            words = {word.strip() for word in policy.split(",")}
            if right == "compact":
                if words != {right}:
                    why = "counts would be lost"
                    raise TopicError(self._unfit(topic, CLEANUP_POLICY, policy, right, why))
            elif "compact" in words:
                why = "its records have no keys"
                raise TopicError(self._unfit(topic, CLEANUP_POLICY, policy, right, why))

    def _check_sizes(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """See that every topic that is written to takes what is written to it."""
        topics = self._configuration.topics
        for topic in wanted(self._configuration):
            found = settings.get(topic.name, {})
            for name in (MAX_MESSAGE_BYTES, SEGMENT_BYTES):
                value = found.get(name)
                if topic.name != topics.source and value and int(value) < LEAST_BYTES:
                    why = "a smaller one refuses what has to be written"
                    raise TopicError(self._unfit(topic, name, value, str(DEFAULT_BYTES), why))
        silent = [
            each.name
            for each in wanted(self._configuration)
            if MAX_MESSAGE_BYTES not in settings.get(each.name, {})
        ]
        if silent:
            _log.info(
                "the broker does not say how large records may be: Kafka's default is assumed",
                topics=silent,
                bytes=DEFAULT_BYTES,
            )
        source, dead = self.limits.of(topics.source), self.limits.of(topics.dead_letter)
        if dead < source:
            _log.warning(
                "records of the source topic can be larger than its dead-letter topic takes: as "
                f"dead letters they are cut off; raise {MAX_MESSAGE_BYTES} there",
                topic=topics.dead_letter,
                bytes=dead,
                source_bytes=source,
            )

    def _unfit(self, topic: Wanted, setting: str, found: str, needed: str, why: str) -> str:
        server = self._configuration.kafka.bootstrap_servers[0]
        right = f"{setting}={needed}"
        return (
            f"topic {topic.name} has {setting}={found}, but must have {right} ({why}): "
            f"run `kafka-configs.sh --bootstrap-server {server} --alter --entity-type topics "
            f"--entity-name {topic.name} --add-config {right}`, "
            f"or name another topic in {topic.setting}"
        )

    def _mismatch(self, topic: Wanted, found: int, expected: int) -> str:
        said = f"topic {topic.name} has {found} partitions, but "
        if self._configuration.source.keyed:
            source = self._configuration.topics.source
            return said + (
                f"{source} has {expected}, and with source.keyed both must have the same: "
                f"name another topic in {topic.setting}"
            )
        return said + (
            f"topics.partitions says {expected}: "
            f"set topics.partitions to {found}, or count anew, as docs/operations.md says"
        )

    def tasks(self, counts: Mapping[str, int]) -> int:
        """Return how many tasks there are, given the topics' numbers of partitions."""
        topics = self._configuration.topics
        return counts[topics.source] if self._configuration.source.keyed else topics.partitions


async def _partition_counts(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    # To ask a broker about a topic that it does not have may make it, as the broker likes it.
    existing = set(await admin.list_topics()) & set(names)
    described = await admin.describe_topics(sorted(existing)) if existing else []
    return {
        each["topic"]: len(each["partitions"])
        for each in described
        if each["error_code"] == 0 and each["partitions"]
    }


async def _appeared(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    """Wait for topics: what was made is not known to every broker at once."""
    for _ in range(APPEAR_TRIES):
        counts = await _partition_counts(admin, names)
        if len(counts) == len(names):
            break
        await asyncio.sleep(APPEAR_WAIT)
    return counts


def _missing(topics: list[Wanted]) -> str:
    names = ", ".join(f"{each.name} ({each.setting})" for each in topics)
    return f"missing topics: {names}: run `campaign-streams topics create`, or set topics.create"
