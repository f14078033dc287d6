"""What the description of a parameter says is what is taken."""

import re
import sys

import pytest

from streams.api.parameters import NOT_BLANK

ZS = "\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000"
BLANKS = {
    "Python": r"\s",
    # ECMA-262, 12.2 and 12.3: WhiteSpace and LineTerminator
    "ECMAScript": rf"\t\n\v\f\r\ufeff\u2028\u2029{ZS}",
    # Unicode's White_Space, as in Rust
    "Rust": rf"\t\n\v\f\r\u0085\u2028\u2029{ZS}",
}


@pytest.mark.parametrize("blanks", BLANKS.values(), ids=BLANKS)
def test_patterns_of_all_languages_say_what_is_blank(blanks: str) -> None:
    pattern = re.compile(NOT_BLANK.replace(r"\s", blanks))
    wrong = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if bool(pattern.search(chr(code))) != bool(chr(code).strip())
    ]
    assert wrong == []
