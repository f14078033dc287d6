"""Fetches by topic id and leader epoch, and what becomes of refusals. No broker is needed."""

import struct
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from aiokafka.errors import NodeNotReadyError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

from streams.engine.consume import identified
from streams.engine.consume.identified import UNKNOWN_TOPIC_ID, IdentifiedFetches
from streams.engine.consume.log_requests import FetchById

ONE, TWO = TopicPartition("events", 0), TopicPartition("events", 1)
ID = UUID(int=7)
REQUEST = FetchRequest(500, 1, 1000, 1, [("events", [(0, 10, 99), (1, 20, 99)])])


def batch(offset: int, epoch: int, size: int = 30) -> bytes:
    """Something that begins as a batch of records does."""
    return struct.pack(">qiib", offset, 5 + size, epoch, 2) + bytes(size)


class Connection:
    def __init__(self, versions: dict[int, tuple[int, int]]) -> None:
        self._versions = versions


class Client:
    """Answers what it is told to."""

    cluster = None

    def __init__(self, newest: int = 13) -> None:
        self.connection: Connection | None = Connection({1: (0, newest)})
        self.asked: list[Any] = []
        self.answer: Any = None

    async def _get_conn(self, _: int) -> Connection | None:
        return self.connection

    async def send(self, _: int, request: Any) -> Any:
        self.asked.append(request)
        return self.answer

    def force_metadata_update(self) -> None:
        """Nothing to do."""

    def answers(self, *partitions: tuple[Any, ...], topic_id: UUID = ID) -> None:
        """Answer about partitions: number, error, records, tags."""
        rows: list[tuple[Any, ...]] = [
            (number, code, 50, 50, 0, [(3, 4, {})], -1, records, tags)
            for number, code, records, tags in partitions
        ]
        response = FetchById.REQUEST.RESPONSE_TYPE
        encoded = response(0, 0, 0, [(topic_id, rows, {})], {}).encode()
        # Tags are not read here, but aiokafka cannot write them.
        self.answer = response.decode(encoded)


def of(answer: Any) -> dict[int, tuple[Any, ...]]:
    return {row[0]: row for _, rows in answer.topics for row in rows}


async def test_records_are_asked_for_by_id_and_epoch() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    fetches.read(TWO, ID, -1)
    client.answers((0, 0, batch(10, 3), {}), (1, 0, None, {}))
    answer = await fetches.send(1, REQUEST)
    (asked,) = client.asked
    sent = cast("FetchById", asked).build(FetchById.REQUEST)
    ((topic_id, partitions, _),) = sent.topics
    assert topic_id == ID
    assert [(n, at, epoch) for n, _, at, epoch, *_ in partitions] == [(0, 10, 3), (1, 20, -1)]
    assert sent.encode(), "it can be sent"
    assert answer.API_VERSION == 11
    assert of(answer) == {
        0: (0, 0, 50, 50, 0, [(3, 4)], -1, batch(10, 3)),
        1: (1, 0, 50, 50, 0, [(3, 4)], -1, b""),
    }


async def test_nothing_is_asked_for_whose_log_is_not_known() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    assert (await fetches.send(1, REQUEST)).topics == []
    assert client.asked == []
    fetches.read(TWO, ID, -1)
    client.answers((1, 0, None, {}))
    assert of(await fetches.send(1, REQUEST)).keys() == {1}


async def test_one_answer_has_records_of_one_epoch() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    client.answers((0, 0, batch(10, 4) + batch(12, 4) + batch(13, 6) + batch(14, 6), {}))
    assert of(await fetches.send(1, REQUEST))[0][-1] == batch(10, 4) + batch(12, 4)
    log = fetches.log(ONE)
    assert log is not None
    assert (log.epoch, log.end) == (4, 50)


async def test_a_refusal_is_reported_now_and_then_and_the_partition_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for code in (OffsetOutOfRangeError.errno, 3, UNKNOWN_TOPIC_ID, 103):
        client = Client()
        fetches = IdentifiedFetches(client)
        fetches.read(ONE, ID, 3)
        fetches.read(TWO, ID, 3)
        client.answers((0, code, None, {}), (1, 0, None, {}))
        assert of(await fetches.send(1, REQUEST)).keys() == {1}
        ((partition, log),) = fetches.take_refused()
        assert (partition, log.end) == (ONE, -1)
        assert fetches.take_refused() == []
        with monkeypatch.context() as patch:
            patch.setattr(identified, "REPORT_EVERY", 0.0)
            # The first report may have been lost.
            assert fetches.take_refused() == [(partition, log)]
        client.answers((1, 0, None, {}))
        await fetches.send(1, REQUEST)
        sent = cast("FetchById", client.asked[-1]).build(FetchById.REQUEST)
        assert [row[0] for row in sent.topics[0][1]] == [1]
        fetches.read(ONE, ID, 3)
        client.answers((0, 0, None, {}), (1, 0, None, {}))
        assert of(await fetches.send(1, REQUEST)).keys() == {0, 1}
        assert fetches.take_refused() == []


