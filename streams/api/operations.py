"""What those ask who run the worker: health, metrics, descriptions."""

from http import HTTPStatus

import orjson
from aiohttp import web

from streams.api.answers import HealthStatus
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.problems import ProblemError
from streams.api.representations import JSON
from streams.api.routing import Route
from streams.domain import group_transitions, receiver_events, silence_events
from streams.outputs.output import OutputTopic
from streams.outputs.registry import OUTPUTS

JSON_SCHEMA = "application/schema+json"
METRICS = ("text/plain", "application/openmetrics-text")


async def livez(context: Context, _: Ask) -> HealthStatus:
    """Answer whether the worker makes progress."""
    if not context.health.live():
        reasons = context.health.ready()[1]
        detail = f"the worker makes no progress ({'; '.join(reasons)}): start it anew"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail)
    return HealthStatus("live")


async def readyz(context: Context, _: Ask) -> HealthStatus:
    """Answer whether the worker does its work."""
    ready, reasons = context.health.ready()
    if not ready:
        detail = f"not ready: {'; '.join(reasons)}"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})
    return HealthStatus("ready", reasons)


async def metrics(context: Context, ask: Ask) -> web.Response:
    """Answer with the metrics of this worker."""
    body, content_type = context.metrics(ask.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type, "Vary": "Accept"})


async def openapi(context: Context, _: Ask) -> web.Response:
    """Answer with the description of the API."""
    return web.Response(body=context.document, content_type=JSON)


def _schema_of(output: OutputTopic) -> Route:
    """Return the route of the JSON Schema of an output topic's values."""
    return _schema(output.schema, output.json_schema(), output.describes)


def _schema(name: str, json_schema: dict[str, object], describes: str) -> Route:
    """Return the route of a JSON Schema; `name` is the last part of its path."""
    body = orjson.dumps(json_schema)

    async def schema(_context: Context, _: Ask) -> web.Response:
        return web.Response(body=body, content_type=JSON_SCHEMA)

    path = f"/v1/schemas/{name}"
    return Route(path, schema, f"The JSON Schema of {describes}", (JSON_SCHEMA,), for_some=True)


ROUTES = (
    *map(_schema_of, OUTPUTS),
    _schema(
        "group-transition",
        group_transitions.json_schema(),
        "native webhooks about a group of alerts",
    ),
    _schema(
        "silence-event",
        silence_events.json_schema(),
        "native webhooks about a silence that ends",
    ),
    _schema(
        "receiver-event",
        receiver_events.json_schema(),
        "native webhooks about another receiver",
    ),
    Route(
        "/livez",
        livez,
        "Whether this worker makes progress",
        HealthStatus,
        scope=None,
    ),
    Route(
        "/readyz",
        readyz,
        "Whether this worker does its work, and if not, why",
        HealthStatus,
        scope=None,
    ),
    Route(
        "/metrics",
        metrics,
        "The metrics of this worker, for Prometheus",
        METRICS,
        is_tagged=False,
    ),
    Route("/openapi.json", openapi, "This description", (JSON,), for_some=True),
)
