"""What came of an attempt that had no answer: the errors of a connection."""

import socket
import ssl

import h11

from streams.receivers.outcomes import GiveUp, Outcome, Retry, of_tls_error, shown
from streams.webhooks.exchange import BrokenError
from streams.webhooks.wire import TooMuchError

EXPECTED = (OSError, BrokenError, TooMuchError, h11.ProtocolError)
"""Errors of a connection."""


def not_connected(error: OSError, host: str) -> Retry:
    """Say why there is no connection to a host."""
    match error:
        case socket.gaierror():
            return Retry("dns", f"the name {host} cannot be resolved")
        case PermissionError():
            return Retry("forbidden", _os_reason(error))
        case _:
            return Retry("connection", f"cannot connect: {_os_reason(error)}")


def of_error(error: Exception) -> Outcome:
    """Say what one of the `EXPECTED` errors means."""
    if isinstance(error, h11.LocalProtocolError):
        return GiveUp("protocol", "the URL of the receiver cannot be used")
    if isinstance(error, ssl.SSLError):
        return of_tls_error(error)
    if isinstance(error, OSError | BrokenError):
        return Retry("connection", "the connection broke before there was an answer")
    return Retry("protocol", f"not an HTTP answer: {shown(str(error))}")


def _os_reason(error: OSError) -> str:
    return error.strerror or str(error)
