"""`campaign-streams dev`: the whole system in one terminal."""

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import PROGRAM, examples, log_doubts, with_configuration

if TYPE_CHECKING:
    from streams.configuration.models import Configuration
    from streams.worker import Worker


@click.command(
    "dev",
    epilog=examples(f"{PROGRAM} dev", f"{PROGRAM} dev --events events.ndjson.gz --now"),
)
@click.option("--port", type=int, help="Port of the HTTP API.  [default: 8080]")
@click.option(
    "--broker-port", type=int, default=19092, show_default=True, help="Port of the broker."
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
    configuration: "Configuration",
    port: int | None,  # noqa: ARG001 - in configuration
    broker_port: int,
    files: tuple[str, ...],
    now: bool,
) -> None:
    """Run the whole system on this machine: a broker, a worker, traffic, and a webhook receiver.

    Everything is in memory and gone when it ends, with Ctrl-C. The traffic is simulated, with
    incidents in it, in windows of 10 s; or it comes from files, with the configured windows.
    """
    import uvloop  # noqa: PLC0415 - not needed for --help

    from streams.observability import logs  # noqa: PLC0415

    logs.configure("warning", "text")
    log_doubts(configuration)
    # Of the embedded broker's ways the clients have much to say, and nothing to do about.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Ctrl-C is how it ends; while parts are still being read, it comes as an exception.
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(configuration, broker_port, files, now=now))


async def _run(
    configuration: "Configuration", broker_port: int, files: tuple[str, ...], *, now: bool
) -> None:
    from streams.demo.system import system  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parts = system(configuration, broker_port, _say, hasty=not files)
    worker = await _entered(parts, stop)
    if worker is None:
        return
    try:
        await _play(worker, stop, files, now=now)
    finally:
        await parts.__aexit__(*sys.exc_info())


async def _entered(
    parts: "contextlib.AbstractAsyncContextManager[Worker]", stop: asyncio.Event
) -> "Worker | None":
    """Start the parts; return null if told to stop meanwhile."""
    starting = asyncio.ensure_future(parts.__aenter__())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        return starting.result()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    return None


async def _play(
    worker: "Worker", stop: asyncio.Event, files: tuple[str, ...], *, now: bool
) -> None:
    from streams.demo.system import simulate  # noqa: PLC0415

    _say("stop       with Ctrl-C")
    if files:
        traffic = asyncio.create_task(_send(worker.configuration, files, now=now))
    else:
        traffic = asyncio.create_task(simulate(worker.configuration, _say))
    working = asyncio.create_task(worker.run(stop))
    await asyncio.wait((working, traffic), return_when=asyncio.FIRST_COMPLETED)
    if traffic.done() and traffic.exception() is None:
        # All that was recorded is sent; the rest goes on.
        await asyncio.wait((working,))
    _say("stopping …")
    stop.set()
    traffic.cancel()
    for result in await asyncio.gather(working, traffic, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _send(configuration: "Configuration", files: tuple[str, ...], *, now: bool) -> None:
    from streams.commands.produce import Options, send_files  # noqa: PLC0415

    options = Options(None, now, by_campaign=False, topic=configuration.topics.source)
    await send_files(configuration, files, options)


def _say(line: str) -> None:
    click.echo(line)
