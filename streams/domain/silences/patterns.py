r"""Regular expressions that are matched in linear time, whatever the pattern.

Python's `re` tries alternatives one after the other, so `(a+)+b` takes time exponential in the
length of the text; silences come from an API, and the texts from producers. A pattern here is a
Glushkov automaton: a position for each character that it may read, and for each position those that
may follow. Matching keeps the set of all positions that are reached, as the bits of an integer, and
looks at each character once. Sets that were met are kept, so a further text takes one look-up a
character.

The syntax is that of RE2 (https://github.com/google/re2/wiki/Syntax), which Alertmanager has, as
far as it is listed here: characters, `.`, classes `[a-z]`, `[^a-z]`, `\d \w \s` and `\D \W \S`,
groups `(…)` and `(?:…)`, `|`, `* + ? {n} {n,} {n,m}`, `^` at the beginning and `$` at the end,
`(?i)` at the very beginning. Anything else is refused, and never understood otherwise than RE2
does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import or_
from typing import TypeAlias

LONGEST_PATTERN = 4_000
"""Characters of a pattern."""
MOST_POSITIONS = 250
"""Characters that a pattern may read, with `{n}` written out: the time for a character of text
grows with it."""
DEEPEST = 50
"""Groups within groups."""
MOST_REPEATS = 1_000
"""The largest n of `{n}`, as in RE2."""
MOST_LITERALS = 100
"""Texts of a pattern that lists them, as `a|b|c` does."""
MOST_MOVES = 1_000
"""Moves from a set of positions by a character that a pattern keeps; past that, it begins anew."""

_LAST = 0x10FFFF
_NAMED = {
    "d": ((48, 57),),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "s": ((9, 10), (12, 13), (32, 32)),
}
_CONTROLS = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}

_Ranges: TypeAlias = tuple[tuple[int, int], ...]


class PatternError(ValueError):
    """A regular expression that is refused: says what, where, and what is possible."""


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character of a class: of any of the ranges of code points, or of none of them."""

    ranges: _Ranges
    negated: bool = False
    any_case: bool = False

    def has(self, char: str) -> bool:
        """Tell whether a character is in the class."""
        chars = {char, char.lower(), char.upper()} if self.any_case else {char}
        points = [ord(each) for each in chars if len(each) == 1]
        found = any(low <= point <= high for low, high in self.ranges for point in points)
        return found != self.negated

    @property
    def only(self) -> str | None:
        """The character, if it is exactly one."""
        if self.negated or self.any_case or len(self.ranges) != 1:
            return None
        low, high = self.ranges[0]
        return chr(low) if low == high else None


@dataclass(frozen=True, slots=True)
class _Anchor:
    """`^` or `$`."""

    char: str
    at: int


@dataclass(frozen=True, slots=True)
class _Sequence:
    """One after the other."""

    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Choice:
    """One of them."""

    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Repeat:
    """From `least` to `most` times; null for any number."""

    part: "_Node"
    least: int
    most: int | None


_Node: TypeAlias = _Chars | _Anchor | _Sequence | _Choice | _Repeat


class Pattern:
    """A regular expression that matches texts as a whole, as Alertmanager anchors them.

    Args:
        text: the expression.

    Attributes:
        literals: the texts that it matches, if it lists them: `a|b|c`. Null otherwise.

    Raises:
        PatternError: if it is no expression, or one that is refused.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST_PATTERN:
            raise PatternError(
                f"has {len(text)} characters: at most {LONGEST_PATTERN} are possible"
            )
        node = _Parser(text).parse()
        _check_anchors(node, first=True, last=True)
        self.literals = _literals_of(node)
        if self.literals is None and (positions := _size(node)) > MOST_POSITIONS:
            raise PatternError(
                f"reads up to {positions} characters, with repetitions written out: at most "
                f"{MOST_POSITIONS} are possible; use * or + in place of a large {{n}}"
            )
        self._automaton = _Automaton(node) if self.literals is None else _Automaton(_Sequence(()))
        self._prefix = _prefix_of(node)
        self._moves = 0
        self._begin = self._reset()

    def _reset(self) -> "_Reached":
        self._known: dict[int, _Reached] = {}
        self._moves = 0
        return self._reached(_Automaton.START)

    def _reached(self, positions: int) -> "_Reached":
        known = self._known.get(positions)
        if known is None:
            known = self._known[positions] = _Reached(positions)
        return known

    def matches(self, text: str) -> bool:
        """Tell whether the whole text is one that the expression describes."""
        if self.literals is not None:
            return text in self.literals
        if not text.startswith(self._prefix):
            return False
        reached = self._begin
        for char in text:
            after = reached.moves.get(char)
            if after is None:
                after = self._move(reached, char)
            if not after.positions:
                return False
            reached = after
        return self._automaton.accepts(reached.positions)

    def _move(self, reached: "_Reached", char: str) -> "_Reached":
        if self._moves >= MOST_MOVES:
            self._begin = self._reset()
        self._moves += 1
        after = self._reached(self._automaton.move(reached.positions, char))
        reached.moves[char] = after
        return after


class _Reached:
    """A set of positions, and where each character that was met there leads."""

    __slots__ = ("moves", "positions")

    def __init__(self, positions: int) -> None:
        self.positions = positions
        self.moves: dict[str, _Reached] = {}


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an expression: the positions that it can begin and end with, as bits."""

    first: int
    last: int
    can_be_empty: bool


