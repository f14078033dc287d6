"""Requests of Kafka's protocol that aiokafka does not have: how transactions and producers stand.

The fields are those of `DescribeProducersRequest.json` and `DescribeTransactionsRequest.json`, and
of their responses, in Apache Kafka (KIP-664).
"""

from collections.abc import Iterable, Sequence

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_NO_TAGS: dict[int, bytes] = {}
_PARTITIONS_BY_TOPIC = CompactArray(
    ("topic", CompactString("utf-8")),
    ("partitions", CompactArray(Int32)),
    ("tags", TaggedFields),
)


class DescribeProducersResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """For each partition, its error code and the producers that wrote to it of late."""

    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("transaction_start_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """As it is sent."""

    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = DescribeProducersResponse
    SCHEMA = Schema(("topics", _PARTITIONS_BY_TOPIC), ("tags", TaggedFields))


class DescribeProducers(Request[DescribeProducersRequest]):  # type: ignore[misc] # aiokafka has no types
    """Asks the leader of partitions who writes to them, and since which offset in a transaction.

    Args:
        topics: the partitions, by topic; the broker that is asked leads all of them.
    """

    API_KEY = 61

    def __init__(self, topics: Iterable[tuple[str, Sequence[int]]]) -> None:
        self._topics = [(name, partitions, _NO_TAGS) for name, partitions in topics]

    def build(
        self, request_struct_class: type[DescribeProducersRequest]
    ) -> DescribeProducersRequest:
        """Put the request together."""
        return request_struct_class(self._topics, _NO_TAGS)


class DescribeTransactionsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """For each transactional id, its error code, state and producer."""

    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", CompactString("utf-8")),
                ("state", CompactString("utf-8")),
                ("timeout_ms", Int32),
                ("start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("topics", _PARTITIONS_BY_TOPIC),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeTransactionsRequest(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """As it is sent."""

    FLEXIBLE_VERSION = True
    API_KEY = 65
    API_VERSION = 0
    RESPONSE_TYPE = DescribeTransactionsResponse
    SCHEMA = Schema(
        ("transactional_ids", CompactArray(CompactString("utf-8"))),
        ("tags", TaggedFields),
    )


class DescribeTransactions(Request[DescribeTransactionsRequest]):  # type: ignore[misc] # aiokafka has no types
    """Asks the coordinator of transactional ids how their last transactions stand.

    Args:
        transactional_ids: the ids; the broker that is asked coordinates all of them.
    """

    API_KEY = 65

    def __init__(self, transactional_ids: Iterable[str]) -> None:
        self._transactional_ids = list(transactional_ids)

    def build(
        self, request_struct_class: type[DescribeTransactionsRequest]
    ) -> DescribeTransactionsRequest:
        """Put the request together."""
        return request_struct_class(self._transactional_ids, _NO_TAGS)
