"""Records that are hostile in size, number of names or by a defect stop nothing.

All topics are as Kafka makes them by default: records of up to 1 MB. Honest events are all counted,
before and after a restart; every hostile record is counted or a dead letter with its place.
"""

import gzip
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.engine.cluster.message_limits import DEFAULT_BYTES
from streams.engine.dead_letters.listing import DeadLetter, parse
from tests.integration.conftest import NewWorker
from tests.support import poison
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.comparing import counted, dead_letter
from tests.support.mixture import SourceRecord, send_event
from tests.support.oversized import HostileSender, oversized, unpacked
from tests.support.topics import Sender, create_topic, read_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

pytestmark = pytest.mark.kafka

SOURCES = TASKS = 2
HONEST = {"good-a": 900, "good-b": 700, "good-c": 500}
STATUSES = 900
NAMES = 4_300
LONG = 3_900
"""Characters: of a status or a treatment, so that it is just not too long."""


def now_ms() -> int:
    return int(time.time() * 1000)


def event(campaign_id: str, status: str = "SUCCESS", **more: Any) -> bytes:
    poisoned = more.pop("poison", False)
    made = send_event(campaign_id, now_ms(), status, delivery_type="EMAIL", context={}, **more)
    return orjson.dumps({**made, "poison": True} if poisoned else made)


def honest() -> list[SourceRecord]:
    """Some of them, over both partitions."""
    return [
        SourceRecord(number % SOURCES, None, event(name))
        for name, count in HONEST.items()
        for number in range(count)
    ]


async def make_topics(address: str, settings: Settings) -> None:
    """Make them with the brokers' defaults, but for what a worker insists on."""
    topics = settings["topics"]
    await create_topic(address, topics["source"], SOURCES)
    await create_topic(address, topics["repartition"], TASKS)
    await create_topic(address, topics["changelog"], TASKS, cleanup_policy="compact")
    await create_topic(address, topics["alerts"], 1)
    await create_topic(address, topics["dead_letter"], 1)


def settings_of(broker: RunningBroker, prefix: str) -> Settings:
    rule = {
        "name": "failure-spike",
        "statuses": ["FAILURE"],
        "scope": "treatment",
        "detector": {"kind": "threshold", "level": 0.2, "min_attempts": 30},
    }
    windows = {"size": 3600, "grace": 30, "retention": 86_400}
    return settings_for(broker, prefix, topics={"partitions": TASKS}, windows=windows, rules=[rule])


async def counts_of(worker: WorkerProcess, campaign_id: str) -> int:
    row = await worker.json(f"/v1/campaigns/{campaign_id}")
    return sum(row["totals"]["counts"].values())


async def losses(worker: WorkerProcess) -> float:
    samples = await worker.metrics()
    return sum(n for name, n in samples.items() if "task_losses_total" in name)


