import asyncio
import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.configuration.models import Configuration
from streams.engine.dead_letters import replay
from streams.engine.dead_letters.listing import (
    DeadLetter,
    Listing,
    Marker,
    Place,
    Plan,
    Read,
    Selection,
    marker,
    parse,
)
from streams.engine.dead_letters.replay import DeadLetterTopic, Replayed, ReplayError
from streams.engine.produce import writer
from streams.errors import TopicError
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.mixture import SourceRecord
from tests.support.topics import Sender, create_topic, read_topic

Headers = Sequence[tuple[str, bytes]]
FAILED_AT = 1_700_000_000.5


def added(
    reason: str = "not-json", topic: str = "events", partition: int = 1, offset: int = 7
) -> Headers:
    return (
        ("reason", reason.encode()),
        ("detail", b"what was wrong"),
        ("source-topic", topic.encode()),
        ("source-partition", str(partition).encode()),
        ("source-offset", str(offset).encode()),
        ("failed-at", b"2023-11-14T22:13:20.500Z"),
    )


def record(
    headers: Headers,
    value: bytes | None = b"{",
    key: bytes | None = b"k",
    place: Place = Place(0, 5),  # noqa: B008 - cannot be changed
) -> Read:
    return ConsumerRecord(
        topic="dead",
        partition=place.partition,
        offset=place.offset,
        timestamp=1_600_000_000_000,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=tuple(headers),
    )


def letter(place: Place, **header: Any) -> DeadLetter:
    parsed = parse(record(added(**header), place=place))
    assert isinstance(parsed, DeadLetter)
    return parsed


def test_a_dead_letter_is_its_record_and_what_was_added() -> None:
    own = (("trace", b"\x00"), ("reason", b"mine"), ("replayed", b"0:1"), ("trace", b"again"))
    parsed = parse(record((*own, *added()), value=b"\xff"))
    assert parsed == DeadLetter(
        place=Place(0, 5),
        key=b"k",
        value=b"\xff",
        headers=own,
        reason="not-json",
        detail="what was wrong",
        failed_at=FAILED_AT,
        source_topic="events",
        source_partition=1,
        source_offset=7,
    )
    assert parsed.size == 2


def test_what_others_wrote_is_listed_as_far_as_it_says() -> None:
    headers = (
        ("source-partition", b"-1"),
        ("source-offset", b"9" * 5000),
        ("failed-at", b"soon"),
        ("detail", b"\xff"),
    )
    parsed = parse(record(headers))
    assert isinstance(parsed, DeadLetter)
    assert (parsed.reason, parsed.detail, parsed.failed_at) == ("unknown", "\ufffd", 1_600_000_000)
    assert (parsed.source_topic, parsed.source_partition, parsed.source_offset) == (None,) * 3


def test_a_marker_is_read_back() -> None:
    made = marker(letter(Place(3, 14)))
    assert (made.key, made.value) == (b"k", None)
    read = record(made.headers, value=made.value, key=made.key, place=Place(3, 99))
    assert parse(read) == Marker(Place(3, 14))


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ((("replayed", b"0:1"),), b"a value"),
        ((("replayed", b"1:1"),), None),
        ((("replayed", b"words"),), None),
        ((("replayed", b"\xff"),), None),
        ((("replayed", b"0:1"), ("other", b"")), None),
        ((("replayed", b"0:1"), *added()), None),
        ((), None),
    ],
    ids=["value", "other partition", "no place", "no text", "more", "own header", "none"],
)
def test_nothing_else_is_a_marker(headers: Headers, value: bytes | None) -> None:
    assert isinstance(parse(record(headers, value=value)), DeadLetter)


@given(
    st.lists(st.tuples(st.sampled_from(["reason", "replayed", "x"]), st.binary())),
    st.none() | st.binary(),
)
def test_own_headers_come_through_whatever_they_are(
    own: list[tuple[str, bytes]], value: bytes | None
) -> None:
    parsed = parse(record((*own, *added()), value=value))
    assert isinstance(parsed, DeadLetter)
    assert (parsed.headers, parsed.reason, parsed.value) == (tuple(own), "not-json", value)


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":1", "-1:2", "1:2:3", "a:b", "٣:٣", "1:" + "9" * 20]
)
def test_a_place_is_partition_and_offset(text: str) -> None:
    assert Place.parse("2:17") == Place(2, 17)
    with pytest.raises(ValueError, match="PARTITION:OFFSET"):
        Place.parse(text)


