"""Requests that aiokafka does not have, as they go over the wire."""

from io import BytesIO
from uuid import UUID

import pytest
from aiokafka.protocol.types import Array, CompactString, Int32, Schema, String, TaggedFields

from streams.engine.consume.log_requests import DescribeTopics, EpochEnds, FetchById, Wanted
from streams.engine.protocol import NO_TAGS, SingleVersionRequest

ID = UUID(int=7)


class Greet(SingleVersionRequest):
    """A request of a flexible version."""

    API_KEY = 99
    API_VERSION = 2
    FLEXIBLE = True
    SCHEMA = Schema(("name", CompactString("utf-8")), ("tags", TaggedFields))
    RESPONSE_SCHEMA = Schema(("greeting", CompactString("utf-8")), ("tags", TaggedFields))


class Count(SingleVersionRequest):
    """A request of a version that is not flexible."""

    API_KEY = 98
    API_VERSION = 0
    SCHEMA = Schema(("names", Array(String("utf-8"))))
    RESPONSE_SCHEMA = Schema(("number", Int32))


def test_a_request_has_the_header_of_its_version_and_the_fields_in_order() -> None:
    greet = Greet("ada", NO_TAGS).prepare({99: (0, 5)})
    header = greet.build_request_header(correlation_id=3, client_id="c")
    assert header.encode() == b"\x00\x63\x00\x02\x00\x00\x00\x03\x00\x01c\x00"
    assert greet.encode() == b"\x04ada\x00"
    count = Count(["ada", "bob"]).prepare({98: (0, 0)})
    header = count.build_request_header(correlation_id=3, client_id="c")
    assert header.encode() == b"\x00\x62\x00\x00\x00\x00\x00\x03\x00\x01c"
    assert count.encode() == b"\x00\x00\x00\x02\x00\x03ada\x00\x03bob"


def test_a_response_is_read_with_the_schema_and_the_header_of_its_request() -> None:
    greet = Greet("ada", NO_TAGS).prepare({99: (2, 2)})
    answer = BytesIO(b"\x00\x00\x00\x03\x00\x06hello\x00")
    assert greet.parse_response_header(answer).correlation_id == 3
    assert greet.RESPONSE_TYPE.decode(answer).greeting == "hello"
    count = Count([]).prepare({98: (0, 0)})
    answer = BytesIO(b"\x00\x00\x00\x03\x00\x00\x00\x02")
    assert count.parse_response_header(answer).correlation_id == 3
    assert count.RESPONSE_TYPE.decode(answer).number == 2


@pytest.mark.parametrize("versions", [(0, 1), (3, 9)])
def test_a_broker_without_the_version_is_not_asked(versions: tuple[int, int]) -> None:
    with pytest.raises(NotImplementedError, match="Greet"):
        Greet("ada", NO_TAGS).prepare({99: versions})


def test_each_request_that_is_declared_is_sent_as_kafka_defines_it() -> None:
    fetch = FetchById(500, 1, 64, 1, [(ID, [Wanted(2, 10, 3, 32)])], "r")
    assert fetch.prepare({1: (4, 17)}).encode() == (
        b"\xff\xff\xff\xff\x00\x00\x01\xf4\x00\x00\x00\x01\x00\x00\x00\x40\x01"
        b"\x00\x00\x00\x00\xff\xff\xff\xff"
        b"\x02" + ID.bytes + b"\x02\x00\x00\x00\x02\xff\xff\xff\xff"
        b"\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x03"
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x20\x00\x00"
        b"\x01\x02r\x00"
    )
    topics = DescribeTopics(["t"]).prepare({3: (0, 13)})
    assert topics.encode() == b"\x02" + bytes(16) + b"\x02t\x00\x00\x00\x00"
    ends = EpochEnds([("t", [(2, 5)])]).prepare({23: (2, 4)})
    assert ends.encode() == (
        b"\xff\xff\xff\xff\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01"
        b"\x00\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x05"
    )
