"""Stock Faust, after its guide: an agent, and a tumbling table with one more for each event.

https://faust-streaming.github.io/faust/userguide/tables.html#windowing: state in memory, changes
to a changelog topic, event time from the event, in seconds. The source has no keys, so the stream
is repartitioned: https://faust-streaming.github.io/faust/userguide/streams.html#group-by. Settings
are Faust's own, but for a session as short as that of the program it is compared with.

    python -m tests.chaos.faust_program '{"broker": "localhost:9092", "topic": "events", …}'
"""

import json
import sys
from datetime import timedelta
from typing import Any

import faust

APP = "chaos-faust"


class Attributes(faust.Record, serializer="json"):
    """What is counted by."""

    campaign_id: str


class Event(faust.Record, serializer="json"):
    """What is needed of an event."""

    event_timestamp: int
    attributes: Attributes


def build(given: dict[str, Any]) -> faust.App:
    """Make the application."""
    app = faust.App(
        APP,
        broker=f"kafka://{given['broker']}",
        store="memory://",
        topic_partitions=given["partitions"],
        broker_session_timeout=given["session"],
        broker_heartbeat_interval=given["session"] / 3,
        web_enabled=False,
        datadir=given["directory"],
    )
    topic = app.topic(given["topic"], key_type=bytes, value_type=Event)
    table = app.Table("counts", default=int, partitions=given["partitions"])
    windows: Any = table.tumbling(
        timedelta(seconds=given["window"]), expires=timedelta(seconds=given["retention"])
    )
    counts = windows.relative_to(lambda event: event.value.event_timestamp / 1000)

    @app.agent(topic)
    async def count(events: Any) -> None:
        by_campaign = events.group_by(lambda event: event.attributes.campaign_id, name="campaign")
        async for event in by_campaign:
            counts[event.attributes.campaign_id] += 1

    return app


if __name__ == "__main__":
    faust.Worker(build(json.loads(sys.argv[1])), loglevel="WARNING").execute_from_commandline()
