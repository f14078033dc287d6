"""Inject faults and count.

Prints a line a round, and a table at the end. Exit status 0 if everything was exact; 1 at the first
difference, with what differs and where the logs are; 2 on wrong usage.

    python -m tests.chaos --rounds 8 --seed 1
    python -m tests.chaos --rounds 20 --faults zombie,net-cut+kill-one --rate 5000
"""

import argparse
import asyncio
import itertools
import logging
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.chaos import report
from tests.chaos.faults import FAULTS
from tests.chaos.plan import Together, plan
from tests.chaos.rounds import Rounds
from tests.chaos.system import System, running
from tests.chaos.traffic import Traffic
from tests.support.brokers import KafkaStartError
from tests.support.kafka_jars import KafkaUnavailableError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"faults: {', '.join(FAULTS)}",
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second (default 5000)")
    parser.add_argument("--faults", type=_faults, default=[], help="only these, in turn: a,b+c")
    parser.add_argument("--keep", action="store_true", help="keep the logs in any case")
    return parser.parse_args()


def _faults(text: str) -> list[Together]:
    chosen = [tuple(together.split("+")) for together in text.split(",")]
    for name in itertools.chain.from_iterable(chosen):
        if name not in FAULTS:
            raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(FAULTS)}")
    return chosen


def _log_to(file: Path) -> logging.Logger:
    """Keep notes of the faults, and what the Kafka client says, in a file."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    notes = logging.getLogger("chaos")
    notes.setLevel(logging.INFO)
    return notes


async def _run(options: argparse.Namespace, directory: Path) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    planned = plan(list(FAULTS), options.rounds, options.seed)
    if options.faults:
        planned = list(itertools.islice(itertools.cycle(options.faults), options.rounds))
    async with running(directory, _log_to(directory / "chaos.log")) as system:
        report.say(
            f"Apache Kafka {system.broker.version}, Python {platform.python_version()}, "
            f"seed {options.seed}, {options.rate:,} events/s"
        )
        return await _rounds(system, planned, options)


async def _rounds(system: System, planned: list[Together], options: argparse.Namespace) -> int:
    source = system.topic("source")
    traffic = Traffic(system.broker.address, source, options.rate, f"{options.seed}")
    await system.usual()
    rounds = Rounds(system, traffic, options.seed)
    results = []
    began = time.monotonic()
    report.say(report.HEAD)
    for number, faults in enumerate(planned, start=1):
        results.append(await rounds.run(number, faults))
        if number == len(planned) and results[-1].exact:
            results[-1].difference = await rounds.compare_all()
        report.say(report.line(results[-1]))
        if not results[-1].exact:
            break
    for each in ("", *report.summary(results), *report.wrong(results[-1])):
        report.say(each)
    report.say(
        f"{time.monotonic() - began:.0f} s; workers that ended by themselves: {system.own_ends}; "
        f"broken group coordinators of Kafka: {system.repairs}"
    )
    return 0 if results[-1].exact else 1


def main() -> int:
    """Run, and clean up."""
    options = _arguments()
    directory = Path(tempfile.mkdtemp(prefix="campaign-streams-chaos-"))
    status = 1
    try:
        status = uvloop.run(_run(options, directory))
    except (KafkaStartError, KafkaUnavailableError, AssertionError) as error:
        report.say(f"the system does not start: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        report.say("interrupted")
    finally:
        if status or options.keep:
            report.say(f"logs: {directory}")
        else:
            shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    sys.exit(main())
