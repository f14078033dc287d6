"""Parameters of requests: each knows how to read its text, and how to describe itself."""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import permutations
from typing import Any, Generic, TypeVar

from streams.api.problems import refuse

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

NOT_BLANK = r"[^\s\u001c-\u001f\u0085]|\ufeff"
r"""Pattern, in JSON Schema, of texts of which `str.strip` leaves something. What it names is `\s`
in Python alone, or in some other languages of patterns but not in Python."""
_EPOCH_MS = re.compile(r"-?\d{1,15}", re.ASCII)
# Python takes an offset of 10:60, and since 3.14 the hour 24; the standard has neither.
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A year away from the ends of the calendar: a neighbouring window can still be written.
FIRST_MS = -62_104_060_800_000  # 0002-01-01T00:00:00Z
LAST_MS = 253_370_764_799_999  # 9998-12-31T23:59:59.999Z
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One query or path parameter.

    Args:
        name: as in the URL.
        read: makes a value of its text; raises ValueError that says what it expects.
        schema: of the text, for OpenAPI.
        description: for OpenAPI; also says what holds without it.
        required: whether a request without it is refused; those of a path always are.
    """

    name: str
    read: Callable[[str], T]
    schema: Mapping[str, Any]
    description: str
    required: bool = False

    def value(self, text: str) -> T:
        """Read the parameter's text.

        Raises:
            ProblemError: 400, names the parameter and what it expects.
        """
        try:
            return self.read(text)
        except ValueError as error:
            refuse(f"{self.name}={text[:200]}: {error}")


def text(name: str, description: str) -> Parameter[str]:
    """Make a parameter that is any text."""
    return Parameter(name, str, {"type": "string"}, description)


def short_text(
    name: str, least: int, most: int, description: str, *, required: bool | None = None
) -> Parameter[str]:
    """Make a parameter that is a text of `least` to `most` characters.

    It is required if `least` > 0, unless `required` says otherwise.
    """

    def read(value: str) -> str:
        if not least <= len(value.strip()) <= len(value) <= most:
            raise ValueError(f"expected {least} to {most} characters that are no blanks")
        return value

    schema: dict[str, Any] = {"type": "string", "minLength": least, "maxLength": most}
    if least:
        schema["pattern"] = NOT_BLANK
    needed = least > 0 if required is None else required
    return Parameter(name, read, schema, description, required=needed)


def opaque(name: str, description: str) -> Parameter[str]:
    """Make a parameter that is a text this API gave before, in letters that need no encoding."""
    schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
    return Parameter(name, str, schema, description)


def choice(name: str, choices: tuple[str, ...], description: str) -> Parameter[str]:
    """Make a parameter that is one of some words."""

    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return value

    return Parameter(name, read, {"type": "string", "enum": list(choices)}, description)


def choices(name: str, allowed: tuple[Word, ...], description: str) -> Parameter[tuple[Word, ...]]:
    """Make a parameter that is some of some words, separated by commas, each once."""
    known: dict[str, Word] = {word: word for word in allowed}

    def read(value: str) -> tuple[Word, ...]:
        words = value.split(",")
        if not known.keys() >= set(words) or len(set(words)) < len(words):
            raise ValueError(f"expected some of {', '.join(allowed)}, separated by commas")
        return tuple(known[word] for word in words)

    some = [
        ",".join(words)
        for length in range(1, len(allowed) + 1)
        for words in permutations(allowed, length)
    ]
    return Parameter(name, read, {"type": "string", "enum": some}, description)


def whole(name: str, least: int, most: int, description: str) -> Parameter[int]:
    """Make a parameter that is a whole number from `least` to `most`."""

    def read(value: str) -> int:
        number = int(value) if re.fullmatch(r"\d{1,12}", value, re.ASCII) else least - 1
        if not least <= number <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return number

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(name, read, schema, description)


def duration(name: str, description: str) -> Parameter[float]:
    """Make a parameter that is a duration, in seconds once it is read."""

    def read(value: str) -> float:
        seconds = 0.0
        if _DURATION.fullmatch(value):
            seconds = sum(float(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(value))
        if not 0 < seconds <= _LONGEST:
            raise ValueError("expected a duration up to 366d such as 30s, 15m, 24h or 7d")
        return seconds

    schema = {
        "type": "string",
        "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$",
        "examples": ["15m"],
    }
    return Parameter(name, read, schema, description)


def moment(name: str, description: str) -> Parameter[int]:
    """Make a parameter that is a time, in ms since the epoch once it is read."""
    schema = {
        "type": "string",
        # Of all that are read, those that are in the years 0002 to 9998 whatever their digits.
        "anyOf": [{"format": "date-time"}, {"pattern": r"^(-?\d{1,13}|\d{14})$"}],
        "examples": ["2026-11-23T10:00:00Z", "1795428000000"],
    }
    return Parameter(name, read_moment, schema, description)


def read_moment(value: str) -> int:
    """Read a time, RFC 3339 or ms since the epoch, as ms since the epoch.

    A date before the year 2 is taken as that year's beginning, one after 9998 as that year's end.

    Raises:
        ValueError: if it is neither, or a number beyond those years; says what is expected.
    """
    time = int(value) if _EPOCH_MS.fullmatch(value) else _read_rfc3339(value)
    if not FIRST_MS <= time <= LAST_MS:
        raise ValueError("expected a time in the years 0002 to 9998")
    return time


def _read_rfc3339(value: str) -> int:
    # A plus sign that was not encoded arrives as a space.
    value = re.sub(r" (?=\d{2}:\d{2}$)", "+", value)
    if _RFC3339.fullmatch(value):
        # Python's calendar begins with the year 1; the year 0 was a leap year, as 4 was.
        year_0 = value.startswith("0000")
        known = "0004" + value[4:] if year_0 else value
        with contextlib.suppress(ValueError):  # there is no 30 February
            time = round((datetime.fromisoformat(known.upper()) - _EPOCH).total_seconds() * 1000)
            return FIRST_MS if year_0 else min(max(FIRST_MS, time), LAST_MS)
    raise ValueError(
        "expected a time such as 2026-11-23T10:00:00Z, or milliseconds since the epoch"
    )
