"""What opening a task makes of a changelog topic with a record that is broken."""

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.domain import changelog
from streams.domain.buckets import BucketKey, Window
from streams.domain.campaigns import Campaigns
from streams.domain.changelog import CHECKPOINT_KEY, FORMAT, InputOffsetsKey
from streams.domain.deliveries import Delivery, pack
from streams.domain.formats import pinpoint
from streams.domain.sources import IngestSettings
from streams.engine.cluster.message_limits import MessageLimits
from streams.engine.consume.positions import Position, as_committed
from streams.engine.produce.writer import TaskLostError, Writer
from streams.engine.tasks.context import Output, TaskContext, Topics
from streams.engine.tasks.events import TaskEvents
from streams.engine.tasks.logs import LogFinder
from streams.engine.tasks.poison_pills import PoisonPills
from streams.engine.tasks.restore import TaskRestorer
from streams.engine.tasks.task import StreamTask
from streams.errors import FormatError
from streams.outputs.alerts import ALERTS
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts
from tests.support.tasks import FakeMetrics, FakeWriter
from tests.support.topics import create_topic

TASK = 1
WITHIN_S = 30.0
CHECKPOINT = {"format": FORMAT, "window_size": 60, "event_time": 5, "inputs": {"0": 5}, "dirty": {}}


def bucket() -> bytes:
    """A bucket of window 0 with one campaign."""
    window = Window(0)
    window.add(window_counts(0, {"c": counts({"SUCCESS": 1})}), late=False)
    ((_, value),) = window.write_dirty()
    assert value is not None
    return value


def delivery(delivery_id: str = "d", **change: Any) -> bytes:
    fields: dict[str, Any] = {
        "delivery_id": delivery_id,
        "webhook_id": "a.1",
        "receiver": "ops",
        "campaign_id": "c",
        "alert_id": "a",
        "sequence": 1,
        "transition": {},
        "created_at": 0.0,
        "next_attempt_at": 0.0,
    }
    return orjson.dumps({**fields, **change})


BUCKET_KEY = changelog.key_of(BucketKey(0, 0))
OFFSETS_KEY = changelog.key_of(InputOffsetsKey())
DELIVERY_KEY = orjson.dumps(("delivery", "c", "d"))
RECEIVER_KEY = orjson.dumps(("receiver", "ops"))
ALERT_KEY = orjson.dumps(("alert", "c", "a"))


@dataclass
class State:
    """The changelog topic of a test, and a worker's way to open task 1 with it."""

    broker: RunningBroker
    prefix: str
    records: list[tuple[bytes, bytes | None]] = field(default_factory=list)

    async def write(self, *records: tuple[bytes, bytes | None]) -> None:
        roles = {"events": 2, "repartition": 2, "changelog": 2, "alerts": 1, "dead": 1, "groups": 1}
        for role, partitions in roles.items():
            await create_topic(self.broker.address, f"{self.prefix}-{role}", partitions)
        async with AIOKafkaProducer(bootstrap_servers=self.broker.address) as producer:
            for key, value in records:
                await producer.send_and_wait(f"{self.prefix}-changelog", value, key, TASK)

    async def open(self) -> StreamTask:
        prefix = self.prefix
        roles = ("events", "repartition", "changelog", "alerts", "dead")
        source, keyed, state, alerts, dead = (f"{prefix}-{role}" for role in roles)
        topics = Topics(
            source, keyed, state, dead, 1, (Output(ALERTS, alerts, 1),), f"{prefix}-groups"
        )
        logs = LogFinder({"bootstrap_servers": self.broker.address}, topics)
        ingest_settings = IngestSettings(
            pinpoint.FORMAT, PARTITION_SETTINGS.windows, max_record_bytes=2000
        )
        context = TaskContext(
            topics,
            True,
            ingest_settings,
            PARTITION_SETTINGS,
            time.time,
            FakeMetrics(),
            TaskEvents(),
            Campaigns(2),
            MessageLimits({}, ()),
        )
        opening = TaskRestorer(
            context,
            {"bootstrap_servers": self.broker.address},
            logs,
            self.prefix,
            lambda _: cast("Writer", FakeWriter()),
            exactly_once=False,
            progress=lambda task, at, end: None,  # noqa: ARG005 - nobody asks
        )
        read = [TopicPartition(f"{self.prefix}-{role}", TASK) for role in ("events", "repartition")]
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    # A new broker has no coordinator for groups yet, or one that is loading; tasks
                    # are opened again then.
                    with contextlib.suppress(
                        GroupCoordinatorNotAvailableError, GroupLoadInProgressError
                    ):
                        return await opening.open(TASK, read, 2, PoisonPills())
                    await asyncio.sleep(0.1)
        finally:
            await logs.close()


