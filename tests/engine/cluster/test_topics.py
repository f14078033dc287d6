"""Topics are made as they should be, or named with what to do."""

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition

from streams.configuration.models import Configuration
from streams.domain import changelog
from streams.domain.changelog import InputOffsetsKey
from streams.domain.partial_counts import RECORD_BYTES as RECORD_BYTES_OF_STATE
from streams.domain.table import MOST_DIRTY, WindowTable
from streams.domain.watermark import Watermark
from streams.domain.windows import WindowPolicy
from streams.engine.cluster.message_limits import DEFAULT_BYTES
from streams.engine.cluster.topics import (
    MOST_SOURCES,
    POSITION_BYTES,
    TopicAdmin,
)
from streams.engine.consume.positions import Position, as_input_offsets
from streams.errors import TopicError
from streams.outputs.topics import RECORD_BYTES
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.partitions import window_counts
from tests.support.topics import create_topic
from tests.support.waiting import until
from tests.support.workers import settings_for

WHOLE = ("silences", "groups", "campaign-names", "app-names")
"""What the topics that every worker reads whole are called in tests, after their prefix."""


def admin_of(broker: RunningBroker, prefix: str, *, keyed: bool = False) -> TopicAdmin:
    settings = settings_for(broker, prefix, topics={"partitions": 3}, source={"keyed": keyed})
    configuration = Configuration.model_validate(settings)
    return TopicAdmin({"bootstrap_servers": broker.address}, configuration)


async def make_topic(address: str, name: str, partitions: int, **settings: str) -> None:
    await create_topic(address, name, partitions, **settings)

    async def known() -> bool:
        return name in await topics_of(address)

    # Kafka says that it is made before it lists it.
    await until(known)


async def topics_of(address: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def settings_of(address: str, topic: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        (response,) = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic)]
        )
    finally:
        await admin.close()
    (resource,) = response.resources
    entries: list[Any] = resource[4]
    return {entry[0]: entry[1] for entry in entries}


async def test_what_is_missing_is_made_and_twice_is_harmless(
    broker: RunningBroker, unique: str
) -> None:
    admin = admin_of(broker, unique)
    expected = {
        f"{unique}-{role}": 3 for role in ("events", "repartition", "changelog", "alerts", "dead")
    }
    expected |= {f"{unique}-{role}": 1 for role in WHOLE}
    assert await admin.prepare(create=True) == expected
    assert await admin.prepare(create=True) == expected
    assert await admin.prepare(create=False) == expected
    assert admin.tasks(expected) == 3


async def test_two_at_once_do_not_mind_each_other(broker: RunningBroker, unique: str) -> None:
    one, two = await asyncio.gather(
        *(admin_of(broker, unique).prepare(create=True) for _ in range(2))
    )
    assert one == two


@pytest.mark.kafka
async def test_topics_have_the_settings_they_need(kafka: KafkaBroker, unique: str) -> None:
    await admin_of(RunningBroker("kafka", kafka.address), unique).prepare(create=True)
    state = await settings_of(kafka.address, f"{unique}-changelog")
    assert state["cleanup.policy"] == "compact"
    keyed = await settings_of(kafka.address, f"{unique}-repartition")
    assert (keyed["cleanup.policy"], keyed["retention.ms"]) == ("delete", str(7 * 86_400_000))
    dead = await settings_of(kafka.address, f"{unique}-dead")
    source = await settings_of(kafka.address, f"{unique}-events")
    for large in (state, keyed, dead):
        assert int(large["max.message.bytes"]) > 2 * int(source["max.message.bytes"])


async def test_what_is_missing_is_named_if_it_may_not_be_made(
    broker: RunningBroker, unique: str
) -> None:
    await make_topic(broker.address, f"{unique}-events", 5)
    admin = admin_of(broker, unique)
    with pytest.raises(TopicError) as caught:
        await admin.prepare(create=False)
    message = str(caught.value)
    assert "\n" not in message
    for role in ("repartition", "changelog", "alerts"):
        assert f"{unique}-{role} (topics.{role})" in message
    assert f"{unique}-events" not in message
    assert "campaign-streams topics create" in message
    assert f"{unique}-changelog" not in await topics_of(broker.address), "it was only asked for"


