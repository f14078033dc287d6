"""A connection that broke a moment ago, under uvloop.

Between the end of a connection and the moment in which aiokafka notices it, aiokafka may write to
it. asyncio then raises nothing, or an OSError; uvloop (0.23, `UVHandle._ensure_alive`) raises
RuntimeError. aiokafka 0.14 (`AIOKafkaConnection.send`) expects an OSError, so that the error goes
through and ends, unseen, the task that keeps a client's metadata up to date
(`AIOKafkaClient._md_synchronizer`). Whatever waits for metadata after that, such as a request that
looks for a coordinator, waits for good.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


def treat_as_broken() -> None:
    """Let all aiokafka connections take it for what it is: a broken connection, to be replaced.

    To be called before clients are made; doing it again is harmless.
    """
    for name in ("send", "_send_sasl_token"):
        send = getattr(AIOKafkaConnection, name)
        if not hasattr(send, "__wrapped__"):
            setattr(AIOKafkaConnection, name, _broken_if_closed(send))


def _broken_if_closed(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    def sending(connection: Any, *args: Any, **options: Any) -> Any:
        writer = connection._writer  # noqa: SLF001 - there is no other way to see it
        if writer is not None and writer.transport.is_closing():
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"{connection} was closed by the other side")
        return send(connection, *args, **options)

    return sending
