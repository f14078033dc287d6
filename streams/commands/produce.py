"""`campaign-streams produce`: recorded events to the source topic."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO

import click

from streams.commands import running
from streams.commands.common import PROGRAM, EventRate, examples, say
from streams.commands.configured import with_configuration
from streams.commands.inputs import input_name, opened, position_of, size_of
from streams.commands.progress import progress
from streams.configuration.models import Configuration
from streams.engine.cluster.client import check_broker, connection
from streams.traffic.files import batches, read_ahead
from streams.traffic.pacing import Pace
from streams.traffic.recorded import Recorded, read_events
from streams.traffic.sending import Account, Sender, campaign_key
from streams.traffic.shifting import latest_time, shifted

BATCH = 500
BATCHES_PER_SECOND = 20
NOT_AHEAD_MS = 365 * 86_400_000
"""A recorded time that is so far in the future is a mistake; simulated ones may be ahead."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the files are sent."""

    rate: float | None
    now: bool
    by_campaign: bool
    topic: str


@click.command(
    "produce",
    epilog=examples(
        f"{PROGRAM} produce events.ndjson firehose/*.gz --now --rate 200",
        f"zcat old.gz | {PROGRAM} produce -",
    ),
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
@click.option("--rate", type=EventRate(), metavar="N", help="Events per second.")
@click.option("--now", is_flag=True, help="Shift the times so that the last event is now.")
@click.option(
    "--key",
    type=click.Choice(["none", "campaign"]),
    default="none",
    show_default=True,
    help="Key of the records; none spreads them over the partitions.",
)
@click.option("--topic", metavar="NAME", help="Instead of the configured source topic.")
@with_configuration()
def command(
    configuration: Configuration,
    files: tuple[str, ...],
    rate: float | None,
    now: bool,
    key: str,
    topic: str | None,
) -> int:
    """Send recorded events to the source topic.

    Reads NDJSON, objects with nothing between them (as Firehose leaves them), printed JSON and
    arrays, gzip or not; `-` is standard input. What is not a JSON object is left out and counted;
    the exit status is then 1.
    """
    # What the client has to say is in the account or in the error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    options = Options(rate, now, key == "campaign", topic or configuration.topics.source)
    account = running.run(send_files(configuration, files, options))
    return 1 if account.unsent else 0


async def send_files(
    configuration: Configuration, files: tuple[str, ...], options: Options
) -> Account:
    """Send the events of files, `-` for standard input; say at the end what became of them."""
    with contextlib.ExitStack() as stack:
        streams = [(input_name(file), opened(file, stack, again=options.now)) for file in files]
        return await _produce(configuration, streams, options)


async def _produce(
    configuration: Configuration, streams: list[tuple[str, FileIO]], options: Options
) -> Account:
    await check_broker(configuration.kafka)
    shift = _shift(streams) if options.now else None
    sender = Sender(
        connection(configuration.kafka),
        options.topic,
        key=campaign_key if options.by_campaign else None,
        idempotent=configuration.kafka.guarantee == "exactly-once",
    )
    try:
        async with sender:
            await _send_all(sender, streams, options, shift)
    finally:
        for line in sender.account.lines():
            say(line, err=True)
    return sender.account


async def _send_all(
    sender: Sender,
    streams: list[tuple[str, FileIO]],
    options: Options,
    shift: Callable[[bytes], bytes] | None,
) -> None:
    size = BATCH
    pace = None
    if options.rate:
        size = max(1, min(BATCH, int(options.rate / BATCHES_PER_SECOND)))
        pace = Pace(options.rate, time.monotonic, asyncio.sleep)
    sizes = [size_of(stream) for _, stream in streams]
    with progress(sum(sizes) or None, in_bytes=True) as advance:
        for n, (name, stream) in enumerate(streams):
            async for batch in read_ahead(batches(name, stream, size)):
                for reason, place in batch.problems:
                    sender.account.fail(reason, 1, place)
                if batch.events:
                    if pace:
                        await pace.wait(len(batch.events))
                    events = [shift(event) for event in batch.events] if shift else batch.events
                    await sender.send(events, batch.place)
                advance(len(batch.events), sum(sizes[:n]) + position_of(stream))


def _shift(streams: list[tuple[str, FileIO]]) -> Callable[[bytes], bytes] | None:
    def events() -> Iterator[bytes]:
        for _, stream in streams:
            for item in read_events(stream):
                if isinstance(item, Recorded):
                    yield item.value
            stream.seek(0)

    now = int(time.time() * 1000)
    latest = latest_time(events(), now + NOT_AHEAD_MS)
    if latest is None:
        return None
    by_ms = now - latest
    return lambda event: shifted(event, by_ms)
