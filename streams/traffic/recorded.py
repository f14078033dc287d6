"""Files of events, read back one event at a time in whatever layout they were kept.

Read are: one object a line (NDJSON), objects with nothing or only white space between them (what
Firehose leaves in S3), objects printed over several lines, arrays of objects, and each of these
compressed with gzip. A byte order mark, CRLF and blank lines are passed over, and so are commas
and square brackets between objects.

What is not a JSON object becomes a `Problem` and the reading goes on:

* after an object that closes but is not JSON, and after anything that is not an object: at the
  next line, or at the next ``{`` that follows a ``}``;
* after an object that never closes: at the next line that starts with ``{``, indented no deeper
  than the object itself, or at the next ``{`` that follows a ``}``. Without a comma between them,
  neither can stand within an object: that is how an object without its end is noticed.

Memory stays within a few blocks and `LARGEST_OBJECT`; time is linear in the size of the file.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from streams.traffic.gzipped import GzipError, Readable, plain_blocks
from streams.traffic.outlines import (
    LIKELY_END,
    NEXT_LINE,
    SEPARATORS,
    Shape,
    outline,
    resumption,
)

BLOCK_BYTES = 1 << 20
LARGEST_OBJECT = 8 << 20
"""Bytes of the largest object that is read: far beyond what a Kafka record may hold."""
LIKELY_BYTES = 64 << 10
"""Bytes up to which the likely end of an object is tried before its outline is followed."""

# Bytes before the current position that stay in memory: the indentation is read off them.
_LOOK_BACK = 64

_validate = msgspec.json.Decoder(msgspec.Raw).decode


class Recorded(NamedTuple):
    """One event: its bytes as they stand in the file, and at which byte they start.

    The offset counts from 0 in the file's content after unpacking.
    """

    value: bytes
    offset: int


class Problem(NamedTuple):
    """Bytes that are not an event: why, and where they start (line from 1, byte from 0)."""

    reason: str
    line: int
    offset: int


def read_events(
    stream: Readable, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[Recorded | Problem]:
    """Yield the events of `stream` and the problems between them, in the order of the file."""
    return iter(_Reader(plain_blocks(stream, block_bytes)))


def _flaw(value: bytes) -> str | None:
    """Return what keeps `value` from being JSON, or None; not where, so that it can be counted."""
    try:
        _validate(value)
        if not value.isascii():  # the decoder does not look inside the strings that it skips
            value.decode()
    except msgspec.DecodeError as error:
        return f"not JSON: {str(error).removeprefix('JSON is malformed: ').partition(' (byte ')[0]}"
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason}"
    except RecursionError:
        return "not JSON that can be read: nested too deeply"
    return None


class _Reader:
    """A window onto the content: `data` from the byte `base` on, read up to `at`."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._data = b""
        self._base = 0
        self._at = 0
        self._lines = 0  # newlines before `counted`
        self._counted = 0
        self._guess = 0  # the likely end of the first object from `at` on, if beyond `at`
        self._damage: str | None = None

    def __iter__(self) -> Iterator[Recorded | Problem]:
        while self._skip_separators():
            yield self._object() if self._data[self._at] == ord("{") else self._other()
        if self._damage:
            yield self._problem(self._damage)

    def _skip_separators(self) -> bool:
        """Move to the next byte that means something; False if there is none."""
        while True:
            run = SEPARATORS.match(self._data, self._at)
            self._at = run.end() if run else self._at
            # A byte order mark can be cut in two by the end of a block.
            cut = b"\xef\xbb\xbf".startswith(self._data[self._at : self._at + 3])
            if not cut:
                return True
            if not self._more():
                return self._at < len(self._data)

    def _object(self) -> Recorded | Problem:
        end = self._likely_end()
        if end - self._at <= LIKELY_BYTES:
            value = self._data[self._at : end]
            if _flaw(value) is None:
                return self._taken(value)
        return self._outlined()

    def _likely_end(self) -> int:
        """Guess where the object at `at` ends; each byte is searched once, whatever is guessed."""
        if self._guess <= self._at:
            found = LIKELY_END.search(self._data, self._at)
            self._guess = found.start() + 1 if found else len(self._data.rstrip(b" \t\r\n"))
        return self._guess

    def _taken(self, value: bytes) -> Recorded:
        recorded = Recorded(value, self._base + self._at)
        self._at += len(value)
        return recorded

    def _outlined(self) -> Recorded | Problem:
        indent = self._indent()
        shape, clear = outline(self._data, self._at, indent)
        while shape is Shape.OPEN and len(self._data) - self._at <= LARGEST_OBJECT:
            if not self._more():
                break
            shape, clear = outline(self._data, self._at, indent)
        if shape is Shape.CLOSED:
            value = self._data[self._at : clear]
            flaw = _flaw(value)
            if flaw is None:
                return self._taken(value)
            return self._resume(flaw, NEXT_LINE, clear - 1)
        large = len(self._data) - self._at > LARGEST_OBJECT
        reason = f"larger than {LARGEST_OBJECT} bytes" if large else "an object that does not end"
        return self._resume(reason, resumption(indent), clear)

    def _other(self) -> Problem:
        return self._resume("not a JSON object", NEXT_LINE, self._at)

    def _resume(self, reason: str, pattern: re.Pattern[bytes], start: int) -> Problem:
        """Report the bytes from `at` on and move to the first match of `pattern` from `start`."""
        problem = self._problem(reason)
        while not (match := pattern.search(self._data, start)):
            # What has been searched is let go, but for a start of the pattern.
            self._at = max(start, len(self._data) - _LOOK_BACK)
            if not self._more():
                self._at = len(self._data)
                return problem
            start = self._at
        opens = match.group().endswith(b"{")
        self._at = match.end() - 1 if opens else match.end()
        return problem

    def _problem(self, reason: str) -> Problem:
        self._lines += self._data.count(b"\n", self._counted, self._at)
        self._counted = self._at
        return Problem(reason, self._lines + 1, self._base + self._at)

    def _indent(self) -> int:
        newline = self._data.rfind(b"\n", max(0, self._at - _LOOK_BACK), self._at)
        before = self._data[newline + 1 : self._at] if newline >= 0 else b""
        return 0 if before.strip() else len(before)

    def _more(self) -> bool:
        """Let go what has been read and take in at least as much as is left; False at the end."""
        keep = max(0, self._at - _LOOK_BACK)
        parts = [self._data[keep:]]
        wanted = len(self._data) - self._at
        taken = 0
        while taken <= wanted and (block := self._block()):
            parts.append(block)
            taken += len(block)
        if not taken:
            return False
        self._lines += self._data.count(b"\n", self._counted, keep) if keep > self._counted else 0
        self._counted = max(self._counted - keep, 0)
        self._data = b"".join(parts)
        self._base += keep
        self._at -= keep
        self._guess = 0
        return True

    def _block(self) -> bytes:
        try:
            return next(self._blocks, b"")
        except GzipError as error:
            self._damage = str(error)
            return b""
