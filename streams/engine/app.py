"""The Faust app: two agents, which hand whole batches to the tasks."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer
from faust.app.base import BootStrategy
from faust.types import StreamT

from streams.configuration.kafka import KafkaSettings
from streams.configuration.models import Configuration
from streams.engine.consume.fetching import WholeBatchConsumer
from streams.engine.consume.group import GroupConsumer
from streams.engine.consume.transport import (
    FAUST_LOG,
    BatchTransport,
    TransportHooks,
    as_topic_partition,
)
from streams.engine.tasks.assignor import TaskAssignor
from streams.engine.tasks.manager import TaskManager

FETCH_BYTES = 8 * 1024 * 1024
"""In one answer of a broker, however many partitions it leads. For larger ones memory has to be had
from the system each time."""


class _Boot(BootStrategy):
    """Starts what is needed of Faust: the tasks have producers of their own."""

    enable_kafka_producer = False
    enable_web = False


BEYOND_REBALANCE = 10.0
"""Seconds beyond the time for a rebalance, in which a broker has to answer that a member joined. A
group coordinator that is reloaded may forget to."""


def _request_timeout(kafka: KafkaSettings) -> float:
    """Return how long (s) a request may take: no other takes as long as joining a group."""
    return kafka.session_timeout + BEYOND_REBALANCE


class _App(faust.App):
    BootStrategy = _Boot
    logger = FAUST_LOG

    def _create_directories(self) -> None:
        """Make none: nothing is kept on disk."""


def build_app(
    configuration: Configuration,
    connection: Mapping[str, Any],
    assignor: TaskAssignor,
    tasks: TaskManager,
    consumer: GroupConsumer,
) -> faust.App:
    """Build the Faust app of one worker; `consumer` is given the consumer that Faust makes."""
    kafka = configuration.kafka
    app = _App(
        kafka.group_id,
        broker="aiokafka://" + ";".join(kafka.bootstrap_servers),
        autodiscover=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=kafka.session_timeout,
        broker_request_timeout=_request_timeout(kafka),
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        # Some batches for each agent; Kafka keeps the rest.
        stream_buffer_maxsize=24,
        store="memory://",
    )
    transport = BatchTransport(app.conf.broker, app, loop=app.loop)
    transport.hooks = TransportHooks(
        _consumer_factory(configuration, connection, assignor, consumer),
        tasks.positions,
        tasks.on_seek,
    )
    app.transport = transport
    _add_agents(app, configuration, tasks)
    _follow_rebalances(app, tasks, consumer)
    return app


def _add_agents(app: faust.App, configuration: Configuration, tasks: TaskManager) -> None:
    def topic(name: str) -> Any:
        return app.topic(name, key_serializer="raw", value_serializer="raw", value_type=bytes)

    async def key_by_campaign(batches: StreamT[Any]) -> None:
        """Source records, in any key, become partial counts keyed by campaign."""
        async for batch in batches:
            await tasks.take(batch)
            await asyncio.sleep(0)

    async def count_in_windows(batches: StreamT[Any]) -> None:
        """Partial counts are added to windows, and these make alerts and deliveries."""
        async for batch in batches:
            await tasks.take(batch)
            await asyncio.sleep(0)

    # A stream that has batches waiting does not let go of the event loop by itself.
    app.agent(topic(configuration.topics.source))(key_by_campaign)
    if not configuration.source.keyed:
        app.agent(topic(configuration.topics.repartition))(count_in_windows)


def _follow_rebalances(app: faust.App, tasks: TaskManager, consumer: GroupConsumer) -> None:
    async def revoked(*_: Any, **__: Any) -> None:
        await tasks.revoked()

    async def assigned(*_: Any, **__: Any) -> None:
        consumer.made(app.consumer)  # type: ignore[arg-type] # made by our transport
        partitions = {as_topic_partition(each) for each in app.consumer.assignment()}
        await tasks.assign(partitions, app.consumer_generation_id)

    # By strong reference: nobody else has them.
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_rebalance_complete.connect(assigned, weak=False)


def _consumer_factory(
    configuration: Configuration,
    connection: Mapping[str, Any],
    assignor: TaskAssignor,
    consumer: GroupConsumer,
) -> Callable[[], "AIOKafkaConsumer[bytes | None, bytes | None]"]:
    kafka = configuration.kafka
    committed = kafka.guarantee == "exactly-once"

    def new_consumer() -> "AIOKafkaConsumer[bytes | None, bytes | None]":
        made = WholeBatchConsumer(
            **connection,
            group_id=kafka.group_id,
            group_instance_id=kafka.group_instance_id,
            partition_assignment_strategy=(assignor,),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed" if committed else "read_uncommitted",
            session_timeout_ms=int(kafka.session_timeout * 1000),
            heartbeat_interval_ms=int(kafka.session_timeout * 1000 / 5),
            # Tasks need half a session to write everything down; who is dead is not waited for.
            rebalance_timeout_ms=int(kafka.session_timeout * 1000),
            request_timeout_ms=int(_request_timeout(kafka) * 1000),
            # Faust asks when it can take more; it may be long.
            max_poll_interval_ms=24 * 3600 * 1000,
            metadata_max_age_ms=5_000,
            fetch_max_bytes=FETCH_BYTES,
        )
        made.membership, made.fetched = consumer.membership, consumer.fetched
        return made

    return new_consumer