async def test_an_answer_about_an_epoch_that_diverges_is_a_refusal() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    client.answers((0, 0, None, {}))
    (topic,) = client.answer.topics
    client.answer.topics = [(topic[0], [(*topic[1][0][:-1], {0: b"epoch and offset"})], {})]
    assert of(await fetches.send(1, REQUEST)) == {}
    assert [each for each, _ in fetches.take_refused()] == [ONE]


async def test_an_answer_that_names_no_id_is_a_refusal() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    client.answers((0, UNKNOWN_TOPIC_ID, None, {}), topic_id=UUID(int=0))
    assert of(await fetches.send(1, REQUEST)) == {}
    assert [each for each, _ in fetches.take_refused()] == [ONE]


async def test_an_answer_that_comes_after_another_log_was_chosen_is_left_out() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    client.answers((0, 0, batch(10, 3), {}))
    answer = client.answer

    async def late(_: int, request: Any) -> Any:
        client.asked.append(request)
        fetches.read(ONE, UUID(int=8), -1)
        return answer

    client.send = late  # type: ignore[method-assign]
    assert of(await fetches.send(1, REQUEST)) == {}
    log = fetches.log(ONE)
    assert log is not None
    assert log.epoch == -1


async def test_an_answer_about_what_was_not_asked_for_is_left_out() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    client.answers((0, 0, None, {}), (1, 0, None, {}), (7, 0, None, {}))
    assert of(await fetches.send(1, REQUEST)).keys() == {0}


async def test_a_broker_that_cannot_be_reached_is_not_asked_by_name() -> None:
    client = Client()
    client.connection = None
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    with pytest.raises(NodeNotReadyError):
        await fetches.send(1, REQUEST)
    assert client.asked == []


async def test_how_each_request_ended_is_told() -> None:
    client = Client()
    told: list[tuple[str, dict[str, int]]] = []
    fetches = IdentifiedFetches(client, lambda outcome, sizes: told.append((outcome, {**sizes})))
    await fetches.send(1, REQUEST)
    assert told == [], "nothing was asked for"
    fetches.read(ONE, ID, 3)
    fetches.read(TWO, ID, 3)
    client.answers((0, 0, batch(10, 3), {}), (1, UNKNOWN_TOPIC_ID, None, {}))
    await fetches.send(1, REQUEST)
    client.connection = None
    with pytest.raises(NodeNotReadyError):
        await fetches.send(1, REQUEST)
    assert told == [("answered", {"events": len(batch(10, 3))}), ("failed", {})]


async def test_a_batch_of_no_length_is_left_to_the_parser() -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    broken = struct.pack(">qiib", 10, -12, 3, 2) + bytes(30)
    client.answers((0, 0, broken, {}))
    assert of(await fetches.send(1, REQUEST))[0][-1] == broken


async def test_a_broker_that_knows_no_ids_is_asked_by_name() -> None:
    client = Client(newest=11)
    fetches = IdentifiedFetches(client)
    fetches.read(TWO, None, -1)

    rows: list[tuple[Any, ...]] = [(1, OffsetOutOfRangeError.errno, -1, -1, 0, [], -1, b"")]
    client.answer = SimpleNamespace(API_VERSION=11, topics=[("events", rows)])
    assert of(await fetches.send(1, REQUEST)) == {}
    (asked,) = client.asked
    assert asked.topics == [("events", [(1, 20, 99)])]
    assert [each for each, _ in fetches.take_refused()] == [TWO]


async def test_after_an_answer_with_little_the_next_question_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client()
    fetches = IdentifiedFetches(client)
    fetches.read(ONE, ID, 3)
    asked_before: list[int] = []

    async def wait(_: int) -> None:
        asked_before.append(len(client.asked))

    sizes: list[int] = []
    monkeypatch.setattr(fetches._pacing, "wait", wait)
    monkeypatch.setattr(fetches._pacing, "answered", lambda _, size: sizes.append(size))
    client.answers((0, 0, batch(10, 3), {}))
    await fetches.send(1, REQUEST)
    await fetches.send(1, REQUEST)
    assert asked_before == [0, 1]
    assert sizes == [len(batch(10, 3))] * 2
