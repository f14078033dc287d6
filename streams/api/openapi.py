"""The description of the API, OpenAPI 3.1, made from its routes."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
import orjson

from streams.api.answer import Problem
from streams.api.costs import COST_HEADER
from streams.api.pages import HTML
from streams.api.parameters import Parameter
from streams.api.problems import CONTENT_TYPE
from streams.api.representations import JSON
from streams.api.routing import Route
from streams.api.tabular import CSV, NDJSON

_REFERENCE = "#/components/schemas/{name}"
_ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_WITH_TOKEN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
_WITH_BODY = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY)
_ETAG = "Of what the answer says: `If-None-Match` with it is answered with 304 as long as it holds."
_COST = "In campaigns and windows that had to be looked at; see `http.cost_limit`."
_LINK = "With CSV and NDJSON: the next page (`rel=next`), if there is one."
_MISSING = "With CSV and NDJSON: the partitions that could not be asked, if there are any."
_COMPLETE_FROM = "With CSV and NDJSON: since when no counts are missing, if earlier ones are."
_ROWS = {
    CSV: "RFC 4180, with a header line. A text that a spreadsheet could take for a formula, or "
    "that begins with an apostrophe, has an apostrophe before it.",
    NDJSON: "One item a line.",
}
_DESCRIPTION = (
    "Counts, rates and alerts of campaigns, from any worker for all of them. Times are RFC 3339 in "
    "UTC. What could not be asked is named: `partial`, `missing_partitions`. Mistakes are answered "
    "with `application/problem+json` (RFC 9457). Large answers are compressed for those who accept "
    "gzip."
)
_TAGS = {
    "campaigns": "Counts, rates and windows of campaigns.",
    "alerts": "Alerts and the rules that raise them.",
    "deliveries": "What receivers are told, and what came of it.",
    "receivers": "Who is told.",
    "groups": "Alerts with one cause.",
    "silences": "Alerts that nobody is told of, and until when.",
    "changes": "What changes, as it changes.",
    "names": "What campaigns and apps are called.",
    "schemas": "JSON Schemas of what others get: records of topics and webhooks.",
    "worker": "The worker that is asked.",
    "pages": "Pages for browsers.",
}
"""What each tag is about, by tag."""
_TAGS_OF_SEGMENTS = {
    "rules": "alerts",
    "stream": "changes",
    "apps": "names",
    "": "pages",
    "docs": "pages",
    "static": "pages",
}
"""The tag of a path, by its first segment after the version, where they differ."""


def document(routes: Sequence[Route]) -> bytes:
    """Return the description of these routes as JSON."""
    structs = [route.answer for route in routes if not isinstance(route.answer, tuple)]
    structs += [route.body for route in routes if route.body is not None]
    _, schemas = msgspec.json.schema_components([*structs, Problem], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    description = {
        "openapi": "3.1.0",
        "info": {
            "title": "campaign-streams",
            "version": version("campaign-streams"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Scopes: read, and write where it says so. On loopback, or "
                    "where `http.anonymous` allows it, no token is needed. A token may be good "
                    "for some campaigns or apps only: others do not exist for it.",
                }
            },
        },
    }
    return orjson.dumps(description)


def _operation(route: Route) -> dict[str, Any]:
    statuses = {*_ALWAYS, *route.problems}
    statuses.update(_WITH_BODY if route.body is not None else ())
    statuses.update(_WITH_TOKEN if route.scope else ())
    statuses.update([HTTPStatus.NOT_FOUND] if route.pattern.groups else ())
    is_json = not isinstance(route.answer, tuple)
    statuses.update([HTTPStatus.NOT_ACCEPTABLE] if is_json else ())
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{_camel(route.path)}",
        "summary": route.summary,
        "tags": [_tag(route.path)],
        "parameters": [_parameter(route, each) for each in route.parameters],
        "responses": {
            **_success(route),
            **{str(status.value): _problem(route, status) for status in sorted(statuses)},
        },
        "security": [{"token": []}] if route.scope else [],
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _struct(JSON, route.body),
        }
    needs = ["Needs the scope `write`."] if route.scope == "write" else []
    needs += (
        ["Needs a token without patterns of campaigns or apps."]
        if route.scope and not route.for_some
        else []
    )
    if needs:
        operation["description"] = " ".join(needs)
    return operation


def _tag(path: str) -> str:
    first, *rest = path.removeprefix("/v1").removeprefix("/").split("/")
    if rest[-1:] == ["name"]:
        return "names"
    tag = _TAGS_OF_SEGMENTS.get(first, first)
    return tag if tag in _TAGS else "worker"


def _parameter(route: Route, parameter: Parameter[Any]) -> dict[str, Any]:
    in_path = route.is_in_path(parameter)
    return {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": in_path or parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _success(route: Route) -> dict[str, Any]:
    """Return the responses of a success, with those for whom nothing has changed."""
    response: dict[str, Any] = {"description": route.summary, "content": _content(route)}
    if route.method != "GET" or not route.is_tagged:
        return {str(route.status.value): response}
    response["headers"] = {"ETag": _header(_ETAG)}
    if route.has_cost:
        response["headers"][COST_HEADER] = _header(_COST)
    if route.rows is not None:
        response["headers"] |= {"Link": _header(_LINK), "Missing-Partitions": _header(_MISSING)}
        if (
            not isinstance(route.answer, tuple)
            and "complete_from" in route.answer.__struct_fields__
        ):
            response["headers"]["Complete-From"] = _header(_COMPLETE_FROM)
    return {
        str(route.status.value): response,
        "304": {"description": "Not Modified", "headers": {"ETag": _header(_ETAG)}},
    }


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _content(route: Route) -> dict[str, Any]:
    if isinstance(route.answer, tuple):
        return {media_type: {} for media_type in route.answer}
    rows = {
        media_type: {"schema": {"type": "string", "description": _ROWS[media_type]}}
        for media_type in route.forms[1:]
    }
    return {**_struct(JSON, route.answer), **rows}


def _problem(route: Route, status: HTTPStatus) -> dict[str, Any]:
    content = _struct(CONTENT_TYPE, Problem)
    # Browsers that ask for a page are told on one.
    return {"description": status.phrase, "content": content | ({HTML: {}} if route.page else {})}


def _struct(media_type: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REFERENCE.format(name=struct.__name__)}}}


def _camel(path: str) -> str:
    words = path.replace("{", "").replace("}", "").replace("-", "/").replace(".", "/")
    return "".join(word.title().replace("_", "") for word in words.split("/")) or "Dashboard"