def test_a_selection_has_all_that_is_asked_for() -> None:
    one = letter(Place(0, 1), reason="not-json")
    assert one in Selection()
    assert one in Selection(reasons=frozenset({"not-json", "expired"}), since=FAILED_AT)
    assert one in Selection(places=frozenset({Place(0, 1)}))
    assert one not in Selection(reasons=frozenset({"expired"}))
    assert one not in Selection(places=frozenset({Place(1, 1)}))
    assert one not in Selection(since=FAILED_AT + 0.001)


def test_a_listing_keeps_the_newest_and_counts_all() -> None:
    listing = Listing(Selection(), limit=2)
    for place in (Place(1, 4), Place(0, 9), Place(0, 8)):
        listing.add(letter(place, reason="expired" if place.partition else "not-json"))
    listing.add(Marker(Place(0, 8)))
    assert [each.place for each in listing.letters] == [Place(0, 9), Place(1, 4)]
    assert listing.reasons == {"expired": 1, "not-json": 2}
    assert listing.replayed == {Place(0, 8)}


def planned(*entries: DeadLetter | Marker, selection: Selection | None = None) -> Plan:
    plan = Plan(selection or Selection(), "events", {"events": 2, "repartition": 2})
    for entry in entries:
        plan.add(entry)
    plan.close()
    return plan


def test_a_plan_goes_back_to_where_the_records_came_from() -> None:
    plan = planned(
        letter(Place(0, 1), topic="events", partition=1),
        letter(Place(0, 2), topic="repartition", partition=0, reason="not-partial-counts"),
    )
    assert plan.targets == {
        Place(0, 1): TopicPartition("events", 1),
        Place(0, 2): TopicPartition("repartition", 0),
    }


def test_a_plan_leaves_out_what_was_replayed() -> None:
    plan = planned(
        letter(Place(0, 1)),
        letter(Place(0, 2)),
        # Even if it could not be replayed any more.
        letter(Place(0, 3), topic="gone"),
        *(Marker(Place(0, 1)), Marker(Place(0, 3)), Marker(Place(1, 2))),
    )
    assert list(plan.targets) == [Place(0, 2)]
    assert plan.replayed == {Place(0, 1), Place(0, 3)}


def test_a_source_partition_that_is_gone_is_chosen_by_the_key() -> None:
    targets = {planned(letter(Place(0, 1), partition=9)).targets[Place(0, 1)] for _ in range(20)}
    assert len(targets) == 1
    assert targets.pop().topic == "events"


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        ({"topic": "gone"}, "0:1 came from topic gone"),
        (
            {"topic": "repartition", "partition": 7},
            "0:1 came from partition 7 of topic repartition",
        ),
    ],
)
def test_a_plan_names_what_is_not_there(origin: dict[str, Any], named: str) -> None:
    with pytest.raises(TopicError, match=named):
        planned(letter(Place(0, 1), **origin))


def test_a_plan_names_places_without_a_dead_letter() -> None:
    selection = Selection(places=frozenset({Place(0, 1), Place(0, 2), Place(1, 3)}))
    with pytest.raises(TopicError, match=r"no dead letter at 0:2, 1:3"):
        planned(letter(Place(0, 1)), Marker(Place(0, 2)), selection=selection)


def test_what_was_cut_off_is_left_out_of_a_plan_and_refused_by_name() -> None:
    cut = (*added(), ("original-size", b"17000003"), ("truncated", b"value"))
    of_it = parse(record(cut, place=Place(0, 1)))
    assert isinstance(of_it, DeadLetter)
    plan = planned(of_it, letter(Place(0, 2)))
    assert (set(plan.targets), set(plan.truncated)) == ({Place(0, 2)}, {Place(0, 1)})
    selection = Selection(places=frozenset({Place(0, 1)}))
    with pytest.raises(TopicError, match=r"0:1 was cut off.* 17000003 bytes.*'events:1:7'"):
        planned(of_it, selection=selection)


# On brokers


def configuration(broker: RunningBroker, unique: str, **kafka: Any) -> Configuration:
    return Configuration.model_validate(
        {
            "kafka": {
                "bootstrap_servers": [broker.address],
                "guarantee": broker.guarantee,
                "group_id": unique,
                **kafka,
            },
            "topics": {
                "source": f"{unique}-events",
                "repartition": f"{unique}-repartition",
                "dead_letter": f"{unique}-dead",
            },
        }
    )


Letters = Iterable[tuple[int, bytes | None, bytes | None, Headers]]


async def put(address: str, topic: str, letters: Letters) -> None:
    async with Sender(address, topic) as sender:
        await sender.send(SourceRecord(p, k, v, tuple(h)) for p, k, v, h in letters)


