"""The topics: made as they should be, and checked against what is there."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

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
    SEGMENT_BYTES,
    MessageLimits,
    topic_settings,
)
from streams.engine.cluster.rights import Right, describe_missing
from streams.errors import RightsError, TopicError
from streams.outputs.topics import CLEANUP_POLICY, MAX_MESSAGE_BYTES, Topic

_log = structlog.get_logger(__name__)

_Named: TypeAlias = tuple[Topic, str]
"""A topic, and its name in the configuration."""

POSITION_BYTES = 120
"""What the changelog topic has at most for a source partition's position, beside the topic's
name."""
MOST_SOURCES = 6_000
"""Partitions of the source topic: every task keeps the event time of each in one record."""

APPEAR_TRIES, APPEAR_WAIT = 50, 0.2
"""How often, and how many seconds apart, to look for a topic that was just made."""


class TopicAdmin:
    """Makes and checks topics.

    Args:
        connection: keyword arguments for aiokafka clients.
        configuration: says which topics.
    """

    def __init__(self, connection: Mapping[str, Any], configuration: Configuration) -> None:
        self._connection = connection
        self._configuration = configuration
        self._named = configuration.topics.named()
        names = [name for _, name in self._named]
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
            names = [name for _, name in self._named]
            counts = await _partition_counts(admin, names)
            missing = [(topic, name) for topic, name in self._named if name not in counts]
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
        self, admin: AIOKafkaAdminClient, missing: list[_Named], counts: Mapping[str, int]
    ) -> None:
        topics = self._configuration.topics
        tasks = topics.partitions
        if self._configuration.source.keyed:
            tasks = counts.get(topics.source, tasks)
        new = [
            NewTopic(
                name,
                tasks if topic.one_a_task else topic.partitions or topics.partitions,
                topics.replication_factor,
                topic_configs=dict(topic.settings),
            )
            for topic, name in missing
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
        for topic, name in self._named:
            if name not in counts:
                raise TopicError(_missing([(topic, name)]))
            if topic.one_a_task and counts[name] != expected:
                raise TopicError(self._mismatch((topic, name), counts[name], expected))
        self._check_source(counts[self._configuration.topics.source], expected)

    def _check_source(self, sources: int, tasks: int) -> None:
        """Check that the positions of the source topic fit into a record of the changelog."""
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
        for topic, name in self._named:
            policy = settings.get(name, {}).get(CLEANUP_POLICY)
            right = topic.settings.get(CLEANUP_POLICY)
            if policy is None or right is None:
                continue
            words = {word.strip() for word in policy.split(",")}
            fits = words == {right} if right == "compact" else "compact" not in words
            if not fits:
                found = CLEANUP_POLICY, policy, right
                raise TopicError(self._unfit((topic, name), *found, topic.unfit))

    def _check_sizes(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Check that every topic takes records as large as those that are written to it."""
        topics = self._configuration.topics
        for topic, name in self._named:
            found = settings.get(name, {})
            for key in (MAX_MESSAGE_BYTES, SEGMENT_BYTES):
                value = found.get(key)
                if "WRITE" in topic.rights and value and int(value) < LEAST_BYTES:
                    why = "a smaller one refuses what has to be written"
                    wrong = key, value, str(DEFAULT_BYTES)
                    raise TopicError(self._unfit((topic, name), *wrong, why))
        silent = [
            name for _, name in self._named if MAX_MESSAGE_BYTES not in settings.get(name, {})
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

    def _unfit(self, named: _Named, setting: str, found: str, needed: str, why: str) -> str:
        topic, name = named
        server = self._configuration.kafka.bootstrap_servers[0]
        right = f"{setting}={needed}"
        return (
            f"topic {name} has {setting}={found}, but must have {right} ({why}): "
            f"run `kafka-configs.sh --bootstrap-server {server} --alter --entity-type topics "
            f"--entity-name {name} --add-config {right}`, "
            f"or name another topic in {topic.setting}"
        )

    def _mismatch(self, named: _Named, found: int, expected: int) -> str:
        topic, name = named
        said = f"topic {name} has {found} partitions, but "
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
    """Wait for topics: a new topic is not known to every broker at once."""
    for _ in range(APPEAR_TRIES):
        counts = await _partition_counts(admin, names)
        if len(counts) == len(names):
            break
        await asyncio.sleep(APPEAR_WAIT)
    return counts


def _missing(topics: list[_Named]) -> str:
    names = ", ".join(f"{name} ({topic.setting})" for topic, name in topics)
    return f"missing topics: {names}: run `campaign-streams topics create`, or set topics.create"