async def test_what_no_topic_takes_whole_stops_nothing(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    broker = RunningBroker("kafka", kafka.address)
    settings = settings_of(broker, unique)
    source = settings["topics"]["source"]
    await make_topics(broker.address, settings)
    worker = new_worker(settings)
    await worker.ready()
    large = unpacked(orjson.loads(event("good-a")))
    assert len(gzip.compress(large)) < 40_000
    hostile = oversized(0, large)
    failing = [event("failing", "FAILURE")] * 2_000
    failing += [event("failing", f"{n:04}" + "s" * LONG) for n in range(STATUSES)]
    many = [
        event("many-names", treatment_id=f"{n:05}" + "\N{GRINNING FACE}" * (LONG // 4))
        for n in range(NAMES)
    ]
    async with Sender(broker.address, source) as sender:
        await sender.send(honest())
        async with HostileSender(broker.address, source) as other:
            await other.send(hostile)
            await other.send_with_odd_header(SourceRecord(0, None, event("good-b")))
        await sender.send(SourceRecord(0, None, value) for value in [*failing, *many])
        await sender.send(honest())
    expected = Counter({name: 2 * count for name, count in HONEST.items()})
    expected += Counter({"good-b": 1, "failing": len(failing), "many-names": len(many)})
    await assert_all(worker, expected)
    found = await dead_letter(broker.address, settings, len(hostile))
    assert_cut_off([letter for each in found if isinstance(letter := parse(each), DeadLetter)])
    assert await losses(worker) == 0
    (transition, *_) = await read_topic(broker.address, settings["topics"]["alerts"])
    evidence = orjson.loads(transition.value or b"")["data"]["evidence"]
    assert sum(evidence["counts"].values()) == evidence["attempts"]
    assert len(transition.value or b"") < 100_000
    for end in (worker.kill, worker.stop):
        end()
        worker.start()
        await worker.ready()
        await assert_all(worker, expected)
        assert await losses(worker) == 0
    assert len(await read_topic(broker.address, settings["topics"]["dead_letter"])) == len(hostile)


async def assert_all(worker: WorkerProcess, expected: Counter[str]) -> None:
    await counted(worker, expected.total())
    for name, count in expected.items():
        assert await counts_of(worker, name) == count


def assert_cut_off(letters: list[DeadLetter]) -> None:
    by_size = {letter.original_size: letter for letter in letters}
    assert len(by_size) == 4
    for letter in letters:
        assert letter.truncated
        assert letter.size < DEFAULT_BYTES
        assert letter.source_partition in range(SOURCES)
    reasons = Counter(letter.reason for letter in letters)
    assert reasons == {"too-large": 2, "not-json": 2}
    (value, key) = by_size[1_200_000], by_size[2_000_007]
    assert (value.truncated, value.size > 900_000) == (("value",), True)
    assert (key.truncated, key.value) == (("key",), b"no JSON")
    headers = by_size[len(b"kno JSON")]
    assert (headers.truncated, headers.key, headers.value) == (("headers",), b"k", b"no JSON")


async def test_a_record_that_cannot_be_processed_costs_one_opening(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    broker = RunningBroker("kafka", kafka.address)
    settings = settings_of(broker, unique)
    source = settings["topics"]["source"]
    await make_topics(broker.address, settings)
    worker = new_worker(settings, module=poison.MODULE)
    await worker.ready()
    some = honest()
    for at in (100, 101, 700):
        some.insert(at, SourceRecord(0, b"k", event("good-a", poison=True)))
    async with Sender(broker.address, source) as sender:
        await sender.send(some)
        await counted(worker, sum(HONEST.values()))
        await sender.send(some)
    expected = Counter({name: 2 * count for name, count in HONEST.items()})
    await assert_all(worker, expected)
    found = await dead_letter(broker.address, settings, 6)
    letters = [letter for each in found if isinstance(letter := parse(each), DeadLetter)]
    assert {(each.reason, each.detail) for each in letters} == {
        ("unprocessable", "OverflowError: a poisoned record")
    }
    assert {each.value for each in letters} == {each.value for each in some if each.key}
    assert await losses(worker) == 1
    worker.kill()
    worker.start()
    await worker.ready()
    await assert_all(worker, expected)
    assert await losses(worker) == 0
    assert len(await read_topic(broker.address, settings["topics"]["dead_letter"])) == 6


async def alter(address: str, topic: str, **settings: str) -> None:
    """Change settings of a topic; underscores stand for dots."""
    configs = {name.replace("_", "."): value for name, value in settings.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)]
        )
    finally:
        await admin.close()


async def lags_of(worker: WorkerProcess, topic: str) -> list[float]:
    samples = await worker.metrics()
    return [n for name, n in samples.items() if "lag_records" in name and f'"{topic}"' in name]


async def lag_of(worker: WorkerProcess, topic: str) -> float:
    of_topic = await lags_of(worker, topic)
    assert len(of_topic) == SOURCES, "a partition has vanished"
    return sum(of_topic)


async def has_lags(worker: WorkerProcess, topic: str) -> bool:
    """The broker is asked every few seconds; for the first time perhaps before there is a share."""
    return len(await lags_of(worker, topic)) == SOURCES


async def test_what_a_lost_task_waits_for_is_named_and_its_lag_grows(
    kafka: KafkaBroker, unique: str, new_worker: NewWorker
) -> None:
    broker = RunningBroker("kafka", kafka.address)
    settings = settings_of(broker, unique)
    source, state = (settings["topics"][role] for role in ("source", "changelog"))
    await make_topics(broker.address, settings)
    worker = new_worker(settings)
    await worker.ready()
    async with Sender(broker.address, source) as sender:
        await sender.send(honest())
        await counted(worker, sum(HONEST.values()))
        await until(lambda: has_lags(worker, source))
        await until(lambda: holds(lag_of(worker, source), 0))
        await alter(broker.address, state, cleanup_policy="compact", max_message_bytes="100")
        await sender.send(honest())
        await until(lambda: holds(lag_of(worker, source), sum(HONEST.values())))
        await sender.send(honest())
        await until(lambda: holds(lag_of(worker, source), 2 * sum(HONEST.values())))

    async def unready() -> bool:
        answer = await worker.ask("/readyz")
        return answer.status == 503 and f"{state}-".encode() in answer.body

    await until(unready)
    assert worker.process.running
    await alter(broker.address, state, cleanup_policy="compact", max_message_bytes="1048588")
    await assert_all(worker, Counter({name: 3 * count for name, count in HONEST.items()}))
    await worker.ready()
    await until(lambda: holds(lag_of(worker, source), 0))


async def holds(asked: Awaitable[float], value: float) -> bool:
    return await asked == value