async def make_topics(address: str, unique: str) -> None:
    await create_topic(address, f"{unique}-events", 2)
    await create_topic(address, f"{unique}-repartition", 2)
    await create_topic(address, f"{unique}-dead", 2, max_message_bytes=str(16 << 20))


async def replayed_to(address: str, topic: str) -> list[tuple[int, bytes | None, Any, Any]]:
    found = await read_topic(address, topic)
    return [(each.partition, each.key, each.value, each.headers) for each in found]


@pytest.fixture
async def topics(broker: RunningBroker, unique: str) -> str:
    await make_topics(broker.address, unique)
    return unique


@pytest.fixture
async def kafka_topics(kafka: KafkaBroker, unique: str) -> str:
    await make_topics(kafka.address, unique)
    return unique


def on_kafka(kafka: KafkaBroker) -> RunningBroker:
    return RunningBroker("kafka", kafka.address)


async def test_each_is_replayed_once_as_it_came(broker: RunningBroker, topics: str) -> None:
    source, keyed, dead = (f"{topics}-{name}" for name in ("events", "repartition", "dead"))
    own = (("trace", b"\xff"), ("reason", b"mine"))
    await put(
        broker.address,
        dead,
        [
            (0, b"k", b"\x00\xff", (*own, *added(topic=source))),
            (0, None, None, added(topic=source, partition=0)),
            (1, b"b", b"block", added("not-partial-counts", topic=keyed)),
            (1, b"f", b"foreign", ()),
        ],
    )
    topic = DeadLetterTopic(configuration(broker, topics))
    assert await topic.replay(Selection()) == Replayed(4, 0)
    assert await topic.replay(Selection()) == Replayed(0, 4)
    assert await replayed_to(broker.address, keyed) == [(1, b"b", b"block", ())]
    found = await replayed_to(broker.address, source)
    assert (1, b"k", b"\x00\xff", own) in found
    assert (0, None, None, ()) in found
    assert [each[1:] for each in found if each[1] == b"f"] == [(b"f", b"foreign", ())]
    assert len(found) == 3

    await put(broker.address, dead, [(0, b"n", b"new", added("expired", topic=source))])
    listing = await topic.newest(Selection(), limit=10)
    assert listing.reasons == {"not-json": 2, "not-partial-counts": 1, "unknown": 1, "expired": 1}
    assert {each.key for each in listing.letters if each.place not in listing.replayed} == {b"n"}
    assert await topic.replay(Selection()) == Replayed(1, 4)


async def test_only_what_is_chosen_is_replayed(broker: RunningBroker, topics: str) -> None:
    source, dead = f"{topics}-events", f"{topics}-dead"
    letters = [
        (number % 2, None, b"%d" % number, added(reason, topic=source))
        for number, reason in enumerate(["not-json", "expired", "not-json", "not-json"])
    ]
    await put(broker.address, dead, letters)
    topic = DeadLetterTopic(configuration(broker, topics))
    assert await topic.replay(Selection(reasons=frozenset({"expired"}))) == Replayed(1, 0)
    assert await topic.replay(Selection(places=frozenset({Place(0, 1)}))) == Replayed(1, 0)
    assert {each[2] for each in await replayed_to(broker.address, source)} == {b"1", b"2"}


async def test_many_take_several_transactions(
    broker: RunningBroker, topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "CHUNK_RECORDS", 3)
    source, dead = f"{topics}-events", f"{topics}-dead"
    letters = [(n % 2, None, b"%d" % n, added(topic=source, partition=n % 2)) for n in range(20)]
    await put(broker.address, dead, letters)
    topic = DeadLetterTopic(configuration(broker, topics))
    assert await topic.replay(Selection()) == Replayed(20, 0)
    found = await replayed_to(broker.address, source)
    assert sorted(int(each[2]) for each in found) == list(range(20))
    assert await topic.replay(Selection()) == Replayed(0, 20)


async def test_a_missing_topic_is_named(broker: RunningBroker, unique: str) -> None:
    topic = DeadLetterTopic(configuration(broker, unique))
    for attempt in (topic.newest(Selection(), 1), topic.plan(Selection())):
        with pytest.raises(TopicError, match=f"no topic {unique}-dead"):
            await attempt


@pytest.mark.kafka
async def test_huge_records_come_through(kafka: KafkaBroker, kafka_topics: str) -> None:
    source, dead = f"{kafka_topics}-events", f"{kafka_topics}-dead"
    # Fits into the source topic (1 MiB) only when it is compressed, and twice into no chunk.
    value = json.dumps({"padding": "x" * (6 << 20)}).encode()
    letters = [(0, None, value, added("too-large", topic=source))] * 2
    await put(kafka.address, dead, letters)
    topic = DeadLetterTopic(configuration(on_kafka(kafka), kafka_topics))
    assert await topic.replay(Selection()) == Replayed(2, 0)
    assert await replayed_to(kafka.address, source) == [(1, None, value, ())] * 2


