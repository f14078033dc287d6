"""`campaign-streams worker`: one long-running worker."""

import asyncio
import gc
import sys

import click
import uvloop

from streams.commands import running
from streams.commands.common import PROGRAM, examples, print_error
from streams.commands.configured import log_doubts, with_configuration
from streams.configuration.models import Configuration
from streams.errors import UserError
from streams.observability import logs
from streams.worker import Worker, working

END_WITHIN = 9.0
"""Seconds; a worker that is told to stop is gone within ten."""
SWITCH_INTERVAL = 0.0005
"""Seconds that one thread works while another one waits."""


@click.command(
    "worker",
    epilog=examples(
        f"{PROGRAM} worker --config config/campaign-streams.yaml",
        f"CAMPAIGN_STREAMS_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 {PROGRAM} worker",
    ),
)
@click.option("--port", type=int, help="Port of the HTTP API, instead of http.port.")
@with_configuration(port="http.port")
def command(configuration: Configuration) -> None:
    """Consume, count, alert, deliver and serve the HTTP API, until SIGTERM.

    Run more of them, with the same configuration, to share the work.
    """
    logs.configure(configuration.logging.level, configuration.logging.format)
    log_doubts(configuration)
    uvloop.run(_work(configuration))


async def _work(configuration: Configuration) -> None:
    with running.stopped_by_signals(END_WITHIN) as stop:
        async with running.entered(working(configuration), stop) as worker:
            if worker is not None:
                await _run(worker, stop)


async def _run(worker: Worker, stop: asyncio.Event) -> None:
    # What is here now stays: the collector need not look at it again. Counts make no cycles.
    # The consumer's thread lets go soon: whoever asks the API waits for it several times.
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    status = 1
    try:
        await worker.run(stop)
        status = 0
    except UserError as error:
        # Now, as the end may take a while, and be broken off.
        print_error(str(error))
        raise click.exceptions.Exit(error.exit_code) from error
    finally:
        running.end_within(END_WITHIN, status)
