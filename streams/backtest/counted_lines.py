"""A file of counts: one JSON object a line, in the order of their arrival, gzip or not.

    {"at": 1767225600000, "event_time": 1767225599000, "campaign_id": "c", "app_id": "a",
     "counts": [["FAILURE", "treatment", "delivery type", "channel", 3]]}

`at` and `event_time` are ms since the epoch; `event_time` is `at` if left out. `app_id`, treatment,
delivery type and channel may be null. Any other key is passed over, and so are blank lines and a
byte order mark.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, NoReturn, TypeAlias

import msgspec

from streams.domain.events import EARLIEST_MS
from streams.errors import UserError
from streams.terminal import abbreviated, printable
from streams.traffic.gzipped import GzipError, Readable, plain_blocks

BLOCK_BYTES = 1 << 20
LONGEST_LINE = 8 << 20
"""Bytes."""
LATEST_MS = 32_503_680_000_000
"""The year 3000."""
MOST_AT_ONCE = 1_000_000_000
LONGEST_NAME = 1024
"""Characters. Four of them are what the names of one event may have together."""
MOST_KNOWN = 65_536
"""Counts that are kept, as most lines have the same as others; then all are read anew."""
SHOWN = 80
"""Characters of a value in an error."""

Time: TypeAlias = Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
Value: TypeAlias = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)] | None
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MOST_AT_ONCE)]
Counted: TypeAlias = tuple[Name, Value, Value, Value, Number]
"""Status, treatment, delivery type, channel, and how many sends."""


class Lines(NamedTuple):
    """Some lines of a file, in a row: `first` is the number of the first one, from 1."""

    file: str
    first: int
    lines: "list[CountedLine]"

    def place_of(self, line: "CountedLine") -> str:
        """Return the file and the number of one of the lines."""
        at = next(at for at, each in enumerate(self.lines) if each is line)
        return f"{self.file}, line {self.first + at}"


class CountedLine(msgspec.Struct, gc=False):
    """What arrived of one campaign at one time. Lines may share their counts."""

    at: Time
    campaign_id: Name
    counts: list[Counted]
    app_id: Value = None
    event_time: Time | None = None


class _RawLine(CountedLine, gc=False):
    """A line whose counts are still to be read."""

    counts: msgspec.Raw  # type: ignore[assignment] # only until `_read_counts`


_decoder = msgspec.json.Decoder(CountedLine)
_raw_decoder = msgspec.json.Decoder(_RawLine)
_decode_counts = msgspec.json.Decoder(list[Counted]).decode
_Known: TypeAlias = dict[bytes, list[Counted]]
"""By how they are written, counts."""
_EXPECTED = (
    (
        r"`int` (>=|<=) -?\d+ - at `\$\.(at|event_time)`",
        "expected milliseconds since the epoch, from 2010 on and before the year 3000",
    ),
    (r"`int` (>=|<=) -?\d+ - at `\$\.counts", f"expected a whole number up to {MOST_AT_ONCE:,}"),
    (r"`str` of length <=", f"expected at most {LONGEST_NAME:,} characters"),
    (r"`str` of length >=", "expected some text"),
)


def read_lines(name: str, stream: Readable) -> Iterator[Lines]:
    """Yield the lines of a file, some at a time.

    Args:
        name: of the file, for errors.
        stream: the file.

    Raises:
        UserError: names the file, the line and the value that is wrong.
    """
    first, parts = 1, list[bytes]()
    known: _Known = {}
    try:
        for block in plain_blocks(stream, BLOCK_BYTES):
            whole, newline, rest = block.rpartition(b"\n")
            if newline:
                text = b"".join([*parts, whole])
                yield from _decoded(name, first, text, known)
                first += text.count(b"\n") + 1
                parts.clear()
            parts.append(rest)
            if sum(map(len, parts)) > LONGEST_LINE:
                raise UserError(f"{name}, line {first}: is longer than {LONGEST_LINE} bytes")
    except GzipError as error:
        raise UserError(f"{name}, line {first}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from error
    yield from _decoded(name, first, b"".join(parts), known)


def _decoded(name: str, first: int, text: bytes, known: _Known) -> Iterator[Lines]:
    if first == 1:
        text = text.removeprefix(codecs.BOM_UTF8)
    try:
        decoded = _raw_decoder.decode_lines(text)
        _read_counts(decoded, known)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        decoded = []
    if len(decoded) == text.count(b"\n") + 1:
        yield Lines(name, first, [*decoded])
        return
    # Blank lines, two objects in one, or anything that is wrong.
    for number, value in enumerate(text.split(b"\n"), first):
        if value.strip():
            yield Lines(name, number, [_decode(f"{name}, line {number}", value)])


def _read_counts(lines: list[_RawLine], known: _Known) -> None:
    """Read the counts of lines.

    Raises:
        MsgspecError: if any are wrong.
    """
    if len(known) > MOST_KNOWN:
        known.clear()
    written = [bytes(line.counts) for line in lines]
    for new in {*written} - known.keys():
        known[new] = _decode_counts(new)
    for line, counts in zip(lines, map(known.__getitem__, written), strict=True):
        line.counts = counts  # type: ignore[assignment] # as those of other lines


def _decode(place: str, value: bytes) -> CountedLine:
    try:
        return _decoder.decode(value)
    except msgspec.ValidationError as error:
        _refuse(place, str(error), value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(place, error, value) from None


def _not_json(place: str, error: Exception, value: bytes) -> UserError:
    why = str(error).removeprefix("JSON is malformed: ")
    return UserError(f"{place}: is not JSON ({why}): {_shown(value.decode(errors='replace'))}")


def _refuse(place: str, why: str, value: bytes) -> NoReturn:
    """Name the value that is wrong, and what is expected."""
    what, _, path = why.partition(" - at `")
    path = path.removesuffix("`").removeprefix("$").removeprefix(".")
    try:
        found: Any = msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise _not_json(place, error, value) from None
    for key in re.findall(r"\w+", path):
        found = found[int(key)] if isinstance(found, list) else found[key]
    for pattern, expected in _EXPECTED:
        if re.search(pattern, why):
            what = expected
    what = what[:1].lower() + what[1:].replace("`", "")
    shown = msgspec.json.encode(found).decode()
    raise UserError(f"{place}: {path or 'it'} is {_shown(shown)}: {what}")


def _shown(text: str) -> str:
    return abbreviated(printable(text.strip()), SHOWN)
