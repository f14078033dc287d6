"""What those ask who run the worker: health, metrics, descriptions."""

from http import HTTPStatus

import orjson
from aiohttp import web

from streams.api.answers import HealthStatus
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.problems import ProblemError
from streams.api.routing import Route
from streams.domain.transitions import json_schema

JSON = "application/json"
JSON_SCHEMA = "application/schema+json"
METRICS = ("text/plain", "application/openmetrics-text")


async def livez(context: Context, ask: Ask) -> HealthStatus:  # noqa: ARG001 - nothing to ask
    """Answer whether the worker makes progress."""
    if not context.health.live():
        _, reasons = context.health.ready()
        detail = f"the worker makes no progress ({'; '.join(reasons)}): start it anew"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail)
    return HealthStatus("live")


async def readyz(context: Context, ask: Ask) -> HealthStatus:  # noqa: ARG001 - nothing to ask
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


async def openapi(context: Context, ask: Ask) -> web.Response:  # noqa: ARG001 - nothing to ask
    """Answer with the description of the API."""
    return web.Response(body=context.document, content_type=JSON)


async def alert_schema(context: Context, ask: Ask) -> web.Response:  # noqa: ARG001 - nothing to ask
    """Answer with the JSON Schema of what is told about alerts."""
    return web.Response(body=orjson.dumps(json_schema()), content_type=JSON_SCHEMA)


ROUTES = (
    Route(
        "/v1/schemas/alert-transition",
        alert_schema,
        "The JSON Schema of the alerts topic and of native webhooks",
        (JSON_SCHEMA,),
    ),
    Route(
        "/livez",
        livez,
        "Whether this worker makes progress",
        HealthStatus,
        scope=None,
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
    Route(
        "/readyz",
        readyz,
        "Whether this worker does its work, and if not, why",
        HealthStatus,
        scope=None,
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
    Route("/metrics", metrics, "The metrics of this worker, for Prometheus", METRICS),
    Route("/openapi.json", openapi, "This description", (JSON,)),
)
