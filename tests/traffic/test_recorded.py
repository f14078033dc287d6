import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.traffic import recorded
from streams.traffic.recorded import Problem, Recorded, read_events

Event = dict[str, Any]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(alphabet='a"\\{}[]\n,é😀 :'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
EVENTS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), max_size=6)


def compact(event: Event) -> str:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


LAYOUTS: dict[str, Callable[[list[Event]], str]] = {
    "lines": lambda events: "".join(compact(event) + "\n" for event in events),
    "lines, CRLF": lambda events: "\r\n".join(map(compact, events)),
    "blank lines": lambda events: "\n\n \t\n".join(map(compact, events)),
    "byte order mark": lambda events: "\ufeff" + "\n".join(map(compact, events)),
    "nothing between": lambda events: "".join(map(compact, events)),
    "spaces between": lambda events: "  ".join(map(compact, events)),
    "printed": lambda events: "\n".join(json.dumps(event, indent=2) for event in events),
    "printed, nothing between": lambda events: "".join(json.dumps(e, indent=1) for e in events),
    "array": lambda events: json.dumps(events, separators=(",", ":")),
    "printed array": lambda events: json.dumps(events, indent=4),
    "files joined": lambda events: "".join("\ufeff" + compact(event) for event in events),
}


def read(content: bytes, block_bytes: int = 1 << 20) -> tuple[list[bytes], list[Problem]]:
    found = list(read_events(io.BytesIO(content), block_bytes=block_bytes))
    for each in found:
        assert each.offset >= 0
    return (
        [each.value for each in found if isinstance(each, Recorded)],
        [each for each in found if isinstance(each, Problem)],
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@given(events=EVENTS, block_bytes=st.integers(1, 40), members=st.integers(0, 3))
def test_reads_every_layout_back(
    layout: str, events: list[Event], block_bytes: int, members: int
) -> None:
    content = LAYOUTS[layout](events).encode()
    if members:
        size = len(content) // members + 1
        parts = [content[size * n : size * (n + 1)] for n in range(members)]
        content = b"".join(gzip.compress(part) for part in parts)
    values, problems = read(content, block_bytes)
    assert [json.loads(value) for value in values] == events
    assert problems == []


@given(events=EVENTS, block_bytes=st.integers(1, 40))
def test_offsets_point_at_the_events(events: list[Event], block_bytes: int) -> None:
    content = LAYOUTS["printed array"](events).encode()
    for each in read_events(io.BytesIO(content), block_bytes=block_bytes):
        assert isinstance(each, Recorded)
        assert content[each.offset :].startswith(each.value)


GOOD = b'{"a":{"b":"}{"}}'
BAD = {
    "cut short": b'{"a":{"b":1',
    "cut within a string": b'{"a":"b{}',
    "a brace too many": b'{"a":1}}',
    "a brace missing": b'{"a":{"b":1}',
    "not JSON in braces": b'{"a": nope}',
    "NaN": b'{"a":NaN}',
    "words": b"INFO started",
    "a number": b"42",
    "not UTF-8": b'{"a":"\xff"}',
    "a line break in a string": b'{"a":"b\n c"}',
}


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("bad", BAD)
def test_one_bad_line_loses_no_other(bad: str, block_bytes: int) -> None:
    values, problems = read(b"\n".join([GOOD, BAD[bad], GOOD, GOOD]), block_bytes)
    assert values.count(GOOD) == 3
    assert problems[0].line == 2
    assert problems[0].offset <= len(GOOD) + len(BAD[bad])
    assert len(problems) <= 2


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("bad", BAD)
def test_one_bad_object_among_joined_ones_loses_at_most_its_neighbour(
    bad: str, block_bytes: int
) -> None:
    joined = b'{"n":1}' + BAD[bad] + b'{"n":2}{"n":3}{"n":4}'
    values, problems = read(joined, block_bytes)
    assert values[0] == b'{"n":1}'
    assert values[-2:] == [b'{"n":3}', b'{"n":4}']
    assert problems


def test_the_same_flaw_elsewhere_has_the_same_reason() -> None:
    flaws = [b'{"a":%s nope}', b'{"a":"%s\xff"}']
    content = b"\n".join(flaw % (b" " * n) for flaw in flaws for n in range(10))
    _, problems = read(content)
    reasons = Counter(problem.reason for problem in problems)
    assert reasons == {"not JSON: invalid character": 10, "not UTF-8: invalid start byte": 10}


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
def test_one_bad_element_of_a_printed_array_loses_no_other(block_bytes: int) -> None:
    content = b'[\n  {\n    "a": 1\n  },\n  {\n    "a": {\n  },\n  {\n    "a": 3\n  }\n]\n'
    values, problems = read(content, block_bytes)
    assert [json.loads(value) for value in values] == [{"a": 1}, {"a": 3}]
    assert [(problem.line, problem.reason) for problem in problems] == [
        (5, "an object that does not end")
    ]


@given(
    content=st.binary(max_size=200)
    | st.text(alphabet='{}"\\\n a:1,[]', max_size=60).map(str.encode)
)
def test_any_bytes_are_read_to_the_end_the_same_way_in_any_blocks(content: bytes) -> None:
    whole = read(content)
    assert read(content, 1) == whole
    assert read(content, 5) == whole


def test_blanks_at_the_end_are_no_part_of_the_last_event() -> None:
    assert read(b'{"n":1} ') == ([b'{"n":1}'], [])


@pytest.mark.parametrize("cut", [5, 12, 40])
def test_gzip_that_ends_early_gives_what_it_has_and_says_so(cut: int) -> None:
    lines = b"".join(b'{"n":%d}\n' % n for n in range(2000))
    values, problems = read(gzip.compress(lines)[:-cut])
    assert values
    assert values[0] == b'{"n":0}'
    assert problems[-1].reason == "the gzip data ends early"


def test_damaged_gzip_says_so() -> None:
    values, problems = read(gzip.compress(b'{"n":1}\n') + b"\x1f\x8bgarbage")
    assert values == [b'{"n":1}']
    assert "gzip data is damaged" in problems[-1].reason


def test_padding_between_gzip_members_is_passed_over() -> None:
    member = gzip.compress(b'{"n":1}')
    assert read(member + b"\0" * 512 + member + b"\0") == ([b'{"n":1}'] * 2, [])


def test_an_object_of_any_size_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "LARGEST_OBJECT", 4000)
    content = b'{"a":1}\n{"a":"' + b"x" * 50_000 + b'"}\n{"a":2}\n'
    values, problems = read(content, 512)
    assert values == [b'{"a":1}', b'{"a":2}']
    assert [problem.reason for problem in problems] == ["larger than 4000 bytes"]


