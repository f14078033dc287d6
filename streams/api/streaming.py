"""The route of the live stream."""

from http import HTTPStatus

from streams.api.asking import Ask
from streams.api.campaign_ids import CAMPAIGN_IDS
from streams.api.changes import SINCE, decode_positions
from streams.api.context import Context
from streams.api.routing import EventStream, Route
from streams.api.stream_events import APP, CAMPAIGN, KIND, RULE, Wanted

EVENT_STREAM = "text/event-stream"


async def stream(context: Context, ask: Ask) -> EventStream:
    """Answer with what changes from now, or from the last event, on."""
    last = ask.headers.get("Last-Event-ID") or ask.get(SINCE, None)
    since = None if last is None else decode_positions(last)
    return EventStream(await context.stream.open(context, Wanted.of(ask), since), EVENT_STREAM)


ROUTES = (
    Route(
        "/v1/stream",
        stream,
        "Windows, alerts, deliveries and the worker's health, as they change: server-sent events",
        (EVENT_STREAM,),
        (KIND, CAMPAIGN, CAMPAIGN_IDS, APP, RULE, SINCE),
        for_some=True,
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
)
