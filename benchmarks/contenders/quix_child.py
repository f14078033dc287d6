"""Quix Streams, after its guide: group by campaign, a tumbling window, reduce.

https://quix.io/docs/quix-streams/windowing.html and …/groupby.html: state in RocksDB with changelog
topics, checkpoints every five seconds (defaults). Before the stream is repartitioned it is reduced
to what is counted. `current()` gives every change of a count, as a live dashboard needs it.
"""

# Not installed where mypy runs: it has an environment of its own.
# mypy: disable-error-code="import-not-found, misc"

import logging
from datetime import timedelta
from typing import Any

from quixstreams import Application

from benchmarks.contenders.progress import Progress, Task, task, write_counts

GRACE = timedelta(hours=24)


def event_time(value: Any, _headers: Any, _timestamp: float, _kind: Any) -> int:
    """Take the time (ms) from the event."""
    time: int = value["event_timestamp"]
    return time


def only_counted(event: dict[str, Any]) -> dict[str, str]:
    """Leave out what is not counted."""
    attributes = event["attributes"]
    return {"campaign": attributes["campaign_id"], "status": attributes["campaign_send_status"]}


def first(event: dict[str, str]) -> dict[str, int]:
    """Begin a window."""
    return {event["status"]: 1}


def add(counts: dict[str, int], event: dict[str, str]) -> dict[str, int]:
    """Count one more."""
    status = event["status"]
    counts[status] = counts.get(status, 0) + 1
    return counts


def run(given: Task) -> dict[tuple[str, int], dict[str, int]]:
    """Count all; return the windows' last counts."""
    app = Application(
        broker_address=given.brokers,
        consumer_group=given.group,
        auto_offset_reset="earliest",
        state_dir=given.directory / "state",
        loglevel=logging.WARNING,
    )
    topic = app.topic(given.topic, key_deserializer="str", timestamp_extractor=event_time)
    windows: dict[tuple[str, int], dict[str, int]] = {}
    progress = Progress(given.events)

    def seen(window: dict[str, Any], key: Any, _timestamp: Any, _headers: Any) -> None:
        windows[key, window["start"]] = window["value"]
        if progress.add():
            app.stop()

    counted = app.dataframe(topic).apply(only_counted)
    if not given.keyed:
        counted = counted.group_by("campaign", key_serializer="str", key_deserializer="str")
    tumbling = counted.tumbling_window(timedelta(minutes=1), grace_ms=GRACE)
    tumbling.reduce(add, first).current().update(seen, metadata=True)
    app.run()
    progress.done()
    return windows


def main() -> None:
    """Count, and leave the counts."""
    given, _ = task()
    write_counts(
        given.counts,
        (
            (campaign, start // 1000, status, count)
            for (campaign, start), counts in run(given).items()
            for status, count in counts.items()
        ),
    )


if __name__ == "__main__":
    main()
