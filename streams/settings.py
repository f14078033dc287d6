"""What settings are made of: sections, and the kinds of value that keys have.

Each kind says what it expects when it refuses a value. A part that has settings of its own, such as
a kind of receiver, declares them beside its logic, and the configuration gathers them.
"""

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    StrictBool,
    StrictInt,
    StringConstraints,
)

HIDDEN = "********"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_DURATION = 1_000_000 * 86_400.0
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_HIGHEST_PORT = 65535


class Settings(BaseModel):
    """A section of the configuration: cannot be changed, refuses keys it does not know."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        populate_by_name=True,
        # Whoever prints a validation error must not print a password with it.
        hide_input_in_errors=True,
    )


Problem = tuple[tuple[str | int, ...], str]
"""What is wrong, after the keys that lead to it from where it was found."""


class ProblemsError(ValueError):
    """Several problems found by one check."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


def parse_duration(value: object) -> float:
    """Seconds of `200ms`, `5s`, `1m`, `24h`, `7d`, `1h30m`, or of a number of seconds.

    Raises:
        ValueError: it is none of these, negative, or not finite.
    """
    seconds = math.nan
    if isinstance(value, str) and _DURATION.fullmatch(value):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("expected a duration such as 200ms, 5s, 1m, 24h or 7d, or seconds")
    if seconds > _LONGEST_DURATION:
        raise ValueError("expected a duration of at most 1000000d")
    # Sums of binary fractions: 0.1 s is 100 ms, not 0.1000000000001.
    return round(seconds, 6)


def format_duration(seconds: float) -> str:
    """The shortest single-unit text that `parse_duration` turns into the same seconds."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    if seconds and round(seconds * 1000, 6) % 1 == 0:
        return f"{round(seconds * 1000)}ms"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def check_url(url: str) -> None:
    """Refuse what is not an absolute http or https URL, or holds a password.

    Raises:
        ValueError: says what is expected.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in url):
        raise ValueError("expected a URL such as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected a URL without user and password")


def _parse_url(url: str) -> str:
    check_url(url)
    return url


def check_known(name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        ValueError: says which are known, and the nearest one.
    """
    names = sorted(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"expected {' or '.join(names)}{hint}")


def same_names(names: Iterable[str]) -> list[Problem]:
    """Problems with names that are there more than once."""
    return [
        ((), f"names have to be unique, {name} is there {count} times")
        for name, count in Counter(names).items()
        if count > 1
    ]


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("expected a duration longer than 0s")
    return seconds


def _whole(seconds: float) -> int:
    if seconds != int(seconds):
        raise ValueError("expected a whole number of seconds")
    return int(seconds)


def _parse_token(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("expected printable ASCII without spaces")
    return token


def _parse_server(value: str) -> str:
    found = _SERVER.fullmatch(value)
    if not found or not 1 <= int(found["port"]) <= _HIGHEST_PORT:
        raise ValueError("expected host:port, such as kafka-1:9092 or [::1]:9092")
    return value


def _parse_topic(value: str) -> str:
    if not _TOPIC.fullmatch(value) or value in {".", ".."}:
        raise ValueError("expected a topic name: 1 to 249 letters, digits, dots, _ or -")
    return value


_NO_ZONES = {"localtime", "posixrules", "Factory"}
"""What systems keep beside the zones of IANA: these differ from machine to machine."""


def iana_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        KeyError: there is none of that name.
        ValueError: that is no name.
        OSError: that is the name of something else.
    """
    if name in _NO_ZONES or name.startswith(("right/", "posix/")):
        raise KeyError(name)
    return ZoneInfo(name)


def _parse_time_zone(value: str) -> str:
    try:
        iana_zone(value)
    except (KeyError, ValueError, OSError):  # none of that name, or the name of something else
        raise ValueError("expected a time zone by its IANA name, such as Europe/Berlin") from None
    return value


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        if isinstance(value, str):
            return ip_network(value)
    except ValueError as error:
        raise ValueError(f"expected a network such as 10.0.0.0/8: {error}") from None
    raise ValueError("expected a network such as 10.0.0.0/8, in quotes")


_DurationText = PlainSerializer(format_duration, return_type=str, when_used="json")

Duration = Annotated[float, BeforeValidator(parse_duration), _DurationText]
"""Seconds, 0 or more."""

PositiveDuration = Annotated[
    float, BeforeValidator(parse_duration), AfterValidator(_positive), _DurationText
]
"""Seconds, more than 0."""

WholeSeconds = Annotated[
    int, BeforeValidator(lambda value: _whole(parse_duration(value))), _DurationText
]
"""Whole seconds, 0 or more."""

Secret = Annotated[SecretStr, PlainSerializer(lambda _: HIDDEN, return_type=str, when_used="json")]
"""Hidden wherever it is printed; `get_secret_value()` where it is used."""

Token = Annotated[Secret, AfterValidator(_parse_token)]
"""A secret of printable ASCII without spaces."""

Flag = StrictBool
Count = Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]
Port = Annotated[StrictInt, Field(ge=0, le=_HIGHEST_PORT)]
Text = Annotated[str, StringConstraints(min_length=1)]
Url = Annotated[Text, AfterValidator(_parse_url)]
Server = Annotated[str, AfterValidator(_parse_server)]
TopicName = Annotated[str, AfterValidator(_parse_topic)]
TimeZone = Annotated[Text, AfterValidator(_parse_time_zone)]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_parse_network)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")]
"""Names of rules, receivers and tokens: they appear in URLs, metric labels and logs."""