def test_deep_nesting_is_a_problem_not_a_crash() -> None:
    values, problems = read(b'{"a":' * 5000 + b"1" + b"}" * 5000 + b'\n{"a":2}\n')
    assert values == [b'{"a":2}']
    assert [problem.line for problem in problems] == [1]


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":"}{"}' * 40_000,
        b"{\n" * 40_000,
        b'{"a":1}}' * 40_000,
        b'{"a":"cut' * 40_000,
        b"[1," * 40_000,
        b'{"a":1}' + b" " * 2_000_000 + b'{"a":1}',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_tempts_into_reading_again_and_again_comes_to_an_end(content: bytes) -> None:
    """Time that grew with the square of the size would be minutes here, not a second."""
    values, problems = read(content)
    assert values or problems


def test_the_vendors_sample_and_real_events() -> None:
    # "Campaign events" in the Amazon Pinpoint developer guide, made valid JSON.
    sample = json.loads(
        '{"event_type":"_campaign.send","event_timestamp":1562109497426,"client_context":{"custom":'
        '{"endpoint":"{\\"ChannelType\\":\\"GCM\\",\\"User\\":{}}"}}}'
    )
    firehose = gzip.compress(compact(sample).encode() * 3)
    values, problems = read(firehose)
    assert [json.loads(value) for value in values] == [sample] * 3
    assert problems == []
