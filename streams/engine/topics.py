"""The topics: made as they should be, and checked against what is there."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.configuration.models import Configuration
from streams.errors import TopicError

RECORD_BYTES = 16 * 1024 * 1024
"""A dead letter is its record and more, and must fit where the record did; the counts of one
campaign and window can be as large, where there are many names or long ones."""

CLEANUP_POLICY = "cleanup.policy"

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
    large = {"max.message.bytes": str(RECORD_BYTES)}
    compact = {**large, CLEANUP_POLICY: "compact", "min.cleanable.dirty.ratio": "0.1"}
    hop = {**large, CLEANUP_POLICY: "delete", "retention.ms": str(7 * 86_400_000)}
    month = {"retention.ms": str(30 * 86_400_000)}
    return [
        Wanted(topics.source, "topics.source", False, {}),
        Wanted(topics.keyed, "topics.keyed", True, hop),
        Wanted(topics.state, "topics.state", True, compact),
        Wanted(topics.alerts, "topics.alerts", False, month),
        Wanted(topics.dead_letter, "topics.dead_letter", False, {**large, **month}),
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

    async def prepare(self, *, create: bool) -> dict[str, int]:
        """Make the topics that are missing, if allowed, and check all of them.

        Returns:
            The number of partitions of each topic.

        Raises:
            TopicError: if a topic is missing, has another number of partitions than it must, or is
                cleaned up in a way that loses counts.
        """
        admin = AIOKafkaAdminClient(**self._connection)
        await admin.start()
        try:
            names = [each.name for each in wanted(self._configuration)]
            counts = await _partition_counts(admin, names)
            missing = [each for each in wanted(self._configuration) if each.name not in counts]
            if missing and not create:
                raise TopicError(_missing(missing))
            if missing:
                await self._create(admin, missing, counts)
                counts = await _appeared(admin, names)
            self._check(counts)
            await self._check_cleanup(admin)
        except KafkaError as error:
            raise TopicError(f"topics cannot be made or listed: {error!r}") from error
        finally:
            await admin.close()
        return counts

    async def _create(
        self, admin: AIOKafkaAdminClient, missing: list[Wanted], counts: Mapping[str, int]
    ) -> None:
        topics = self._configuration.topics
        lanes = topics.partitions
        if self._configuration.source.keyed:
            lanes = counts.get(topics.source, lanes)
        new = [
            NewTopic(
                each.name,
                lanes if each.fixed else topics.partitions,
                topics.replication_factor,
                topic_configs=dict(each.settings),
            )
            for each in missing
        ]
        response = await admin.create_topics(new)
        for name, code, message, *_ in response.topic_errors:
            error = for_code(code)
            # Another worker that starts at the same moment may have been first.
            if code and error is not TopicAlreadyExistsError:
                raise TopicError(f"topic {name} cannot be made: {message or error.__name__}")

    def _check(self, counts: Mapping[str, int]) -> None:
        expected = self.lanes(counts)
        for each in wanted(self._configuration):
            if each.name not in counts:
                raise TopicError(_missing([each]))
            if each.fixed and counts[each.name] != expected:
                raise TopicError(self._mismatch(each, counts[each.name], expected))

    async def _check_cleanup(self, admin: AIOKafkaAdminClient) -> None:
        ours = {each.name: each for each in wanted(self._configuration) if each.fixed}
        for name, policy in (await _cleanup_policies(admin, list(ours))).items():
            words = {word.strip() for word in policy.split(",")}
            if name == self._configuration.topics.state:
                if words != {"compact"}:
                    raise TopicError(self._unclean(ours[name], policy, "counts would be lost"))
            elif "compact" in words:
                raise TopicError(self._unclean(ours[name], policy, "its records have no keys"))

    def _unclean(self, topic: Wanted, found: str, why: str) -> str:
        server = self._configuration.kafka.bootstrap_servers[0]
        right = f"{CLEANUP_POLICY}={topic.settings[CLEANUP_POLICY]}"
        return (
            f"topic {topic.name} has {CLEANUP_POLICY}={found}, but must have {right} ({why}): "
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

    def lanes(self, counts: Mapping[str, int]) -> int:
        """Return how many lanes there are, given the topics' numbers of partitions."""
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


async def _cleanup_policies(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, str]:
    """Ask how topics are cleaned up; those of which the broker does not tell are left out."""
    # All of a topic's settings: the embedded broker tells nothing to those who name one.
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        (response,) = await admin.describe_configs(asked)
    except KafkaError:
        # Not every broker can be asked.
        return {}
    # A topic that this client may not ask about has an error, and no entries.
    return {
        topic: value
        for _, _, _, topic, entries in response.resources
        for setting, value, *_ in entries
        if setting == CLEANUP_POLICY and value is not None
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
