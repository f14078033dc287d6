"""`campaign-streams dev`: the whole system in one terminal."""

import asyncio
import logging

import click
import uvloop

from streams.commands import common, running
from streams.commands.common import PROGRAM, examples
from streams.commands.configured import log_doubts, with_configuration
from streams.commands.produce import Options, send_files
from streams.configuration.models import Configuration
from streams.demo.system import simulate, system
from streams.observability import logs
from streams.worker import Worker

END_WITHIN = 14.0
"""Seconds; the broker may take some of its own after the worker's."""
LOOK_AFTER = 0.5
"""Seconds."""


@click.command(
    "dev",
    epilog=examples(f"{PROGRAM} dev", f"{PROGRAM} dev --events events.ndjson.gz --now"),
)
@click.option("--port", type=int, help="Port of the HTTP API.  [default: 8080]")
@click.option(
    "--broker-port",
    type=click.IntRange(0, 65535),
    default=19092,
    show_default=True,
    help="Port of the broker; 0 is any free one.",
)
@click.option(
    "--events",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Send recorded events instead of simulated traffic. Can be repeated.",
)
@click.option("--now", is_flag=True, help="Shift recorded times so that the last event is now.")
@with_configuration(port="http.port")
def command(
    configuration: Configuration,
    broker_port: int,
    files: tuple[str, ...],
    now: bool,
) -> None:
    """Run the whole system on this machine: a broker, a worker, traffic, and a webhook receiver.

    Everything is in memory and gone when it ends, with Ctrl-C. The traffic is simulated, with
    incidents in it, in windows of 10 s; or it comes from files, with the configured windows.
    """
    logs.configure("warning", "text")
    log_doubts(configuration)
    # Of the embedded broker's ways the clients have much to say, and nothing to do about.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    uvloop.run(_run(configuration, broker_port, files, now=now))


async def _run(
    configuration: Configuration, broker_port: int, files: tuple[str, ...], *, now: bool
) -> None:
    with running.stopped_by_signals(END_WITHIN) as stop:
        say = _Say(stop)
        unread = asyncio.create_task(_stop_when_unread(stop))
        parts = system(configuration, broker_port, say, hasty=not files)
        async with running.entered(parts, stop) as worker:
            if worker is not None:
                await _play(worker, stop, say, files, now=now)
        unread.cancel()


class _Say:
    """Prints lines, and stops everything when nobody reads them."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def __call__(self, line: str) -> None:
        if running.output_is_gone():
            self._stop.set()
            return
        try:
            common.say(line)
        except BrokenPipeError:
            self._stop.set()


async def _stop_when_unread(stop: asyncio.Event) -> None:
    """Stop when the reader of a pipe has ended, as `head` does, even if there is nothing to say."""
    while not running.output_is_gone():  # noqa: ASYNC110 - nobody says when
        await asyncio.sleep(LOOK_AFTER)
    stop.set()


async def _play(
    worker: Worker, stop: asyncio.Event, say: _Say, files: tuple[str, ...], *, now: bool
) -> None:
    say("stop       with Ctrl-C")
    if files:
        traffic = asyncio.create_task(_send(worker.configuration, files, now=now))
    else:
        traffic = asyncio.create_task(simulate(worker.configuration, say))
    working = asyncio.create_task(worker.run(stop))
    await asyncio.wait((working, traffic), return_when=asyncio.FIRST_COMPLETED)
    if traffic.done() and traffic.exception() is None:
        # All that was recorded is sent; the rest goes on.
        await asyncio.wait((working,))
    say("stopping …")
    stop.set()
    traffic.cancel()
    for result in await asyncio.gather(working, traffic, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _send(configuration: Configuration, files: tuple[str, ...], *, now: bool) -> None:
    options = Options(None, now, by_campaign=False, topic=configuration.topics.source)
    await send_files(configuration, files, options)
