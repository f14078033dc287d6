"""Where an object ends, without decoding it: strings and braces alone tell."""

import re
from enum import Enum, auto
from functools import cache

_BETWEEN = rb"(?:[\s,\[\]]|\xef\xbb\xbf)*+"
SEPARATORS = re.compile(_BETWEEN)
_NEXT_OBJECT = rb"\}" + _BETWEEN + rb"\{"
# Where the object that starts here may end. A `}{` can also stand within a string: only a guess.
LIKELY_END = re.compile(rb"\}[ \t\r]*+\n|" + _NEXT_OBJECT)
NEXT_LINE = re.compile(rb"\n|" + _NEXT_OBJECT)


class Shape(Enum):
    """What can be said of the bytes from the start of an object on."""

    CLOSED = auto()  # the braces match
    BROKEN = auto()  # the braces cannot match any more
    OPEN = auto()  # more bytes are needed


@cache
def resumption(indent: int) -> re.Pattern[bytes]:
    """Return where another object starts, after one that was indented so far and never closed."""
    return re.compile(rb"\n[ \t]{0,%d}\{|" % indent + _NEXT_OBJECT)


@cache
def _tokens(indent: int) -> re.Pattern[bytes]:
    string = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
    in_place = string + rb"(?=\s*+(?:[:,}\]]|\Z))"
    # Group 1 is a string where none can be: a quote is missing before it. Group 2 has no end.
    new_object = rb"\n[ \t]{0,%d}\{|\}\s*+\{" % indent
    return re.compile(in_place + b"|(" + string + rb')|(")|' + new_object + rb"|[{}]")


def outline(data: bytes, start: int, indent: int) -> tuple[Shape, int]:
    """Follow strings and braces from `start`: how the object stands, and where that was clear."""
    depth = 0
    for token in _tokens(indent).finditer(data, start):
        at = token.start()
        first = data[at]
        if first == ord("{"):
            depth += 1
        elif first == ord("}"):
            depth -= 1
            if depth == 0:
                return Shape.CLOSED, at + 1
            if token.end() - at > 1:
                return Shape.BROKEN, at
        elif first == ord("\n") or token.lastindex == 1:
            return Shape.BROKEN, at
        elif token.lastindex == 2:  # noqa: PLR2004 - the pattern's second group
            return (Shape.OPEN if data.find(b"\n", at) < 0 else Shape.BROKEN), at
    return Shape.OPEN, len(data)
