"""Inject faults and count.

Prints a line a round, and a table at the end. Exit status 0 if all was exact; 1 at the first
difference, with what differs and where the logs are; 2 on wrong usage. With stock Faust differences
end nothing, and the status is 0.

    python -m tests.chaos --rounds 8 --seed 1
    python -m tests.chaos --rounds 20 --faults zombie,net-cut+kill-one --rate 5000
    python -m tests.chaos --rounds 20 --keyed
    python -m tests.chaos --rounds 10 --program faust --rate 1000
    python -m tests.chaos --rounds 3 --measure recount --rate 20000
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
from collections.abc import Iterable
from pathlib import Path

import uvloop

from tests.chaos import faust_rounds, recount, report
from tests.chaos.faults import ALL, BY_NAME, FAULTS, OF_SEVERAL, faults_of
from tests.chaos.faust_rounds import FaustRounds
from tests.chaos.faust_system import FaustSystem
from tests.chaos.plan import Together, plan
from tests.chaos.rounds import Rounds
from tests.chaos.system import MOST_USUAL, System, running
from tests.chaos.traffic import Traffic
from tests.support.brokers import KafkaStartError
from tests.support.kafka_jars import KafkaUnavailableError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"faults: {', '.join(FAULTS)}; of several brokers: {', '.join(OF_SEVERAL)}; "
        f"only by name: {', '.join(BY_NAME)}",
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second (default 5000)")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3), help="default 1")
    parser.add_argument(
        "--workers", type=int, default=2, choices=range(1, MOST_USUAL + 1), help="default 2"
    )
    parser.add_argument(
        "--keyed",
        action="store_true",
        help="the source topic is keyed by campaign: nothing is repartitioned",
    )
    parser.add_argument(
        "--program", choices=("campaign-streams", "faust"), default="campaign-streams"
    )
    parser.add_argument(
        "--measure", choices=("recount",), help="time instead: a kill in each round"
    )
    parser.add_argument("--faults", type=_faults, default=[], help="only these, in turn: a,b+c")
    parser.add_argument("--keep", action="store_true", help="keep the logs in any case")
    options = parser.parse_args()
    if options.brokers == 1 and {*itertools.chain.from_iterable(options.faults)} & {*OF_SEVERAL}:
        parser.error(f"{', '.join(OF_SEVERAL)}: add --brokers 3")
    if options.keyed and options.program == "faust":
        parser.error("--keyed: Faust's plain agent keys its events in any case")
    return options


def _faults(text: str) -> list[Together]:
    chosen = [tuple(together.split("+")) for together in text.split(",")]
    for name in itertools.chain.from_iterable(chosen):
        if name not in ALL:
            raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(ALL)}")
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
    make = FaustSystem if options.program == "faust" else System
    notes = _log_to(directory / "chaos.log")
    system = make(
        directory,
        notes,
        options.brokers,
        workers=options.workers,
        keyed=options.keyed,
        seed=options.seed,
    )
    async with running(system) as it:
        keyed = ", source.keyed" if options.keyed else ""
        report.say(
            f"Apache Kafka {it.kafka.version}, brokers: {options.brokers}, "
            f"workers: {options.workers}, "
            f"Python {platform.python_version()}, {options.program}, "
            f"seed {options.seed}, {options.rate:,} events/s{keyed}"
        )
        source, faust = it.topic("source"), isinstance(it, FaustSystem)
        traffic = Traffic(
            it.kafka.address,
            source,
            options.rate,
            f"{options.seed}",
            countable=faust,
            keyed=options.keyed,
        )
        await it.usual()
        if options.measure:
            await recount.measure(it, traffic, options.rounds, options.seed)
            return 0
        if isinstance(it, FaustSystem):
            return await _faust_rounds(it, traffic, options)
        return await _rounds(it, traffic, options)


def _planned(kinds: Iterable[str], options: argparse.Namespace) -> list[Together]:
    if options.faults:
        return list(itertools.islice(itertools.cycle(options.faults), options.rounds))
    return plan(list(kinds), options.rounds, options.seed)


async def _rounds(system: System, traffic: Traffic, options: argparse.Namespace) -> int:
    planned = _planned(faults_of(options.brokers), options)
    rounds = Rounds(system, traffic, options.seed)
    results = []
    began = time.monotonic()
    report.say(report.HEAD)
    for number, faults in enumerate(planned, start=1):
        results.append(await rounds.run(number, faults))
        if number == len(planned) and results[-1].exact:
            await rounds.compare_restarted(results[-1])
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


async def _faust_rounds(system: FaustSystem, traffic: Traffic, options: argparse.Namespace) -> int:
    rounds = FaustRounds(system, traffic, options.seed)
    results = []
    report.say(faust_rounds.HEAD)
    for number, faults in enumerate(_planned(faust_rounds.APPLY, options), start=1):
        results.append(await rounds.run(number, faults))
        report.say(results[-1].line)
    for each in rounds.summary(results):
        report.say(each)
    return 0


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
            for each in report.last_words(directory) if status else ():
                report.say(each)
        else:
            shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    sys.exit(main())
