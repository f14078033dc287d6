"""Answers that say what went wrong: RFC 9457, `application/problem+json`."""

import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import NoReturn

import msgspec
from aiohttp import web

from streams.api.answer import Problem

CONTENT_TYPE = "application/problem+json"
_encode = msgspec.json.Encoder().encode


class ProblemError(Exception):
    """Ends a request with a problem; `detail` names the parameter or resource and what to do."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """Return the problem as an HTTP response."""
        # What it quotes of a request's headers can be bytes that are no text.
        detail = self.detail.encode(errors="replace").decode()
        return web.Response(
            status=self.status,
            body=_encode(Problem(self.status.phrase, self.status.value, detail)),
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


def refuse(detail: str) -> NoReturn:
    """End the request with 400."""
    raise ProblemError(HTTPStatus.BAD_REQUEST, detail)


def not_found(detail: str) -> ProblemError:
    """Return a problem with status 404."""
    return ProblemError(HTTPStatus.NOT_FOUND, detail)


def being_read(what: str) -> ProblemError:
    """Return a problem with status 503, for a worker that starts and does not know all of them."""
    detail = f"the {what} are being read: try again in a moment"
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})


def unavailable(partitions: Iterable[int]) -> ProblemError:
    """Return a problem with status 503 that names the partitions that no worker answered for."""
    names = ", ".join(map(str, partitions))
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"partition {names} is not available now (it is moving to another worker, being read back, "
        "or its worker does not answer): try again in a moment",
        {"Retry-After": "1"},
    )


def too_many(what: str, wait: float) -> ProblemError:
    """Return a problem with status 429: too many of something, for some seconds yet."""
    seconds = math.ceil(wait)
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"too many {what}; try again in {seconds} s",
        {"Retry-After": str(seconds)},
    )
