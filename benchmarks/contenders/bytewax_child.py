"""Bytewax, after its guide: Kafka in, key on the campaign, fold windows by event time.

https://docs.bytewax.io/stable/guide/concepts/windowing.html and …/recovery.html: a recovery store
(SQLite) with snapshots every ten seconds (the default). Values are folded as they come
(`ordered=False`), which is the cheaper way. Windows are given out when the topic's end is reached.
"""

# Not installed where mypy runs: it has an environment of its own.
# mypy: disable-error-code="import-not-found, misc"

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.contenders.progress import Progress, Task, task, write_counts

ALIGN = datetime(2020, 1, 1, tzinfo=UTC)
WINDOW = timedelta(minutes=1)
WAIT = timedelta(hours=24)


class _Partition(StatelessSinkPartition[Any]):
    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def write_batch(self, items: list[Any]) -> None:
        self._items += items


class Sink(DynamicSink[Any]):
    """Keeps what comes out."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def build(self, *_: Any) -> _Partition:
        """Give the one worker its part."""
        return _Partition(self.items)


def build(given: Task, progress: Progress, sink: Sink) -> Dataflow:
    """Make the flow."""

    def add(counts: dict[str, int], event: tuple[int, str, str]) -> dict[str, int]:
        counts[event[2]] = counts.get(event[2], 0) + 1
        progress.add()
        return counts

    def merge(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        return {status: left.get(status, 0) + right.get(status, 0) for status in left | right}

    def decode(message: Any) -> tuple[int, str, str]:
        event = orjson.loads(message.value)
        attributes = event["attributes"]
        time_ms: int = event["event_timestamp"]
        return time_ms, attributes["campaign_id"], attributes["campaign_send_status"]

    flow = Dataflow("counts")
    messages = op.input("kafka", flow, KafkaSource([given.brokers], [given.topic], tail=False))
    events = op.map("decode", messages, decode)
    keyed = op.key_on("campaign", events, lambda event: event[1])
    clock = EventClock(lambda event: datetime.fromtimestamp(event[0] / 1000, UTC), WAIT)
    windower = TumblingWindower(length=WINDOW, align_to=ALIGN)
    windows = fold_window("count", keyed, clock, windower, dict, add, merge, ordered=False)
    op.output("out", windows.down, sink)
    return flow


def main() -> None:
    """Count, and leave the counts."""
    given, _ = task()
    store = given.directory / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    progress, sink = Progress(given.events), Sink()
    flow = build(given, progress, sink)
    cli_main(flow, recovery_config=RecoveryConfig(store), epoch_interval=timedelta(seconds=10))
    progress.done()
    origin = int(ALIGN.timestamp())
    write_counts(
        given.counts,
        (
            (campaign, origin + number * 60, status, count)
            for campaign, (number, counts) in sink.items
            for status, count in counts.items()
        ),
    )


if __name__ == "__main__":
    main()
