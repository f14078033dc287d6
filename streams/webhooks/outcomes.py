"""What came of an attempt, as a value, and how answers and errors become one."""

import asyncio
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal, TypeAlias

import aiohttp

EXCERPT_TIMEOUT_S = 1.0
MAX_RETRY_AFTER_S = 3600.0
"""What a receiver may ask for; an alert should not wait for a day because of one header."""

READ_BYTES = 4096
"""How much of an answer's body is read at most."""

_EXCERPT_CHARACTERS = 200

Failure: TypeAlias = Literal[
    "status", "timeout", "dns", "connection", "tls", "forbidden", "protocol", "unexpected"
]
"""Kinds of failures, few enough for a metric."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""

    status: int


@dataclass(frozen=True, slots=True)
class Retry:
    """It may work later; not before `retry_after` seconds, if the receiver said so."""

    failure: Failure
    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It cannot work: the configuration is wrong."""

    failure: Failure
    reason: str


@dataclass(frozen=True, slots=True)
class Disable:
    """The receiver wants nothing any more."""

    reason: str


Outcome: TypeAlias = Delivered | Retry | GiveUp | Disable


async def of_answer(response: aiohttp.ClientResponse, now: float) -> Outcome:
    """Say what an answer means (Standard Webhooks 1.0.0, "Deliverability and reliability")."""
    status = response.status
    # The status alone decides: who has said yes may take as long as it likes over the rest.
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Retry("status", f"HTTP status {status}; redirects are not followed")
    reason = f"HTTP status {status}{await _excerpt(response)}"
    if status == HTTPStatus.GONE:
        return Disable(reason)
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        asked = retry_after(response.headers.get("Retry-After"), now)
        return Retry("status", reason, asked)
    return Retry("status", reason)


async def _excerpt(response: aiohttp.ClientResponse) -> str:
    """Return the beginning of an answer, for the one who looks for the reason; never much."""
    try:
        async with asyncio.timeout(EXCERPT_TIMEOUT_S):
            data = await response.content.read(READ_BYTES)
    except (aiohttp.ClientError, TimeoutError):
        return ""
    text = " ".join(data.decode(errors="replace").split())
    text = "".join(character for character in text if character.isprintable())
    if len(text) > _EXCERPT_CHARACTERS:
        text = text[:_EXCERPT_CHARACTERS] + "…"
    return f": {text}" if text else ""


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
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def of_error(error: aiohttp.ClientError | TimeoutError, timeout: float) -> Outcome:
    """Say what an error means, in words of our own: those of aiohttp may hold the whole URL."""
    if isinstance(error, TimeoutError):
        return Retry("timeout", f"no answer within {timeout:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _not_connected(error)
    if isinstance(error, aiohttp.InvalidURL):
        return GiveUp("protocol", "the URL of the receiver cannot be used")
    if isinstance(error, aiohttp.ClientConnectionError):
        return Retry("connection", "the connection broke before there was an answer")
    return Retry("protocol", f"not an HTTP answer ({type(error).__name__})")


def _not_connected(error: aiohttp.ClientConnectorError) -> Retry:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Retry("dns", f"the name {error.host} cannot be resolved")
        case aiohttp.ClientConnectorCertificateError():
            return Retry("tls", f"the certificate is not valid: {error.certificate_error}")
        case aiohttp.ClientConnectorSSLError():
            return Retry("tls", f"TLS failed: {_os_reason(error.os_error)}")
        case aiohttp.ClientConnectorError(os_error=PermissionError() as refusal):
            return Retry("forbidden", _os_reason(refusal))
        case _:
            return Retry("connection", f"cannot connect: {_os_reason(error.os_error)}")


def _os_reason(error: OSError) -> str:
    return error.strerror or str(error)