class _Automaton:
    """The positions of an expression, and which may follow which.

    Position 0, bit `START`, is before the text.
    """

    START = 1

    def __init__(self, node: _Node) -> None:
        self._chars: list[_Chars] = []
        self._follow: list[int] = [0]
        whole = self._add(node)
        self._follow[0] = whole.first
        self._accepting = whole.last | (self.START if whole.can_be_empty else 0)
        self._of_class: dict[_Chars, int] = {}
        for position, chars in enumerate(self._chars, 1):
            self._of_class[chars] = self._of_class.get(chars, 0) | 1 << position
        self._of_char: dict[str, int] = {}
        self._after_digit: dict[tuple[int, str], int] = {}

    def accepts(self, positions: int) -> bool:
        """Tell whether a text may end where any of the positions is reached."""
        return bool(positions & self._accepting)

    def move(self, positions: int, char: str) -> int:
        """Return the positions that are reached from any of these by one more character."""
        candidates = 0
        # Four positions at a time.
        for place, digit in enumerate(reversed(f"{positions:x}")):
            if digit != "0":
                after = self._after_digit.get((place, digit))
                candidates |= self._follow_digit(place, digit) if after is None else after
        return candidates & self._positions_of(char)

    def _follow_digit(self, place: int, digit: str) -> int:
        """Return what may follow the positions of one hexadecimal digit, places from the lowest."""
        after = (self._follow[4 * place + each] for each in _bits(int(digit, 16)))
        found = self._after_digit[place, digit] = reduce(or_, after, 0)
        return found

    def _positions_of(self, char: str) -> int:
        """Return the positions that may read a character."""
        positions = self._of_char.get(char)
        if positions is None:
            if len(self._of_char) >= MOST_MOVES:
                self._of_char.clear()
            found = (of_class for each, of_class in self._of_class.items() if each.has(char))
            positions = self._of_char[char] = reduce(or_, found, 0)
        return positions

    def _add(self, node: _Node) -> _Part:
        match node:
            case _Chars():
                self._chars.append(node)
                self._follow.append(0)
                bit = 1 << len(self._chars)
                return _Part(bit, bit, can_be_empty=False)
            case _Anchor():
                return _Part(0, 0, can_be_empty=True)
            case _Sequence():
                return self._chain(self._add(part) for part in node.parts)
            case _Choice():
                parts = [self._add(part) for part in node.parts]
                return _Part(
                    reduce(or_, (part.first for part in parts)),
                    reduce(or_, (part.last for part in parts)),
                    can_be_empty=any(part.can_be_empty for part in parts),
                )
            case _Repeat():
                return self._chain(self._repeated(node))

    def _repeated(self, node: _Repeat) -> Iterator[_Part]:
        """Yield the copies of a part that is repeated; the last one may loop."""
        copies = max(node.least, 1) if node.most is None else node.most
        for number in range(1, copies + 1):
            part = self._add(node.part)
            if node.most is None and number == copies:
                self._link(part.last, part.first)
            is_optional = number > node.least
            yield _Part(part.first, part.last, can_be_empty=part.can_be_empty or is_optional)

    def _chain(self, parts: Iterable[_Part]) -> _Part:
        whole = _Part(0, 0, can_be_empty=True)
        for part in parts:
            self._link(whole.last, part.first)
            whole = _Part(
                whole.first | (part.first if whole.can_be_empty else 0),
                part.last | (whole.last if part.can_be_empty else 0),
                can_be_empty=whole.can_be_empty and part.can_be_empty,
            )
        return whole

    def _link(self, before: int, after: int) -> None:
        for each in _bits(before):
            self._follow[each] |= after


