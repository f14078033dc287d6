import gzip
import io
import json
from typing import Any

import pytest
from msgspec.structs import astuple

from streams.backtest.counted_lines import BLOCK_BYTES, CountedLine, read_lines
from streams.errors import UserError

AT = 1_767_225_600_000


def value(**fields: Any) -> bytes:
    line = {"at": AT, "campaign_id": "c", "counts": [["FAILURE", "t", "GCM", "GCM", 3]]}
    return json.dumps({**line, **fields}).encode()


def read(content: bytes) -> list[CountedLine]:
    blocks = read_lines("file", io.BytesIO(content))
    return [CountedLine(*astuple(each)) for block in blocks for each in block.lines]


def problem(content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        read(content)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_lines_with_and_without_what_may_be_left_out() -> None:
    full = value(app_id="a", event_time=AT - 5, more=[1])
    assert read(full + b"\n" + value(counts=[["SUCCESS", None, None, None, 0]])) == [
        CountedLine(AT, "c", [("FAILURE", "t", "GCM", "GCM", 3)], "a", AT - 5),
        CountedLine(AT, "c", [("SUCCESS", None, None, None, 0)]),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n  \n"])
def test_reads_any_end_of_lines(end: bytes) -> None:
    assert len(read(end.join([value()] * 3) + end)) == 3


def test_passes_over_a_byte_order_mark_at_the_beginning_alone() -> None:
    mark = "\ufeff".encode()
    assert read(mark + value() + b"\n" + value()) == read(value() + b"\n" + value())
    assert read(gzip.compress(mark + b"\n" + value())) == read(value())
    assert problem(value() + b"\n" + mark + value()).startswith("file, line 2: is not JSON")


def test_reads_gzip_and_files_of_many_blocks() -> None:
    lines = [value(at=AT + n) for n in range(3 * BLOCK_BYTES // len(value()))]
    content = b"\n".join(lines)
    expected = [AT + n for n in range(len(lines))]
    assert [line.at for line in read(content)] == expected
    assert [line.at for line in read(gzip.compress(content))] == expected


def test_names_the_line_also_after_blank_ones_and_in_later_blocks() -> None:
    many = b"\n".join([value()] * (2 * BLOCK_BYTES // len(value())))
    number = many.count(b"\n") + 4
    message = problem(many + b"\n\n\n" + value(at="soon"))
    assert message == f'file, line {number}: at is "soon": expected int, got str'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "file, line 2: is not JSON (Input data was truncated): {"),
        (b"\xff\xfe", "file, line 2: is not JSON (invalid character (byte 0)): \ufffd\ufffd"),
        (b"[1]", "file, line 2: it is [1]: expected object, got array"),
        (value(at=1_767_225_600), "at is 1767225600: expected milliseconds since the epoch"),
        (value(at=10**30), f"at is {'1' + '0' * 30}"),
        (value(at=AT + 0.5), f"at is {AT}.5: expected int, got float"),
        (value(event_time=-1), "event_time is -1: expected milliseconds"),
        (value(campaign_id=None), "campaign_id is null: expected str, got null"),
        (value(campaign_id=""), 'campaign_id is "": expected some text'),
        (value(campaign_id="x" * 2000), "expected at most 1,024 characters"),
        (
            value(counts=[["FAILURE", "t", "GCM", "GCM", -3]]),
            "counts[0][4] is -3: expected a whole",
        ),
        (value(counts=[["FAILURE", "t", "GCM", "GCM", 2e9]]), "counts[0][4] is 2000000000"),
        (value(counts=[["FAILURE", "t", "GCM", None]]), 'counts[0] is ["FAILURE"'),
        (
            value(counts=[[None, None, None, None, 3]]),
            "counts[0][0] is null: expected str, got null",
        ),
        (value(counts=[["FAILURE", 7, None, None, 3]]), "counts[0][1] is 7: expected"),
        (value(counts={}), "counts is {}: expected array, got object"),
        (b'{"at": 1767225600000}', "object missing required field campaign_id"),
        (value() + value(), "is not JSON"),
        (b'{"at": "x", ', "is not JSON"),
        (b'{"x": ' + b"[" * 100_000, "is not JSON"),
    ],
)
def test_hostile_lines_are_named_with_their_value(content: bytes, expected: str) -> None:
    message = problem(value() + b"\n" + content + b"\n" + value())
    assert message.startswith("file, line 2: ")
    assert expected in message
    assert len(message) < 250


def test_a_file_that_is_cut_off_is_told_and_what_came_before_is_read() -> None:
    lines = b"\n".join(value(at=AT + n, app_id=str(hash(str(n)))) for n in range(60_000))
    packed = gzip.compress(lines)
    seen = 0
    blocks = read_lines("file.gz", io.BytesIO(packed[: len(packed) // 2]))
    with pytest.raises(UserError) as caught:  # noqa: PT012 - what comes before it is looked at
        for block in blocks:
            seen += len(block.lines)
    assert seen > 1000
    assert str(caught.value) == f"file.gz, line {seen + 1}: the gzip data ends early"


def test_what_is_no_gzip_inside_is_told() -> None:
    assert problem(b"\x1f\x8b" + b"\0" * 100).startswith("file, line 1: the gzip data is damaged")


def test_a_line_without_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.backtest.counted_lines.LONGEST_LINE", 3 * BLOCK_BYTES)
    assert problem(value() + b"\n" + b"x" * 5 * BLOCK_BYTES) == (
        f"file, line 2: is longer than {3 * BLOCK_BYTES} bytes"
    )


def test_an_empty_file_has_no_lines() -> None:
    assert read(b"") == []
