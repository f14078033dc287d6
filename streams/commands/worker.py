"""`campaign-streams worker`: one long-running worker."""

import asyncio
import gc
import signal
from typing import TYPE_CHECKING

import click

from streams.commands.common import PROGRAM, examples, with_configuration

if TYPE_CHECKING:
    from streams.configuration.models import Configuration


@click.command(
    "worker",
    epilog=examples(
        f"{PROGRAM} worker --config config/campaign-streams.yaml",
        f"CAMPAIGN_STREAMS_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 {PROGRAM} worker",
    ),
)
@click.option("--port", type=int, help="Port of the HTTP API, instead of http.port.")
@with_configuration(port="http.port")
def command(configuration: "Configuration", port: int | None) -> None:  # noqa: ARG001 - in configuration
    """Consume, count, alert, deliver and serve the HTTP API, until SIGTERM.

    Run more of them, with the same configuration, to share the work.
    """
    import uvloop  # noqa: PLC0415 - not needed for --help

    from streams.observability import logs  # noqa: PLC0415

    logs.configure(configuration.logging.level, configuration.logging.format)
    uvloop.run(_work(configuration))


async def _work(configuration: "Configuration") -> None:
    from streams.worker import working  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with working(configuration) as worker:
        # What is here now stays: the collector need not look at it again. Counts make no cycles.
        gc.freeze()
        gc.set_threshold(100_000, 20, 50)
        await worker.run(stop)
