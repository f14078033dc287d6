"""Which rights (ACLs) a worker needs on Kafka, and which of them it lacks.

A broker says of topics and of groups what the client that asks may do with them (KIP-430); a
cluster without an authorizer grants everything. It describes no transactional
ids that way, but checks rights before anything else: so it is asked to end a transaction that does
not exist.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from streams.cancelling import close
from streams.configuration.models import Configuration
from streams.engine.protocol import SingleVersionRequest
from streams.engine.transactions.admin import NOT_NOW, UNSUPPORTED
from streams.errors import BrokerUnavailableError, RightsError

OPERATIONS = {
    "READ": 3,
    "WRITE": 4,
    "CREATE": 5,
    "DESCRIBE": 8,
    "IDEMPOTENT_WRITE": 12,
}
"""The bits in which a broker says what is allowed (`AclOperation` in Apache Kafka)."""
NOT_SAID = -(2**31)
ANSWER_WITHIN = 5.0
"""Seconds for one request."""
TRIES = 3
COORDINATOR_PAUSES = (0.1, 0.3, 0.5, 1.0, 1.0, 1.0)
"""Seconds between attempts to find a group's coordinator."""
_NO_PRODUCER = 2**62
REFUSALS = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""Errors that mean that a right is missing."""


class Right(NamedTuple):
    """An operation that a client may be allowed on a resource.

    Args:
        operation: as Kafka names it, such as READ.
        kind: of the resource: topic, group, transactional-id or cluster.
        name: of the resource.
    """

    operation: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.operation} on {self.kind} {self.name}"


def needed_rights(configuration: Configuration, tasks: Sequence[int]) -> list[Right]:
    """Return the rights that a worker needs once its topics exist, for these of its tasks."""
    topics, kafka = configuration.topics, configuration.kafka
    rights = [
        *(
            Right(operation, "topic", name)
            for topic, name in topics.named()
            for operation in topic.rights
        ),
        Right("READ", "group", kafka.group_id),
    ]
    if kafka.guarantee == "exactly-once":
        ids = (transactional_id(kafka.group_id, task) for task in tasks)
        rights += [Right("WRITE", "transactional-id", each) for each in ids]
    return rights


def transactional_id(group_id: str, task: int) -> str:
    """Return the transactional id with which a task writes."""
    return f"{group_id}-task-{task}"


async def check_rights(
    connection: Mapping[str, Any], configuration: Configuration, tasks: Sequence[int]
) -> None:
    """Check that a worker has the rights that it needs.

    Topics that do not exist yet are passed over.

    Raises:
        RightsError: names the rights that are missing, and the command that grants the first.
        BrokerUnavailableError: the brokers have no transactions, and `exactly-once` needs them.
        KafkaError: the brokers do not answer.
    """
    missing = await missing_rights(connection, needed_rights(configuration, tasks))
    if missing:
        raise RightsError(describe_missing(missing, configuration.kafka.sasl.username))


def describe_missing(missing: Sequence[Right], user: str | None) -> str:
    """Return one line: the rights that a client lacks, and the command that grants the first."""
    first = missing[0]
    ids = [each for each in missing if each.kind == "transactional-id"]
    others = [each for each in missing if each.kind != "transactional-id"]
    names = "; ".join([*map(str, others), *_joined(ids)])
    operation = "".join(word.capitalize() for word in first.operation.split("_"))
    where = "--cluster" if first.kind == "cluster" else f"--{first.kind} {first.name}"
    return (
        f"Kafka does not give {f'user {user}' if user else 'this client'} the right to {names}: "
        f"grant it, as docs/acls.md says (kafka-acls.sh --add --allow-principal User:{user or '…'} "
        f"--operation {operation} {where})"
    )


def _joined(ids: Sequence[Right]) -> list[str]:
    if not ids:
        return []
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    return [f"{ids[0]}{more}"]


async def missing_rights(connection: Mapping[str, Any], rights: Sequence[Right]) -> list[Right]:
    """Return the rights that the brokers do not grant; those of which they say nothing are granted.

    Raises:
        BrokerUnavailableError: the brokers have no transactions, and rights on some are asked for.
        KafkaError: the brokers do not answer.
    """
    async with _connected(connection) as client:
        missing = await _missing_on_topics(client, _of("topic", rights))
        missing += await _missing_on_groups(client, _of("group", rights))
        missing += await _missing_on_ids(client, _of("transactional-id", rights))
    return missing


def _of(kind: str, rights: Iterable[Right]) -> list[Right]:
    return [each for each in rights if each.kind == kind]


@asynccontextmanager
async def _connected(connection: Mapping[str, Any]) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(**connection, request_timeout_ms=int(ANSWER_WITHIN * 1000))
    try:
        await client.bootstrap()
        yield client
    finally:
        await close(client.close())


async def _missing_on_topics(client: AIOKafkaClient, rights: Sequence[Right]) -> list[Right]:
    names = list(dict.fromkeys(each.name for each in rights))
    try:
        answer = await client.send(client.get_random_node(), TopicRights(names))
    except UNSUPPORTED:
        return []
    return [
        right
        for code, name, _, _, allowed in answer.topics
        for right in rights
        if right.name == name and _is_missing(code, TopicAuthorizationFailedError, allowed, right)
    ]


async def _missing_on_groups(client: AIOKafkaClient, rights: Sequence[Right]) -> list[Right]:
    try:
        answers = [await _describe_group(client, each.name) for each in rights]
    except GroupAuthorizationFailedError:
        return list(rights)
    except (*UNSUPPORTED, *NOT_NOW):
        # It cannot be asked, or not now: opening a task will fail with the reason.
        return []
    return [
        right
        for answer, right in zip(answers, rights, strict=True)
        for code, *_, allowed in answer.groups
        if _is_missing(code, GroupAuthorizationFailedError, allowed, right)
    ]


async def _describe_group(client: AIOKafkaClient, group: str) -> Any:
    for pause in COORDINATOR_PAUSES:
        # A new cluster makes its topic of groups when somebody asks for the first one.
        with contextlib.suppress(*NOT_NOW):
            return await _ask_coordinator(client, group)
        await asyncio.sleep(pause)
    return await _ask_coordinator(client, group)


async def _ask_coordinator(client: AIOKafkaClient, group: str) -> Any:
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    answer = await client.send(node, GroupRights(group))
    for code, *_ in answer.groups:
        if for_code(code) in NOT_NOW:
            raise for_code(code)
    return answer


def _is_missing(code: int, refusal: type[KafkaError], allowed: int, right: Right) -> bool:
    if code:
        return for_code(code) is refusal
    return allowed != NOT_SAID and not allowed & 1 << OPERATIONS[right.operation]


async def _missing_on_ids(client: AIOKafkaClient, rights: Sequence[Right]) -> list[Right]:
    return [right for right in rights if not await _may_write(client, right.name)]


async def _may_write(client: AIOKafkaClient, transactional_id: str) -> bool:
    """Tell whether transactions may be written with an id: whoever may not is refused first."""
    request = EndTxnRequest(transactional_id, _NO_PRODUCER, 0, False)
    for attempt in range(1, TRIES + 1):
        try:
            answer = await client.send(client.get_random_node(), request)
        except KafkaConnectionError as error:
            if attempt == TRIES:
                raise BrokerUnavailableError(
                    "Kafka closes the connection when it is asked about transactions: a broker "
                    "without transactions needs kafka.guarantee: at-least-once"
                ) from error
            await asyncio.sleep(attempt / TRIES)
        else:
            return for_code(answer.error_code) is not TransactionalIdAuthorizationFailed
    raise AssertionError


class TopicRights(SingleVersionRequest):
    """Asks what may be done with topics; makes none.

    The schemas are version 8 of `MetadataRequest.json` and `MetadataResponse.json` in Apache Kafka.

    Args:
        names: of the topics.
    """

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )
    RESPONSE_SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(list(names), False, False, True)


class GroupRights(SingleVersionRequest):
    """Asks the coordinator of a consumer group what may be done with it.

    The schema is version 3 of `DescribeGroupsRequest.json` in Apache Kafka: aiokafka 0.14 has that
    request with the response of version 2, which leaves out what is allowed.

    Args:
        group: the group.
    """

    API_KEY = 15
    API_VERSION = 3
    SCHEMA = Schema(
        ("groups", Array(String("utf-8"))),
        ("include_authorized_operations", Boolean),
    )
    RESPONSE_SCHEMA = DescribeGroupsResponse_v3.SCHEMA

    def __init__(self, group: str) -> None:
        super().__init__([group], True)
