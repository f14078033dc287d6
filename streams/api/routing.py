"""From a request's target to a route and its parameters.

Campaign ids are arbitrary strings, so paths are matched as they came over the wire: split first,
decoded after, and never normalised. `a%2Fb` is one segment, and so is `..`.
"""

import difflib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from msgspec import Struct

from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.parameters import Parameter
from streams.api.problems import ProblemError, not_found, refuse

Scope: TypeAlias = Literal["read", "write"]
Reply: TypeAlias = Struct | web.Response
_MOST_PARAMETERS = 50


Handler: TypeAlias = Callable[[Context, Ask], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Args:
        path: with its parameters in braces, each a whole segment.
        handle: answers it.
        summary: one line, for OpenAPI.
        answer: what it answers with: a struct (JSON), or media types.
        parameters: of the path and of the query.
        method: GET or POST.
        scope: what a token needs for it; null lets everybody in.
        page: whether it is for browsers, which then ask for a token.
        problems: the statuses of its own that it may end with, besides those that all have.
    """

    path: str
    handle: Handler
    summary: str
    answer: type[Struct] | tuple[str, ...]
    parameters: tuple[Parameter[Any], ...] = ()
    method: str = "GET"
    scope: Scope | None = "read"
    page: bool = False
    problems: tuple[HTTPStatus, ...] = ()
    segments: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.split("/")))

    def fits(self, segments: list[str]) -> bool:
        """Tell whether a path, split but not decoded, is one of this route's."""
        return len(segments) == len(self.segments) and all(
            ours.startswith("{") or ours == theirs
            for ours, theirs in zip(self.segments, segments, strict=True)
        )

    def values(self, segments: list[str]) -> dict[str, str]:
        """Decode the path's parameters."""
        return {
            ours.strip("{}"): _decoded(theirs)
            for ours, theirs in zip(self.segments, segments, strict=True)
            if ours.startswith("{")
        }

    def read_query(self, query: str) -> dict[str, Any]:
        """Read the query's parameters.

        Raises:
            ProblemError: 400, if one is unknown, there twice, or has no right value.
        """
        known = {p.name: p for p in self.parameters if f"{{{p.name}}}" not in self.segments}
        values: dict[str, Any] = {}
        for name, value in _pairs(query):
            if name not in known:
                refuse(_unknown(name, list(known)))
            if name in values:
                refuse(f"{name} is there twice: give it once")
            values[name] = known[name].value(value)
        return values


def split_target(target: str) -> tuple[str, str]:
    """Split a request's target into path and query, neither decoded.

    Raises:
        ProblemError: 400, if it holds bytes that are not UTF-8.
    """
    try:
        target.encode()
    except UnicodeEncodeError:
        refuse("the request's target is not UTF-8: percent-encode it")
    if not target.startswith("/"):  # the absolute form, meant for proxies
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("#")[0].partition("?")
    return path, query


def find(routes: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Find the route of a path, and decode the path's parameters.

    Raises:
        ProblemError: 404 without such a path, 405 if it has no such method.
    """
    segments = path.split("/")
    fitting = [route for route in routes if route.fits(segments)]
    if not fitting:
        raise not_found(f"there is nothing at {path[:200]}: /openapi.json lists what there is")
    for route in fitting:
        if route.method == method:
            values = route.values(segments)
            for name, value in values.items():
                if not value:
                    raise not_found(f"{name} is empty in the path: it cannot be")
            return route, values
    allowed = sorted({m for route in fitting for m in _methods(route)})
    raise ProblemError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{method} is not for {path[:200]}: use {' or '.join(allowed)}",
        {"Allow": ", ".join(allowed)},
    )


def _methods(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)


def _decoded(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        refuse(f"the path's {segment[:200]} is not UTF-8 once it is percent-decoded")


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except UnicodeDecodeError:
        refuse("the query is not UTF-8 once it is percent-decoded")
    except ValueError:
        refuse(f"more than {_MOST_PARAMETERS} parameters: give each once")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"unknown parameter {name[:200]}: did you mean {near[0]}?"
    return f"unknown parameter {name[:200]}: known here: {', '.join(known) or 'none'}"
