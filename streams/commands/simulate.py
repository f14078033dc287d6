"""`campaign-streams simulate`: labelled traffic, to the topic or to a file."""

import asyncio
import contextlib
import gzip
import json
import logging
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import click

from streams.commands import running
from streams.commands.common import PROGRAM, EventRate, examples, say
from streams.commands.configured import with_configuration
from streams.commands.progress import progress
from streams.configuration.models import Configuration
from streams.engine.cluster.client import check_broker, connection
from streams.errors import UsageError, UserError
from streams.settings import parse_duration
from streams.traffic.pacing import play, play_fast
from streams.traffic.plans import make_plan
from streams.traffic.sending import Account, Sender
from streams.traffic.simulation import Plan, Step, steps

STDOUT = "-"
# For files: the same seed should give the same bytes.
FILE_START_MS = 1_767_225_600_000
GZIP_LEVEL = 6


@click.command(
    "simulate",
    epilog=examples(
        f"{PROGRAM} simulate --seed 7 --duration 10m --labels labels.jsonl",
        f"{PROGRAM} simulate --duration 24h --output traffic.ndjson.gz --labels labels.jsonl",
    ),
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same traffic.")
@click.option("--campaigns", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--rate",
    type=EventRate(),
    default=400.0,
    show_default=True,
    help="Sends per second, of all campaigns together.",
)
@click.option("--duration", default="10m", show_default=True, help="Such as 90s, 10m, 24h.")
@click.option(
    "--start",
    metavar="TIME|now",
    help="Time of the first event, RFC 3339. Otherwise now; with --fast, so that it ends now; "
    "for a file, 2026-01-01T00:00:00Z.",
)
@click.option(
    "--incidents",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="How many, with as many that only look like one; fewer if they do not fit in.",
)
@click.option("--labels", metavar="FILE", type=click.Path(dir_okay=False), help="Where and what.")
@click.option(
    "--output",
    metavar="FILE|-",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write NDJSON there instead of sending; .gz compresses.",
)
@click.option("--fast", is_flag=True, help="Send as fast as possible, not in real time.")
@with_configuration()
def command(
    configuration: Configuration,
    seed: int,
    campaigns: int,
    rate: float,
    duration: str,
    start: str | None,
    incidents: int,
    labels: str | None,
    output: str | None,
    fast: bool,
) -> int:
    """Make labelled traffic: many campaigns, treatments, channels, quiet hours and incidents.

    A file of labels has one JSON object a line: campaign, kind, statuses, start, end, effect, and
    whether it is a decoy, which should raise no alert.
    """
    duration_ms = _milliseconds(duration)
    plan = make_plan(
        seed=seed,
        start_ms=_start_ms(start, duration_ms, fast=fast, to_file=output is not None),
        duration_ms=duration_ms,
        campaigns=campaigns,
        rate=rate,
        incidents=incidents,
    )
    if labels:
        _write_labels(plan, labels)
    if output:
        _write_events(plan, output)
        return 0
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    account = running.run(_send(configuration, plan, fast=fast))
    return 1 if account.unsent else 0


async def _send(configuration: Configuration, plan: Plan, *, fast: bool) -> Account:
    await check_broker(configuration.kafka)
    sender = Sender(
        connection(configuration.kafka),
        configuration.topics.source,
        idempotent=configuration.kafka.guarantee == "exactly-once",
    )
    try:
        with progress((plan.end_ms or 0) - plan.start_ms) as advance:

            def observe(step: Step) -> None:
                advance(len(step.events), step.until_ms - plan.start_ms)
                _announce(step)

            async with sender:
                if fast:
                    await play_fast(plan, sender.send, observe)
                else:
                    await play(plan, sender.send, time.monotonic, asyncio.sleep, observe)
    finally:
        for line in sender.account.lines():
            say(line, err=True)
    return sender.account


def _announce(step: Step) -> None:
    for word, labels in (("begins", step.began), ("ends", step.ended)):
        for label in labels:
            what = "decoy" if label.decoy else "incident"
            say(f"{what} {word}: {label.kind}, campaign {label.campaign_id}", err=True)


def _write_labels(plan: Plan, file: str) -> None:
    try:
        with Path(file).open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(label.document()) + "\n" for label in plan.labels())
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from error


def _write_events(plan: Plan, file: str) -> None:
    count = 0
    try:
        with (
            running.interruptible(),
            _output(file) as stream,
            progress((plan.end_ms or 0) - plan.start_ms) as advance,
        ):
            for step in steps(plan):
                stream.writelines(event + b"\n" for _, event in step.events)
                count += len(step.events)
                advance(len(step.events), step.until_ms - plan.start_ms)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from error
    say(f"wrote {count:,} events", err=True)


@contextlib.contextmanager
def _output(file: str) -> Iterator[BinaryIO]:
    if file == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with Path(file).open("wb") as plain:
        if not file.endswith(".gz"):
            yield plain
            return
        # Neither name nor time goes into the file, so that it is the same each time.
        with gzip.GzipFile("", "wb", GZIP_LEVEL, plain, mtime=0) as packed:
            yield cast("BinaryIO", packed)


def _milliseconds(duration: str) -> int:
    try:
        milliseconds = round(parse_duration(duration) * 1000)
    except ValueError as error:
        raise UsageError(f"--duration is {duration}: {error}") from None
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        raise UsageError(f"--duration is {duration}: expected at least 1s")
    return milliseconds


def _start_ms(start: str | None, duration_ms: int, *, fast: bool, to_file: bool) -> int:
    now_ms = time.time_ns() // 1_000_000
    if start is None and to_file:
        return FILE_START_MS
    if start is None and fast:
        return now_ms - duration_ms
    if start in {None, "now"}:
        return now_ms
    try:
        moment = datetime.fromisoformat(str(start))
    except ValueError:
        raise UsageError(
            f"--start is {start}: expected now, or a time such as 2026-01-31T12:00:00Z"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
