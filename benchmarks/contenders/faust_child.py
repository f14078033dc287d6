"""Stock Faust, after its guide: an agent, and a tumbling table that is changed per event.

https://faust-streaming.github.io/faust/userguide/tables.html#windowing: state in memory, every
change to the changelog topic. Event time comes from the event, in seconds. On a topic without keys
the stream is repartitioned by campaign, as https://faust-streaming.github.io/faust/userguide/
streams.html#group-by-repartition-stream shows.
"""

import os
from datetime import timedelta
from typing import Any

import faust

from benchmarks.contenders.progress import Progress, Task, task, write_counts


class Attributes(faust.Record, serializer="json"):
    """What is counted by."""

    campaign_id: str
    campaign_send_status: str


class Event(faust.Record, serializer="json"):
    """What is needed of an event."""

    event_timestamp: int
    attributes: Attributes


def seconds(event: Any) -> float:
    """Take the time from the event."""
    time: float = event.value.event_timestamp / 1000
    return time


def build(given: Task) -> faust.App:
    """Make the application."""
    app = faust.App(
        given.group,
        broker=f"kafka://{given.brokers}",
        topic_partitions=given.partitions,
        topic_replication_factor=1,
        web_enabled=False,
        datadir=str(given.directory),
    )
    topic = app.topic(given.topic, key_type=bytes, value_type=Event)
    table = app.Table("counts", default=int, partitions=given.partitions)
    counts: Any = table.tumbling(timedelta(minutes=1), expires=timedelta(hours=24))
    by_event_time = counts.relative_to(seconds)
    progress = Progress(given.events)

    @app.agent(topic)
    async def count(events: Any) -> None:
        if not given.keyed:
            events = events.group_by(lambda e: e.attributes.campaign_id, name="campaign")
        async for event in events:
            attributes = event.attributes
            by_event_time[f"{attributes.campaign_id}|{attributes.campaign_send_status}"] += 1
            if progress.add():
                progress.done()
                leave(given, counts)

    return app


def leave(given: Task, counts: Any) -> None:
    """Leave the counts, and go without farewells: what follows is not measured."""
    cells = []
    for (key, (start, _)), count in counts.table.data.items():
        campaign, _, status = key.partition("|")
        cells.append((campaign, int(start), status, count))
    write_counts(given.counts, cells)
    os._exit(0)


def main() -> None:
    """Run until all is counted."""
    given, _ = task()
    faust.Worker(build(given), loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
