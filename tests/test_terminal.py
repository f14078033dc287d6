import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.terminal import abbreviated, printable, printable_json, printable_lines

STEERING = "\x1b[2J\r\b\x07\x7f\x9b31m\u202e\u2066\u200b\u2028\ufeff\ud800\U000e0001"


def test_nothing_that_steers_a_terminal_is_left() -> None:
    assert printable("a\x1b[31m\u202eb\ud800") == "a\\x1b[31m\\u202eb\\ud800"
    assert printable(STEERING).isprintable()
    assert printable("two\nlines") == "two\\nlines"
    assert printable_lines("two\nlines\r") == "two\nlines\\r"
    assert printable("Grüße 🎉 [bold]") == "Grüße 🎉 [bold]"


def test_of_a_long_text_the_middle_is_left_out() -> None:
    assert abbreviated("campaign", 8) == "campaign"
    assert abbreviated("campaign!", 8) == "camp…gn!"
    assert abbreviated("x" * 4096, 64) == "x" * 32 + "…" + "x" * 31


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize("ascii_only", [True, False])
@given(text=st.text(st.characters(codec=None)) | st.just(STEERING))
def test_json_stays_the_same_document(text: str, ascii_only: bool) -> None:
    shown = printable_json(json.dumps({text: [text]}, indent=2, ensure_ascii=ascii_only))
    assert all(line.isprintable() for line in shown.split("\n"))
    (key, (value,)) = next(iter(json.loads(shown).items()))
    # Two halves of a surrogate, side by side, are one character in JSON.
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert key == value == whole
