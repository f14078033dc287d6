"""What an event costs: ours, its peers and the floor, one table from one run.

python -m benchmarks
python -m benchmarks --only ours,floor --events 200000 --campaigns 200 --rounds 1
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from benchmarks import table
from benchmarks.arguments import numbers
from benchmarks.comparison import HEAD, Run, rounds, rows
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.registry import CONTENDERS
from benchmarks.ending import end_on_sigterm
from benchmarks.events import Traffic
from benchmarks.feed import Feed, fill
from tests.support.brokers import KafkaBroker


def main() -> None:
    """Fill topics, let the contenders count them, print and keep the table."""
    end_on_sigterm()
    options = _options()
    contenders = [CONTENDERS[name] for name in options.only]
    runs: list[Run] = []
    page = ""
    with KafkaBroker() as broker:
        _say(f"Apache Kafka {broker.version}, {options.partitions} partitions")
        for campaigns in options.campaigns:
            feeds = _feeds(broker.address, contenders, campaigns, options)
            here: list[Run] = []
            for run in rounds(contenders, feeds, options.rounds):
                _tell(run)
                here.append(run)
            runs += here
            title = f"{options.events:,} events, {campaigns:,} campaigns, {options.rounds} rounds"
            made = rows(here, contenders)
            _say(f"\n{title}\n\n{table.text(HEAD, made)}")
            page += f"### {title}\n\n{table.markdown(HEAD, made)}\n"
    parameters = {**vars(options), "kafka": broker.version}
    path = table.keep("comparison", parameters, page, [run.figures() for run in runs])
    _say(f"{path} (and .md)")


def _feeds(
    address: str, contenders: Sequence[Contender], campaigns: int, options: argparse.Namespace
) -> dict[str, Feed]:
    """Fill a topic for each number of events that somebody reads; return it by their names."""
    reads = {each.name: each.reads(options.events, campaigns) for each in contenders}
    sizes: dict[int, Feed] = {}
    for events in set(reads.values()):
        traffic = Traffic(events, campaigns, options.span)
        name = f"bench-{campaigns}-{events}"
        sizes[events] = asyncio.run(fill(address, name, traffic, partitions=options.partitions))
    return {name: sizes[events] for name, events in reads.items()}


def _tell(run: Run) -> None:
    outcome = run.outcome
    _say(
        f"round {run.round}  {run.contender.name:24} {outcome.rate:>10,.0f} events/s "
        f"{outcome.cpu_us:>8.2f} µs {outcome.peak_mib:>7.0f} MiB  {outcome.wrong or 'none'} wrong"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What an event costs, side by side."
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--campaigns", type=numbers, default=[200, 20_000], help="200,20000")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--span", type=int, default=600, help="seconds of event time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", type=_names, default=list(CONTENDERS), help=f"some of {','.join(CONTENDERS)}"
    )
    return parser.parse_args()


def _names(written: str) -> list[str]:
    names = written.split(",")
    unknown = set(names) - set(CONTENDERS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no contender {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    main()
