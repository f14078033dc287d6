"""The log of changes: a line for each request that changes something, or would have.

It says who, what and how it ended. Only the worker that was asked first writes it, not those that
it asks for their partitions.
"""

from collections.abc import Mapping
from http import HTTPStatus

import structlog

from streams.api.callers import Caller
from streams.api.routing import Route

LONGEST_VALUE = 200
"""Characters of a value of a request."""

_log = structlog.get_logger(__name__)


def audit(
    route: Route, caller: Caller | None, address: str, objects: Mapping[str, object], status: int
) -> None:
    """Write the line.

    Args:
        route: what was asked for.
        caller: who; null if they were not let in.
        address: where the request comes from.
        objects: what it is about: parameters of the path and the query, and what was made.
        status: of the answer.
    """
    _log.info(
        "audit",
        who=None if caller is None else caller.name,
        caller=None if caller is None else caller.kind,
        address=address,
        method=route.method,
        route=route.path,
        object={name: str(value)[:LONGEST_VALUE] for name, value in objects.items()},
        outcome=_outcome(status),
        status=status,
    )


def _outcome(status: int) -> str:
    if status < HTTPStatus.BAD_REQUEST:
        return "done"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"