def _bits(number: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, from the lowest."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _size(node: _Node) -> int:
    """Return how many positions a node has once repetitions are written out; at least 1."""
    match node:
        case _Sequence() | _Choice():
            return max(1, sum(_size(part) for part in node.parts))
        case _Repeat():
            times = max(node.least, 1) if node.most is None else node.most
            return max(1, _size(node.part) * times)
        case _:
            return 1


def _literals_of(node: _Node) -> frozenset[str] | None:
    """Return the texts that a node describes, if it lists them."""
    match node:
        case _Chars():
            return frozenset({node.only}) if node.only is not None else None
        case _Anchor():
            return frozenset({""})
        case _Repeat():
            return None
        case _Choice() | _Sequence():
            found = [_literals_of(part) for part in node.parts]
            known = [each for each in found if each is not None]
            if len(known) < len(found):
                return None
            any_of_them = isinstance(node, _Choice)
            texts = frozenset[str]().union(*known) if any_of_them else _joined(known)
            return texts if len(texts) <= MOST_LITERALS else None


def _prefix_of(node: _Node) -> str:
    """Return what every text that a node describes begins with, as far as that is plain to see."""
    parts = node.parts if isinstance(node, _Sequence) else (node,)
    prefix = ""
    for part in parts:
        char = part.only if isinstance(part, _Chars) else None
        if char is None and not isinstance(part, _Anchor):
            break
        prefix += char or ""
    return prefix


def _joined(parts: list[frozenset[str]]) -> frozenset[str]:
    """Return every text that is one of each part, in their order; too many if there are more."""
    texts = frozenset({""})
    for part in parts:
        texts = frozenset(map("".join, product(texts, part)))
        if len(texts) > MOST_LITERALS:
            break
    return texts


def _check_anchors(node: _Node, *, first: bool, last: bool) -> None:
    """Refuse `^` but at the beginning and `$` but at the end, where they change nothing."""
    match node:
        case _Anchor():
            if not (first if node.char == "^" else last):
                where = "beginning" if node.char == "^" else "end"
                raise PatternError(
                    f"has {node.char} at character {node.at + 1}: it is possible only at the "
                    f"{where}; write \\{node.char} for the character"
                )
        case _Choice():
            for part in node.parts:
                _check_anchors(part, first=first, last=last)
        case _Repeat():
            _check_anchors(node.part, first=False, last=False)
        case _Sequence():
            opening = [isinstance(part, _Anchor) and part.char == "^" for part in node.parts]
            closing = [isinstance(part, _Anchor) and part.char == "$" for part in node.parts]
            for at, part in enumerate(node.parts):
                is_first, is_last = all(opening[:at]), all(closing[at + 1 :])
                _check_anchors(part, first=first and is_first, last=last and is_last)
        case _:
            pass


class _Parser:
    """Reads one expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._any_case = self._take("(?i)")

    def parse(self) -> _Node:
        """Return the expression.

        Raises:
            PatternError: if it is none.
        """
        node = self._choice()
        if self._at < len(self._text):
            raise self._refused("has a ) without (", "write \\) for the character")
        return node

    def _take(self, expected: str) -> bool:
        found = self._text.startswith(expected, self._at)
        if found:
            self._at += len(expected)
        return found

    def _next(self) -> str:
        """Return the next character, or nothing at the end."""
        return self._text[self._at : self._at + 1]

    def _refused(self, what: str, hint: str, at: int | None = None) -> PatternError:
        place = min(self._at if at is None else at, len(self._text)) + 1
        return PatternError(f"{what} at character {place}: {hint}")

    def _choice(self) -> _Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._next() not in {"", "|", ")"}:
            parts.append(self._repeats(self._atom()))
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _repeats(self, node: _Node) -> _Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        self._take("?")  # As few as possible: which texts match as a whole is the same.
        if self._next() in _REPEATS or self._counted() is not None:
            raise self._refused("repeats a repetition", "put the first one into ( )")
        return _Repeat(node, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        if self._next() in _REPEATS:
            self._at += 1
            return _REPEATS[self._text[self._at - 1]]
        counted = self._counted()
        if counted is None:
            return None
        least, most, end = counted
        high = least if most is None else most
        if high < least or high > MOST_REPEATS:
            hint = f"expected {{n}}, {{n,}} or {{n,m}} with n ≤ m ≤ {MOST_REPEATS}"
            raise self._refused("has a repetition that is not possible", hint)
        self._at = end
        return least, most

    def _counted(self) -> tuple[int, int | None, int] | None:
        """Return the bounds of a `{n,m}` that is next, and where it ends; null if none is.

        As in RE2, any other { is a character.
        """
        end = self._text.find("}", self._at)
        if self._next() != "{" or end < 0:
            return None
        low, comma, high = self._text[self._at + 1 : end].partition(",")
        if not _is_number(low) or (high and not _is_number(high)):
            return None
        least = int(low)
        most = (int(high) if high else None) if comma else least
        return least, most, end + 1

    def _atom(self) -> _Node:
        char = self._next()
        if char in _REPEATS or self._counted() is not None:
            raise self._refused(f"has a {char} with nothing before it", f"write \\{char}")
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        self._at += 1
        if char in {"^", "$"}:
            return _Anchor(char, self._at - 1)
        if char == ".":
            return _Chars(((10, 10),), negated=True)
        if char == "\\":
            return self._escaped()
        return self._char(ord(char))

    def _char(self, point: int) -> _Chars:
        return _Chars(((point, point),), any_case=self._any_case)

    def _group(self) -> _Node:
        begin = self._at
        self._at += 1
        if not self._take("?:") and self._next() == "?":
            hint = "only (?:…) is, and (?i) at the beginning of the expression"
            raise self._refused("has a kind of group that is not possible", hint, begin)
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._refused("has too many groups within groups", f"at most {DEEPEST}", begin)
        node = self._choice()
        self._depth -= 1
        if not self._take(")"):
            raise self._refused("has a ( without )", "write \\( for the character", begin)
        return node

    def _escaped(self) -> _Chars:
        char = self._next()
        if char and char.lower() in _NAMED:
            self._at += 1
            return _Chars(_NAMED[char.lower()], negated=char.isupper())
        return self._char(self._escape())

    def _escape(self) -> int:
        """Return the code point of an escaped character, after its backslash."""
        char = self._next()
        if char in _CONTROLS:
            self._at += 1
            return _CONTROLS[char]
        if char and char.isascii() and char.isprintable() and not char.isalnum():
            self._at += 1
            return ord(char)
        hint = "expected one of \\d \\w \\s \\D \\W \\S \\t \\n \\r, or a sign such as \\. or \\*"
        raise self._refused(f"has \\{char}", hint, self._at - 1)

    def _class(self) -> _Node:
        begin = self._at
        self._at += 1
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not ranges or self._next() != "]":
            if not self._next():
                raise self._refused("has a [ without ]", "write \\[ for the character", begin)
            ranges += self._member(begin)
        self._at += 1
        return _Chars(tuple(ranges), negated=negated, any_case=self._any_case)

    def _member(self, begin: int) -> _Ranges:
        """Read a character, a range or a named class within a class."""
        if self._text.startswith(("[:", "\\"), self._at) and (named := self._named()):
            return named
        low = high = self._class_char(begin)
        if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in {"", "]"}:
            self._at += 1
            high = self._class_char(begin)
            if high < low:
                raise self._refused("has a range from high to low", "the lower one is first", begin)
        return ((low, high),)

    def _named(self) -> _Ranges | None:
        if self._take("[:"):
            raise self._refused("has [: in a class", "write a range such as a-z", self._at - 2)
        kind = self._text[self._at + 1 : self._at + 2]
        ranges = _NAMED.get(kind.lower())
        if ranges is None:
            return None
        self._at += 2
        return ranges if kind.islower() else _all_but(ranges)

    def _class_char(self, begin: int) -> int:
        char = self._next()
        if not char:
            raise self._refused("has a [ without ]", "write \\[ for the character", begin)
        self._at += 1
        return self._escape() if char == "\\" else ord(char)


def _is_number(text: str) -> bool:
    """Tell whether a text is a number of up to six digits."""
    return 0 < len(text) <= len("123456") and text.isascii() and text.isdigit()


def _all_but(ranges: _Ranges) -> _Ranges:
    """Return the ranges of all other code points; the given ones are in order and apart."""
    edges = [-1, *(edge for pair in ranges for edge in pair), _LAST + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low + 1, high - 1) for low, high in pairs if low + 1 <= high - 1)
