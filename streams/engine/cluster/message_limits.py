"""How large a record may be: what a topic's settings say, asked before anything is written.

Kafka's limit (`max.message.bytes`) is for a batch as it is stored, so a record has to leave room
for what is added to it: the batch's header, and what a topic with a `compression.type` of its own
may make of bytes that cannot be compressed. A batch also has to fit into a segment.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from streams.cancelling import close
from streams.outputs.topics import MAX_MESSAGE_BYTES

_log = structlog.get_logger(__name__)

SEGMENT_BYTES = "segment.bytes"
DEFAULT_BYTES = 1_048_588
"""Kafka's default of `max.message.bytes`; what is assumed of a broker that does not say."""
LEAST_BYTES = 640 * 1024
"""What every topic that is written to has to take: a batch (`BATCH_BYTES`) with some room."""


async def topic_settings(
    admin: AIOKafkaAdminClient, names: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Ask for topics' settings; those of which the broker does not say are left out."""
    # All of a topic's settings: the embedded broker says nothing to those who name one.
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        responses = await admin.describe_configs(asked)
    except KafkaError:
        # Not every broker can be asked.
        return {}
    # A topic that this client may not ask about has an error, and no entries.
    return {
        topic: {setting: value for setting, value, *_ in entries if value is not None}
        for response in responses
        for _, _, _, topic, entries in response.resources
    }


class MessageLimits:
    """The largest batch that each topic takes, in bytes.

    Args:
        connection: keyword arguments for aiokafka clients.
        topics: which topics.

    Attributes:
        outdated: whether a broker refused a record as too large, so that the settings have to be
            read again.
    """

    def __init__(self, connection: Mapping[str, Any], topics: Iterable[str]) -> None:
        self._connection = connection
        self._topics = tuple(topics)
        self._bytes: dict[str, int] = {}
        self.outdated = False

    def of(self, topic: str) -> int:
        """Return the largest batch that a topic takes."""
        return self._bytes.get(topic, DEFAULT_BYTES)

    def record_bytes(self, topic: str) -> int:
        """Return how large a record may be, alone in its batch: key, value and headers."""
        largest = self.of(topic)
        return largest - largest // 16 - 1024

    def learn(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Take in what topics' settings say."""
        self.outdated = False
        for topic, found in settings.items():
            sizes = [found[name] for name in (MAX_MESSAGE_BYTES, SEGMENT_BYTES) if name in found]
            if sizes:
                self._bytes[topic] = min(map(int, sizes))

    async def refresh(self) -> None:
        """Read the settings again, if a broker refused a record as too large.

        Raises:
            KafkaError: if there is no broker to ask.
        """
        if not self.outdated:
            return
        admin = AIOKafkaAdminClient(**self._connection)
        try:
            await admin.start()
            self.learn(await topic_settings(admin, self._topics))
        finally:
            await close(admin.close())
        _log.warning(
            "a broker refused a record as too large: the topics' settings were read again",
            **{name: self.of(name) for name in self._topics},
        )
