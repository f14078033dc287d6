"""Requests of Kafka's protocol that aiokafka does not have: which log a partition's records are in.

A topic that is deleted and made anew keeps its name and gets another id (KIP-516); a log that was
cut off goes on with another leader epoch (KIP-101, KIP-320). The fields are those of
`FetchRequest.json`, `MetadataRequest.json` and `OffsetForLeaderEpochRequest.json`, and of their
responses, in Apache Kafka.
"""

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import NamedTuple
from uuid import UUID

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from streams.engine.protocol import NO_TAGS, SingleVersionRequest

NO_ID = UUID(int=0)
"""The topic id in answers of a broker without topic ids."""
NO_EPOCH = -1
"""The leader epoch of a record or log whose epoch is not known."""


class Uuid(AbstractType[UUID]):  # type: ignore[misc] # aiokafka has no types
    """A field of 16 bytes."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        """Return the bytes of a value."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        """Read a value."""
        return UUID(bytes=data.read(16))


class Wanted(NamedTuple):
    """One partition in a fetch.

    Args:
        partition: its number.
        offset: of the first record to fetch.
        epoch: the leader epoch of the record before that offset; `NO_EPOCH` if it is not known.
        max_bytes: the most bytes of records to fetch.
    """

    partition: int
    offset: int
    epoch: int
    max_bytes: int


class FetchById(SingleVersionRequest):
    """Fetches records of topics by their ids.

    Tag 0 of a partition in the response says where its log diverges from what the client has read.

    Args:
        max_wait_ms: the most milliseconds that the broker waits for `min_bytes`.
        min_bytes: the fewest bytes of records that the broker answers with before `max_wait_ms`.
        max_bytes: the most bytes of records in the answer, of all partitions together.
        isolation_level: 1 to read committed records alone, 0 to read all.
        topics: pairs of a topic's id and the partitions to fetch of that topic.
        rack_id: the client's rack.
    """

    API_KEY = 1
    API_VERSION = 13
    FLEXIBLE = True
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_time", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("last_fetched_epoch", Int32),
                        ("log_start_offset", Int64),
                        ("max_bytes", Int32),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        (
            "forgotten_topics_data",
            CompactArray(
                ("topic_id", Uuid), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", TaggedFields),
    )
    RESPONSE_SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("highwater_offset", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        (
                            "aborted_transactions",
                            CompactArray(
                                ("producer_id", Int64),
                                ("first_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("preferred_read_replica", Int32),
                        ("message_set", CompactBytes),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of the request
        self,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        isolation_level: int,
        topics: Iterable[tuple[UUID, Sequence[Wanted]]],
        rack_id: str,
    ) -> None:
        head = (-1, max_wait_ms, min_bytes, max_bytes, isolation_level, 0, -1)
        by_id = [
            (
                topic_id,
                [
                    (number, NO_EPOCH, offset, epoch, -1, most, NO_TAGS)
                    for number, offset, epoch, most in wanted
                ],
                NO_TAGS,
            )
            for topic_id, wanted in topics
        ]
        super().__init__(*head, by_id, [], rack_id, NO_TAGS)


class DescribeTopics(SingleVersionRequest):
    """Asks any broker for the ids and leaders of topics, without making those that are missing.

    Args:
        names: the topics.
    """

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE = True
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )
    RESPONSE_SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__([(NO_ID, name, NO_TAGS) for name in names], False, False, NO_TAGS)


class EpochEnds(SingleVersionRequest):
    """Asks the leader of partitions where leader epochs end in its logs.

    The response has, for each partition, the last epoch up to the given one, and the offset at its
    end.

    Args:
        topics: pairs of a partition and an epoch, by topic; the broker leads all of them.
    """

    API_KEY = 23
    API_VERSION = 3
    SCHEMA = Schema(
        ("replica_id", Int32),
        (
            "topics",
            Array(
                ("name", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("leader_epoch", Int32),
                    ),
                ),
            ),
        ),
    )
    RESPONSE_SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("name", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_epoch", Int32),
                        ("end_offset", Int64),
                    ),
                ),
            ),
        ),
    )

    def __init__(self, topics: Iterable[tuple[str, Iterable[tuple[int, int]]]]) -> None:
        asked = [
            (name, [(partition, NO_EPOCH, epoch) for partition, epoch in epochs])
            for name, epochs in topics
        ]
        super().__init__(-1, asked)
