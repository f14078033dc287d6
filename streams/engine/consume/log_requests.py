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
from aiokafka.protocol.api import Request, RequestStruct, Response
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

_NO_TAGS: dict[int, bytes] = {}
NO_ID = UUID(int=0)
"""What a broker without topic ids says."""
NO_EPOCH = -1
"""What stands for an epoch that is not known."""


class Uuid(AbstractType[UUID]):  # type: ignore[misc] # aiokafka has no types
    """16 bytes."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        """Write it."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        """Read it."""
        return UUID(bytes=data.read(16))


class FetchByIdResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """Records, by topic id.

    Tag 0 of a partition says where its log diverges from what the client has read.
    """

    API_KEY = 1
    API_VERSION = 13
    SCHEMA = Schema(
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


class FetchByIdRequest(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """As it is sent."""

    FLEXIBLE_VERSION = True
    API_KEY = 1
    API_VERSION = 13
    RESPONSE_TYPE = FetchByIdResponse
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


class Wanted(NamedTuple):
    """What is asked of one partition.

    Args:
        partition: its number.
        offset: the first that is wanted.
        epoch: the leader epoch of the record before it; -1 if it is not known.
        max_bytes: the most that is wanted.
    """

    partition: int
    offset: int
    epoch: int
    max_bytes: int


class FetchById(Request[FetchByIdRequest]):  # type: ignore[misc] # aiokafka has no types
    """Fetches records of topics by their ids.

    Args:
        max_wait_ms: how long the broker may wait for the first byte.
        min_bytes: how many bytes are worth an answer.
        max_bytes: the most that is wanted altogether.
        isolation_level: 1 to read what is committed, else 0.
        topics: what is wanted of each, by id.
        rack_id: where the client is.
    """

    API_KEY = 1

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of the request
        self,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        isolation_level: int,
        topics: Iterable[tuple[UUID, Sequence[Wanted]]],
        rack_id: str,
    ) -> None:
        self._head = (-1, max_wait_ms, min_bytes, max_bytes, isolation_level, 0, -1)
        self._topics = [
            (
                topic_id,
                [
                    (number, NO_EPOCH, offset, epoch, -1, most, _NO_TAGS)
                    for number, offset, epoch, most in wanted
                ],
                _NO_TAGS,
            )
            for topic_id, wanted in topics
        ]
        self._rack_id = rack_id

    def build(self, request_struct_class: type[FetchByIdRequest]) -> FetchByIdRequest:
        """Put the request together."""
        return request_struct_class(*self._head, self._topics, [], self._rack_id, _NO_TAGS)


class DescribeTopicsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """For each topic its id and partitions."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
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


class DescribeTopicsRequest(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """As it is sent."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = DescribeTopicsResponse
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


class DescribeTopics(Request[DescribeTopicsRequest]):  # type: ignore[misc] # aiokafka has no types
    """Asks any broker for the ids and leaders of topics, without making those that are missing.

    Args:
        names: the topics.
    """

    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._topics = [(NO_ID, name, _NO_TAGS) for name in names]

    def build(self, request_struct_class: type[DescribeTopicsRequest]) -> DescribeTopicsRequest:
        """Put the request together."""
        return request_struct_class(self._topics, False, False, _NO_TAGS)


class EpochEndsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """For each partition, the last epoch up to the given one, and the offset at its end."""

    API_KEY = 23
    API_VERSION = 3
    SCHEMA = Schema(
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


class EpochEndsRequest(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """As it is sent."""

    API_KEY = 23
    API_VERSION = 3
    RESPONSE_TYPE = EpochEndsResponse
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


class EpochEnds(Request[EpochEndsRequest]):  # type: ignore[misc] # aiokafka has no types
    """Asks the leader of partitions where leader epochs end in its logs.

    Args:
        topics: pairs of a partition and an epoch, by topic; the broker leads all of them.
    """

    API_KEY = 23

    def __init__(self, topics: Iterable[tuple[str, Iterable[tuple[int, int]]]]) -> None:
        self._topics = [
            (name, [(partition, NO_EPOCH, epoch) for partition, epoch in epochs])
            for name, epochs in topics
        ]

    def build(self, request_struct_class: type[EpochEndsRequest]) -> EpochEndsRequest:
        """Put the request together."""
        return request_struct_class(-1, self._topics)
