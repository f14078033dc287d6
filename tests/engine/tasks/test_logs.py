"""Where a partition is read on, after its topic or its log has changed."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import StaleMetadata
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from streams.engine.consume.log_requests import DescribeTopics
from streams.engine.consume.positions import Position
from streams.engine.tasks.logs import Cause, Found, LogFinder, LostRecords, resume
from tests.support.tasks import TOPICS

OLD, NEW = UUID(int=1), UUID(int=2)
TIME = 1_790_000_000_000
AT_100 = Position(100, TIME, OLD, 4)


def test_what_was_never_read_is_read_from_its_beginning() -> None:
    assert resume(Position(0), Found(NEW, 30, 90)) == (Position(30, 0, NEW), None)


@pytest.mark.parametrize("refused", [None, 100])
def test_a_log_as_it_was_is_read_on(refused: int | None) -> None:
    assert resume(AT_100, Found(OLD, 0, 500), refused) == (AT_100, None)


def test_an_id_that_was_not_known_is_taken_down() -> None:
    assert resume(Position(100, TIME), Found(OLD, 0, 500)) == (Position(100, TIME, OLD), None)


def test_without_ids_the_offset_is_what_there_is() -> None:
    assert resume(AT_100._replace(topic_id=None), Found(None, 0, 500))[1] is None


@pytest.mark.parametrize("end", [0, 100, 5_000])
def test_a_topic_made_anew_is_read_from_its_beginning(end: int) -> None:
    position, lost = resume(AT_100, Found(NEW, 0, end))
    assert position == Position(0, TIME, NEW), "event time does not go back"
    assert lost == LostRecords(Cause.RECREATED, 0, 100)


def test_what_was_not_read_of_the_old_topic_and_is_deleted_in_the_new_one_is_lost() -> None:
    _, lost = resume(AT_100, Found(NEW, 20, 5_000), end_seen=140)
    assert lost == LostRecords(Cause.RECREATED, 40 + 20, 100)


def test_a_log_that_was_cut_off_is_read_from_there_even_if_it_has_grown_since() -> None:
    position, lost = resume(AT_100, Found(OLD, 0, 5_000, diverges=80), end_seen=130)
    assert position == Position(80, TIME, OLD)
    assert lost == LostRecords(Cause.TRUNCATED, 30, 20)


def test_an_end_is_believed_when_a_broker_refused_to_read_on() -> None:
    assert resume(AT_100, Found(OLD, 0, 60), end_seen=100) == (
        Position(60, TIME, OLD),
        LostRecords(Cause.TRUNCATED, 0, 40),
    )
    assert resume(AT_100, Found(OLD, 0, 60)) == (AT_100, None), "an embedded broker's is too small"


def test_what_was_deleted_before_it_was_read_is_lost() -> None:
    assert resume(AT_100, Found(OLD, 150, 500)) == (
        Position(150, TIME, OLD),
        LostRecords(Cause.EXPIRED, 50),
    )


def test_a_log_cut_off_and_deleted_further_is_read_from_what_there_is() -> None:
    position, lost = resume(AT_100, Found(OLD, 90, 500, diverges=80))
    assert position.offset == 90
    assert lost == LostRecords(Cause.TRUNCATED, 10, 20)


class Brokers:
    """Two brokers: both describe the topic `events`, and the second leads its only partition.

    Args:
        first: the id that the topic has in the eyes of the first, which is asked first.
        leader: that in the eyes of the leader.
    """

    def __init__(self, first: UUID, leader: UUID) -> None:
        self._ids = {1: first, 2: leader}

    def get_random_node(self) -> int:
        return 1

    async def send(self, node: int, request: Any) -> Any:
        rows: list[Any]
        if isinstance(request, DescribeTopics):
            partitions: list[Any] = [(0, 0, 2, 0, [], [], [], {})]
            rows = [(0, "events", self._ids[node], False, partitions, 0, {})]
        elif isinstance(request, OffsetRequest):
            rows = [("events", [(0, 0, -1, 5)])]
        else:
            rows = [("events", [(0, 0, 4, 100)])]
        return SimpleNamespace(topics=rows)

    async def close(self) -> None:
        """Nothing to do."""


async def find(first: UUID, leader: UUID) -> Found:
    partition = TopicPartition("events", 0)
    finder = LogFinder({}, TOPICS)
    finder._client = cast("AIOKafkaClient", Brokers(first, leader))
    found, why_not = await finder.find({partition: AT_100})
    assert why_not == {}
    return found[partition]


@pytest.mark.parametrize("one", [OLD, NEW])
async def test_a_log_is_not_taken_for_that_of_a_topic_of_the_same_name(one: UUID) -> None:
    assert await find(one, one) == Found(one, 5, 5)
    with pytest.raises(StaleMetadata, match="topic events was made anew"):
        await find(one, NEW if one == OLD else OLD)
