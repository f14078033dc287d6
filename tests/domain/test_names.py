"""Names, as they come from a topic to which anybody may write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.names import LONGEST_ID, BadNameError, NameBook, checked, encode


def test_the_newest_record_names() -> None:
    book = NameBook()
    book.restore(b"4f8d", b'{"name": " Spring sale ", "by": "crm"}')
    book.restore("grüße".encode(), encode("👩‍💻 Grüße"))
    assert (book.of("4f8d"), book.of("grüße"), book.of(None)) == ("Spring sale", "👩‍💻 Grüße", None)
    book.restore(b"4f8d", encode("Summer sale"))
    assert book.of("4f8d") == "Summer sale"
    book.restore(b"4f8d", None)
    book.restore(b"never", None)
    assert (book.of("4f8d"), len(book), book.skipped) == (None, 1, 0)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Spring",
        b'"Spring"',
        b"{}",
        b'{"name": null}',
        b'{"name": ["a"]}',
        b'{"name": ""}',
        b'{"name": "   "}',
        b'{"name": "\xff"}',
        b'{"name": "a\\u0000"}',
        b'{"name": "a\\u001b[31m"}',
        b'{"name": "two\\nlines"}',
        b'{"name": "\\u202eright to left"}',
        encode("x" * 201),
        b"[" * 100_000,
    ],
)
def test_what_is_no_name_is_skipped_and_counted(value: bytes) -> None:
    book = NameBook()
    book.restore(b"id", encode("before"))
    with pytest.raises(BadNameError):
        book.restore(b"id", value)
    assert (book.of("id"), book.skipped) == (None, 1), "a worker that starts now never saw it"


def test_keys_that_are_no_ids() -> None:
    book = NameBook()
    for key in (b"\xff", b"x" * (LONGEST_ID + 1)):
        with pytest.raises(BadNameError):
            book.restore(key, encode("name"))
    assert (len(book), book.skipped) == (0, 2)


def test_there_is_room_for_so_many_names() -> None:
    book = NameBook(most=2)
    book.restore(b"a", encode("A"))
    book.restore(b"b", encode("B"))
    with pytest.raises(BadNameError, match="there are 2 names already"):
        book.restore(b"c", encode("C"))
    book.restore(b"a", encode("another"))
    assert (book.of("a"), book.of("c")) == ("another", None)


@given(st.binary() | st.text().map(str.encode), st.none() | st.binary() | st.text().map(encode))
def test_any_record_is_taken_or_skipped(key: bytes, value: bytes | None) -> None:
    book = NameBook()
    try:
        book.restore(key, value)
    except BadNameError:
        assert (len(book), book.skipped) == (0, 1)
    else:
        assert book.skipped == 0


@given(st.text(max_size=210))
def test_a_name_is_one_line(text: str) -> None:
    try:
        name = checked(text)
    except BadNameError:
        return
    assert 1 <= len(name) <= 200
    assert checked(name) == name
    assert len(name.splitlines()) == 1
