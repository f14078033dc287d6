"""What came of an attempt, as a value, and how an answer becomes one."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal, TypeAlias

MAX_RETRY_AFTER_S = 86_400.0
"""What a receiver may ask for: a wrong header must not silence it for good."""

_EXCERPT_CHARACTERS = 200

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH, _TIME = rf"(?P<month>{'|'.join(_MONTHS)})", r"(?P<time>\d\d:\d\d:\d\d)"
# RFC 9110, 5.6.7: a recipient has to read all three.
_HTTP_DATES = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"[A-Z][a-z]{{2}}, (?P<day>\d{{1,2}}) {_MONTH} (?P<year>\d{{4}}) {_TIME} (GMT|UTC|\+0000)",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
    )
)

Failure: TypeAlias = Literal[
    "status", "timeout", "dns", "connection", "tls", "forbidden", "protocol", "unexpected"
]
"""Kinds of failures, few enough for a metric."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered.

    Args:
        status: of HTTP; never an interim one.
        headers: by name in lower case; of several with the same name, the first.
        excerpt: the beginning of the body; of a success, what came with the headers.
    """

    status: int
    headers: Mapping[str, str]
    excerpt: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it is kept and shown.

    Args:
        status: of HTTP.
        text: the beginning of the body, on one line and harmless to a terminal.
    """

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it.

    Args:
        status: of the protocol.
        message: names the message in which the receiver shows the alert, to the receiver's kind:
            the alert's next delivery has it; null if there is none, or it has ended.
        answered: what was answered.
        warnings: what went wrong and could be made up for.
    """

    status: int
    message: str | None = None
    answered: Answered | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Retry:
    """It may work later.

    The receiver may have asked for peace: `retry_after` seconds, from everybody and for all that is
    sent to it.
    """

    failure: Failure
    reason: str
    retry_after: float | None = None
    answered: Answered | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It cannot work: the configuration is wrong."""

    failure: Failure
    reason: str
    answered: Answered | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Disable:
    """The receiver wants nothing any more."""

    reason: str
    answered: Answered | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)


Outcome: TypeAlias = Delivered | Retry | GiveUp | Disable


def of_answer(answer: Answer, now: float) -> Outcome:
    """Say what an answer at `now` (s) means (Standard Webhooks 1.0.0, "Deliverability")."""
    status = answer.status
    # The status alone decides: who has said yes may take as long as it likes over the rest.
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        reason = f"HTTP status {status}; redirects are not followed"
    else:
        text = excerpt_of(answer)
        reason = f"HTTP status {status}: {text}" if text else f"HTTP status {status}"
    if status == HTTPStatus.GONE:
        return Disable(reason)
    return Retry("status", reason, retry_after(answer.headers.get("retry-after"), now))


def of_api_answer(answer: Answer, now: float) -> Outcome:
    """Say what an answer at `now` (s) means of an API that checks what it is sent.

    400 says that the body is wrong, or a key in it. The same body would be refused again, and an
    alert's later ones would wait for it.
    """
    outcome = of_answer(answer, now)
    if isinstance(outcome, Retry) and answer.status == HTTPStatus.BAD_REQUEST:
        return GiveUp(outcome.failure, outcome.reason)
    return outcome


def of_tls_error(error: ssl.SSLError) -> Retry:
    """Say why TLS could not be negotiated."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Retry("tls", f"the certificate is not valid: {error.verify_message}")
    return Retry("tls", f"TLS failed: {error.reason or error.strerror or error}")


def excerpt_of(answer: Answer) -> str:
    """Return the beginning of an answer's body, for the one who looks for the reason."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        return ""
    return shown(answer.excerpt.decode(errors="replace"))


def shown(text: str) -> str:
    """Return the beginning of what a receiver sent, on one line and harmless to a terminal."""
    text = " ".join(text.split())
    text = "".join(character for character in text if character.isprintable())
    return f"{text[:_EXCERPT_CHARACTERS]}…" if len(text) > _EXCERPT_CHARACTERS else text


def retry_after(value: str | None, now: float) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date (RFC 9110, 10.2.3), at `now` (s).

    Returns:
        Seconds from now, at most `MAX_RETRY_AFTER_S`; null if there is none that can be read.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # Digits beyond the limit say nothing new, and thousands of them are no number to Python.
        seconds = float(value[:20])
    else:
        date = _http_date(value, now)
        if date is None:
            return None
        seconds = date - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _http_date(value: str, now: float) -> float | None:
    """Read an HTTP date in any of its forms (RFC 9110, 5.6.7) as seconds since the epoch."""
    match = next(filter(None, (form.fullmatch(value) for form in _HTTP_DATES)), None)
    if match is None:
        return None
    year, month = int(match["year"]), _MONTHS.index(match["month"]) + 1
    if len(match["year"]) == 2:  # noqa: PLR2004 - the digits of the year
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        # What seems to be more than 50 years ahead is past.
        year -= 100 if year > this_year + 50 else 0
    hour, minute, second = map(int, match["time"].split(":"))
    try:
        # A leap second has no time of its own here.
        date = datetime(year, month, int(match["day"]), hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return (date - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
