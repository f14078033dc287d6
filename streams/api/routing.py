"""From a request's target to a route and its parameters.

Campaign ids are arbitrary strings, so paths are matched as they came over the wire: split first,
decoded after, and never normalised. `a%2Fb` is one segment, and so is `..`.
"""

import difflib
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from msgspec import Struct

from streams.api.asking import Ask
from streams.api.callers import Scope
from streams.api.context import Context
from streams.api.parameters import Parameter
from streams.api.problems import ProblemError, not_found, refuse
from streams.api.representations import JSON, LIST_FORMS, Rows
from streams.api.stream_outlets import Subscription

Reply: TypeAlias = "Struct | web.Response | EventStream"
_MOST_PARAMETERS = 50

Handler: TypeAlias = Callable[[Context, Ask], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer without an end.

    Args:
        subscription: what the client is told; closed when it has gone.
        content_type: of all of it.
    """

    subscription: Subscription
    content_type: str


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Args:
        path: with its parameters in braces, each a whole segment.
        handle: answers it.
        summary: one line, for OpenAPI.
        answer: what it answers with: a struct (JSON), or media types.
        parameters: of the path and of the query.
        method: GET, POST, PUT or DELETE.
        body: what the request's body is (JSON); null for routes that look at none.
        status: of a success.
        scope: what a token needs for it; null lets everybody in.
        page: whether it is for browsers, which then ask for a token.
        rows: of a list, which CSV and NDJSON have as well.
        is_tagged: whether a GET has an `ETag`: not where each answer is another one.
        for_some: whether it leaves out what the caller may not see; otherwise only those may use it
            who may see everything.
        has_cost: whether a request costs something, and is refused if that is too much.
        problems: the statuses that it may end with, besides those that all routes have and, with
            parameters in the path, 404.
        pattern: matches the path as it came over the wire, a group for each parameter.
    """

    path: str
    handle: Handler
    summary: str
    answer: type[Struct] | tuple[str, ...]
    parameters: tuple[Parameter[Any], ...] = ()
    method: str = "GET"
    body: type[Struct] | None = None
    status: HTTPStatus = HTTPStatus.OK
    scope: Scope | None = "read"
    page: bool = False
    rows: Rows | None = None
    is_tagged: bool = True
    for_some: bool = False
    has_cost: bool = False
    problems: tuple[HTTPStatus, ...] = ()
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]*)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that a client may use."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def forms(self) -> tuple[str, ...]:
        """The media types that a client may ask for, the usual one first."""
        if isinstance(self.answer, tuple):
            return self.answer
        return LIST_FORMS if self.rows is not None else (JSON,)

    def is_in_path(self, parameter: Parameter[Any]) -> bool:
        """Tell whether a parameter is one of the path, and not of the query."""
        return parameter.name in self.pattern.groupindex

    def read_query(self, query: str) -> dict[str, Any]:
        """Read the query's parameters.

        Raises:
            ProblemError: 400, if one is unknown, there twice or missing, or has no right value.
        """
        known = {each.name: each for each in self.parameters if not self.is_in_path(each)}
        values: dict[str, Any] = {}
        for name, value in _pairs(query):
            if name not in known:
                refuse(_unknown(name, list(known)))
            if name in values:
                refuse(f"{name} is there twice: give it once")
            values[name] = known[name].value(value)
        for name, each in known.items():
            if each.required and name not in values:
                refuse(f"{name} is missing: {each.description}")
        return values


class Target(NamedTuple):
    """The path and the query of a request, neither decoded."""

    path: str
    query: str

    def __str__(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


def split_target(target: str) -> Target:
    """Split a request's target into path and query.

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
    return Target(path, query)


def find(routes: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Find the route of a path, and decode the path's parameters.

    Raises:
        ProblemError: 404 without such a path, 405 if it has no such method.
    """
    allowed = set[str]()
    for route in routes:
        found = route.pattern.fullmatch(path)
        if found is None:
            continue
        if route.method == method:
            return route, {name: _decoded(name, text) for name, text in found.groupdict().items()}
        allowed.update(route.methods)
    if not allowed:
        raise not_found(f"there is nothing at {path[:200]}: /openapi.json lists what there is")
    raise ProblemError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{method} is not for {path[:200]}: use {' or '.join(sorted(allowed))}",
        {"Allow": ", ".join(sorted(allowed))},
    )


def _decoded(name: str, segment: str) -> str:
    if not segment:
        raise not_found(f"{name} is empty in the path: it cannot be")
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