@pytest.mark.parametrize("role", ["repartition", "changelog"])
async def test_another_number_of_partitions_is_named(
    broker: RunningBroker, unique: str, role: str
) -> None:
    await make_topic(broker.address, f"{unique}-{role}", 2)
    with pytest.raises(TopicError) as caught:
        await admin_of(broker, unique).prepare(create=True)
    message = str(caught.value)
    assert f"topic {unique}-{role} has 2 partitions" in message
    assert "topics.partitions says 3" in message
    assert "set topics.partitions to 2, or count anew, as docs/operations.md says" in message


async def test_others_may_have_any_number_of_partitions(broker: RunningBroker, unique: str) -> None:
    wanted = {"events": 5, **dict.fromkeys(WHOLE, 2), "alerts": 1, "dead": 2}
    for role, partitions in wanted.items():
        policy = "compact" if role in WHOLE else "delete"
        await make_topic(broker.address, f"{unique}-{role}", partitions, cleanup_policy=policy)
    counts = await admin_of(broker, unique).prepare(create=True)
    assert counts == {
        f"{unique}-{role}": n for role, n in {**wanted, "repartition": 3, "changelog": 3}.items()
    }


async def test_a_keyed_source_says_how_many_partitions_there_are(
    broker: RunningBroker, unique: str
) -> None:
    await make_topic(broker.address, f"{unique}-events", 5)
    admin = admin_of(broker, unique, keyed=True)
    counts = await admin.prepare(create=True)
    assert counts[f"{unique}-changelog"] == 5
    assert counts[f"{unique}-repartition"] == 5
    assert admin.tasks(counts) == 5


async def test_a_keyed_source_with_another_number_of_partitions_is_named(
    broker: RunningBroker, unique: str
) -> None:
    await make_topic(broker.address, f"{unique}-events", 5)
    await make_topic(broker.address, f"{unique}-changelog", 3)
    with pytest.raises(TopicError, match=r"-changelog has 3 partitions, but .*-events has 5, and"):
        await admin_of(broker, unique, keyed=True).prepare(create=True)


@pytest.mark.parametrize(
    ("role", "found", "right"),
    [
        ("changelog", "delete", "compact"),
        ("changelog", "compact,delete", "compact"),
        ("repartition", "compact", "delete"),
        ("repartition", "compact,delete", "delete"),
    ],
)
async def test_a_topic_that_is_cleaned_up_wrongly_is_named_with_what_to_do(
    broker: RunningBroker, unique: str, role: str, found: str, right: str
) -> None:
    name = f"{unique}-{role}"
    await make_topic(broker.address, name, 3, cleanup_policy=found)
    for create in (True, False):
        with pytest.raises(TopicError) as caught:
            await admin_of(broker, unique).prepare(create=create)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(f"topic {name} has cleanup.policy={found}, but must have ")
        assert f"--bootstrap-server {broker.address} --alter" in message
        assert f"--entity-name {name} --add-config cleanup.policy={right}`" in message
        assert f"topics.{role}" in message
    assert (await settings_of(broker.address, name))["cleanup.policy"] == found


@pytest.mark.kafka
@pytest.mark.parametrize(
    "role",
    [
        *("repartition", "changelog", "silences", "groups", "campaign_names", "app_names"),
        *("alerts", "dead_letter"),
    ],
)
async def test_a_topic_that_takes_too_small_records_is_named_with_what_to_do(
    kafka: KafkaBroker, unique: str, role: str
) -> None:
    admin = admin_of(RunningBroker("kafka", kafka.address), unique)
    name = getattr(admin._configuration.topics, role)
    compacted = {"changelog", "silences", "groups", "campaign_names", "app_names"}
    policy = "compact" if role in compacted else "delete"
    await make_topic(kafka.address, name, 3, max_message_bytes="500000", cleanup_policy=policy)
    with pytest.raises(TopicError) as caught:
        await admin.prepare(create=True)
    message = str(caught.value)
    assert message.startswith(f"topic {name} has max.message.bytes=500000, but must have ")
    assert f"--entity-name {name} --add-config max.message.bytes=1048588`" in message
    assert f"topics.{role}" in message