@pytest.mark.kafka
async def test_what_does_not_fit_leaves_nothing_behind(
    kafka: KafkaBroker, kafka_topics: str
) -> None:
    source, dead = f"{kafka_topics}-events", f"{kafka_topics}-dead"
    noise = random.Random(1).randbytes(3 << 20)  # noqa: S311 - no secret
    letters = [
        (0, None, b"small", added(topic=source)),
        (0, None, noise, added("too-large", topic=source)),
    ]
    await put(kafka.address, dead, letters)
    topic = DeadLetterTopic(configuration(on_kafka(kafka), kafka_topics))
    with pytest.raises(ReplayError, match=r"^nothing was replayed: .*MessageSizeTooLarge"):
        await topic.replay(Selection())
    assert await replayed_to(kafka.address, source) == []
    assert await topic.replay(Selection(places=frozenset({Place(0, 0)}))) == Replayed(1, 0)


class KilledError(BaseException):
    """Nothing is done after it."""


@pytest.mark.kafka
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_replay_that_ends_in_between_has_replayed_nothing(
    kafka: KafkaBroker, kafka_topics: str, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    source, dead = f"{kafka_topics}-events", f"{kafka_topics}-dead"
    await put(kafka.address, dead, [(0, None, b"one", added(topic=source))])
    topic = DeadLetterTopic(configuration(on_kafka(kafka), kafka_topics))
    send = writer.send_records

    async def send_and_stop(producer: AIOKafkaProducer, records: Any) -> Any:
        sent = await send(producer, records)
        if source in {at.topic for at in records}:
            await asyncio.gather(*(each.acknowledged for each in sent))
            if not cancelled:
                # As kill -9: the transaction stays open, the connections are gone.
                monkeypatch.setattr(producer._txn_manager, "is_fatal_error", lambda: True)
            raise asyncio.CancelledError if cancelled else KilledError
        return sent

    with monkeypatch.context() as patch:
        patch.setattr(replay, "send_records", send_and_stop)
        with pytest.raises(asyncio.CancelledError if cancelled else KilledError):
            await topic.replay(Selection())
    if cancelled:
        assert await replayed_to(kafka.address, source) == []
    assert await topic.replay(Selection()) == Replayed(1, 0)
    assert await replayed_to(kafka.address, source) == [(1, None, b"one", ())]


@pytest.mark.kafka
async def test_a_second_replay_ends_the_first(
    kafka: KafkaBroker, kafka_topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, dead = f"{kafka_topics}-events", f"{kafka_topics}-dead"
    await put(kafka.address, dead, [(0, None, b"one", added(topic=source))])
    topic = DeadLetterTopic(configuration(on_kafka(kafka), kafka_topics))
    plan = DeadLetterTopic.plan
    second: list[None] = []

    async def plan_and_be_overtaken(self: DeadLetterTopic, selection: Selection) -> Plan:
        found = await plan(self, selection)
        if not second:
            second.append(None)
            assert await topic.replay(selection) == Replayed(1, 0)
        return found

    monkeypatch.setattr(DeadLetterTopic, "plan", plan_and_be_overtaken)
    with pytest.raises(ReplayError, match="another replay has begun"):
        await topic.replay(Selection())
    assert await replayed_to(kafka.address, source) == [(1, None, b"one", ())]


@pytest.mark.kafka
async def test_markers_beyond_an_open_transaction_are_seen(
    kafka: KafkaBroker, kafka_topics: str
) -> None:
    source, dead = f"{kafka_topics}-events", f"{kafka_topics}-dead"
    await put(kafka.address, dead, [(0, None, b"one", added(topic=source))])
    topic = DeadLetterTopic(configuration(on_kafka(kafka), kafka_topics))
    worker = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=kafka_topics)
    async with worker:
        await worker.begin_transaction()
        await worker.send_and_wait(dead, b"two", partition=0, headers=list(added(topic=source)))
        # The first replay can be read only when the worker's transaction has ended.
        await put(kafka.address, dead, [(0, None, None, [("replayed", b"0:0")])])
        again = asyncio.create_task(topic.replay(Selection()))
        done, _ = await asyncio.wait([again], timeout=2)
        assert not done
        await worker.commit_transaction()
        assert await again == Replayed(1, 1)
    assert await replayed_to(kafka.address, source) == [(1, None, b"two", ())]