@pytest.fixture
def state(broker: RunningBroker, unique: str) -> State:
    return State(broker, unique)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(DELIVERY_KEY, b"{", id="delivery, no JSON"),
        pytest.param(DELIVERY_KEY, delivery(attempts="many"), id="delivery, wrong type"),
        pytest.param(DELIVERY_KEY, b"{}", id="delivery, fields missing"),
        pytest.param(DELIVERY_KEY, delivery("another"), id="delivery, another one"),
        pytest.param(RECEIVER_KEY, b'{"status": "gone"}', id="receiver, wrong word"),
        pytest.param(ALERT_KEY, b"\xff", id="alert, no JSON"),
        pytest.param(ALERT_KEY, b"{}", id="alert, fields missing"),
        pytest.param(CHECKPOINT_KEY, b"[]", id="checkpoint, no object"),
        pytest.param(
            CHECKPOINT_KEY, orjson.dumps({"format": FORMAT}), id="checkpoint, fields missing"
        ),
        pytest.param(
            CHECKPOINT_KEY, orjson.dumps({**CHECKPOINT, "window_size": 0}), id="checkpoint, size 0"
        ),
        pytest.param(
            CHECKPOINT_KEY, orjson.dumps({**CHECKPOINT, "format": 99}), id="checkpoint, format"
        ),
        pytest.param(OFFSETS_KEY, b"[[1]]", id="offsets, wrong type"),
        pytest.param(OFFSETS_KEY, b"", id="offsets, empty"),
        pytest.param(BUCKET_KEY, bucket()[:-1], id="bucket, cut off"),
        pytest.param(BUCKET_KEY, b"\x00", id="bucket, no bucket"),
        pytest.param(b"x", b"x", id="key, no JSON"),
        pytest.param(b"", b"x", id="key, none"),
        pytest.param(b'["unknown", 1]', b"x", id="key, of another kind"),
    ],
)
async def test_a_broken_record_is_named(state: State, key: bytes, value: bytes) -> None:
    await state.write((CHECKPOINT_KEY, orjson.dumps(CHECKPOINT)), (key, value))

    with pytest.raises(FormatError) as raised:
        await state.open()

    message = str(raised.value)
    assert message.startswith(f"{state.prefix}-changelog-{TASK}, offset 1, key {key!r}: ")
    assert re.search(r"docs/operations\.md", message)


async def test_a_record_that_was_replaced_may_be_broken(state: State) -> None:
    await state.write(
        (DELIVERY_KEY, b"broken"),
        (CHECKPOINT_KEY, b"broken"),
        (ALERT_KEY, b"broken"),
        (BUCKET_KEY, bucket()),
        (CHECKPOINT_KEY, orjson.dumps(CHECKPOINT)),
        (DELIVERY_KEY, delivery()),
        (ALERT_KEY, None),
    )

    task = await state.open()

    (kept,) = task.partition.deliveries.deliveries()
    assert kept == Delivery(
        delivery_id="d",
        webhook_id="a.1",
        receiver="ops",
        campaign_id="c",
        alert_id="a",
        sequence=1,
        packed=pack(msgspec.Raw(b"{}")),
        created_at=0.0,
        next_attempt_at=0.0,
    )
    assert len(task.partition.table) == 1
    await task.close()


@pytest.mark.kafka  # the embedded broker keeps no metadata of offsets
async def test_state_that_is_gone_is_named(kafka: KafkaBroker, unique: str) -> None:
    state = State(RunningBroker("kafka", kafka.address), unique)
    await state.write()
    source = TopicPartition(f"{state.prefix}-events", TASK)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=state.broker.address, group_id=state.prefix, enable_auto_commit=False
    )
    async with consumer:
        consumer.assign([source])
        await consumer.commit({source: OffsetAndMetadata(7, "")})
        task = await state.open()
        assert task.positions[source].offset == 7, "where an operator wants it to begin"
        await task.close()
        await consumer.commit({source: as_committed(Position(7, 0, UUID(int=1), 0))})
    with pytest.raises(
        TaskLostError, match=r"-changelog .*-events-1 up to offset 7.*operations\.md"
    ):
        await state.open()