@pytest.mark.parametrize(
    ("sources", "message"), [(9_999, "raise topics.partitions"), (6_001, "6000")]
)
def test_a_source_topic_may_not_have_more_partitions_than_the_state_has_room_for(
    sources: int, message: str
) -> None:
    tasks = 1 if sources == 9_999 else 3
    topics = {"partitions": tasks}
    configuration = Configuration.model_validate({"topics": topics})
    admin = TopicAdmin({}, configuration)
    counts = dict.fromkeys((name for _, name in configuration.topics.named()), tasks)
    admin._check(counts)
    with pytest.raises(TopicError, match=message):
        admin._check({**counts, configuration.topics.source: sources})


def test_positions_and_event_times_fit_into_a_record() -> None:
    name = "s" * 249
    most = RECORD_BYTES_OF_STATE // (len(name) + POSITION_BYTES)
    far = Position(2**53, 2**53)
    read = {TopicPartition(name, 10**6 + number): far for number in range(most)}
    ((_, value),) = changelog.encode([(InputOffsetsKey(), as_input_offsets(read))])
    assert len(value or b"") <= RECORD_BYTES_OF_STATE
    table = WindowTable(WindowPolicy(), Watermark(range(MOST_SOURCES), 60.0, 0.0))
    for number in range(MOST_SOURCES):
        table.observe(number, 32_503_680_000_000 - number, 0.0)
    for number in range(MOST_DIRTY):
        counts = window_counts(32_000_000_000 + 60 * number, {"a": {}})
        table.add(counts, 2**53 - number, 0.0)
    sizes = [len(value or b"") for _, value in changelog.encode(table.take_changes(0.0))]
    assert max(sizes) <= RECORD_BYTES_OF_STATE
    assert len(sizes) == 1, "no window was written"


@pytest.mark.kafka
async def test_the_limits_are_those_of_the_topics(kafka: KafkaBroker, unique: str) -> None:
    await make_topic(kafka.address, f"{unique}-changelog", 3, cleanup_policy="compact")
    admin = admin_of(RunningBroker("kafka", kafka.address), unique)
    await admin.prepare(create=True)
    topics = admin._configuration.topics
    assert admin.limits.of(topics.changelog) == DEFAULT_BYTES
    assert admin.limits.of(topics.dead_letter) == RECORD_BYTES


@pytest.mark.kafka
async def test_a_state_topic_that_the_broker_has_made_by_its_own_defaults_is_refused(
    kafka: KafkaBroker, unique: str
) -> None:
    await make_topic(kafka.address, f"{unique}-changelog", 3)
    with pytest.raises(TopicError, match=r"-changelog has cleanup\.policy=delete, but must have"):
        await admin_of(RunningBroker("kafka", kafka.address), unique).prepare(create=True)


@pytest.mark.embedded
async def test_a_topic_of_which_the_broker_does_not_tell_is_taken_as_it_is(
    embedded_broker: str, unique: str
) -> None:
    await make_topic(embedded_broker, f"{unique}-changelog", 3)
    assert "cleanup.policy" not in await settings_of(embedded_broker, f"{unique}-changelog")
    counts = await admin_of(RunningBroker("embedded", embedded_broker), unique).prepare(create=True)
    assert counts[f"{unique}-changelog"] == 3


@pytest.mark.kafka
async def test_a_keyed_topic_may_be_kept_for_longer(kafka: KafkaBroker, unique: str) -> None:
    await make_topic(kafka.address, f"{unique}-repartition", 3, retention_ms="-1")
    counts = await admin_of(RunningBroker("kafka", kafka.address), unique).prepare(create=True)
    assert counts[f"{unique}-repartition"] == 3


@pytest.mark.kafka
async def test_to_look_makes_nothing_where_brokers_make_topics_by_themselves(
    own_kafka: KafkaBroker, unique: str
) -> None:
    properties = own_kafka.directory / "server.properties"
    text = properties.read_text()
    assert "auto.create.topics.enable=false" in text
    properties.write_text(text.replace("auto.create.topics.enable=false", ""))
    await asyncio.to_thread(own_kafka.restart)
    broker = RunningBroker("kafka", own_kafka.address)
    with pytest.raises(TopicError, match="missing topics"):
        await admin_of(broker, unique).prepare(create=False)
    assert await topics_of(own_kafka.address) == set()
    counts = await admin_of(broker, unique).prepare(create=True)
    assert [counts.pop(f"{unique}-{role}") for role in WHOLE] == [1, 1, 1, 1]
    assert set(counts.values()) == {3}
