"""Requests of Kafka's protocol that aiokafka does not have: how transactions and producers stand.

The fields are those of `DescribeProducersRequest.json` and `DescribeTransactionsRequest.json`, and
of their responses, in Apache Kafka (KIP-664).
"""

from collections.abc import Iterable, Sequence

from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from streams.engine.protocol import NO_TAGS, SingleVersionRequest

_PARTITIONS_BY_TOPIC = CompactArray(
    ("topic", CompactString("utf-8")),
    ("partitions", CompactArray(Int32)),
    ("tags", TaggedFields),
)


class DescribeProducers(SingleVersionRequest):
    """Asks the leader of partitions who writes to them, and since which offset in a transaction.

    The response has, for each partition, an error code and the producers that wrote to it of late.

    Args:
        topics: the partitions, by topic; the broker that is asked leads all of them.
    """

    API_KEY = 61
    API_VERSION = 0
    FLEXIBLE = True
    SCHEMA = Schema(("topics", _PARTITIONS_BY_TOPIC), ("tags", TaggedFields))
    RESPONSE_SCHEMA = Schema(
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

    def __init__(self, topics: Iterable[tuple[str, Sequence[int]]]) -> None:
        super().__init__([(name, partitions, NO_TAGS) for name, partitions in topics], NO_TAGS)


class DescribeTransactions(SingleVersionRequest):
    """Asks the coordinator of transactional ids how their last transactions stand.

    The response has, for each transactional id, an error code, its state and its producer.

    Args:
        transactional_ids: the ids; the broker that is asked coordinates all of them.
    """

    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE = True
    SCHEMA = Schema(
        ("transactional_ids", CompactArray(CompactString("utf-8"))),
        ("tags", TaggedFields),
    )
    RESPONSE_SCHEMA = Schema(
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

    def __init__(self, transactional_ids: Iterable[str]) -> None:
        super().__init__(list(transactional_ids), NO_TAGS)
