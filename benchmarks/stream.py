"""Many readers of the live stream under load, while one worker is killed.

    python -m benchmarks.stream --readers 500 --rate 20000 --workers 3

A steady load; then readers, spread over all workers; every tenth stops reading; then a worker is
killed (SIGKILL), and started again. At the end those that had stopped go on at another worker, and
what each reader was told in all is compared with the tables, and these with what was sent.

An age runs from the first commit that an answer tells of, by the clock of the worker that made it,
to the arrival at the reader. Exit status 1 if a reader has missed anything, or a count is wrong.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.feed import Feed, fill
from benchmarks.hostile import process, read_truth
from benchmarks.load import CAMPAIGNS
from benchmarks.measuring import usage
from benchmarks.stream_readers import KINDS
from benchmarks.worker import differing, settings_of
from tests.support.brokers import KafkaBroker
from tests.support.waiting import until
from tests.support.workers import WorkerProcess

WARM_UP_S = 5.0
BASELINE_S = 10.0
"""Without readers."""
SETTLED_S = 3.0
"""After an upheaval, before a phase begins."""
DOWN_S = 3.0
COUNTED_WITHIN_S = 60.0
WINDOW_CELLS = "campaign_streams_window_cells{"
HEAD = ("phase", "readers", "answers", "p50 ms", "p90 ms", "p99 ms", "max ms")


@dataclass
class Measured:
    """One run.

    Attributes:
        phases: names, and from when to when (s, UTC) they were.
        cpu: CPU seconds of each surviving worker a second, by phase.
        resident: bytes of each surviving worker at the end of each phase.
        peaks: the most bytes that each worker ever had.
        unsent: most bytes that the kernel held for one connection of a worker, and for all.
        attached: seconds until all readers were told of something.
        readers: what their process has found.
        sent: events, and in how many seconds.
        wrong: counts that are not as they were sent.
    """

    phases: list[tuple[str, float, float]] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    resident: dict[str, list[int]] = field(default_factory=dict)
    peaks: list[int] = field(default_factory=list)
    unsent: tuple[int, int] = (0, 0)
    attached: float = 0.0
    readers: dict[str, Any] = field(default_factory=dict)
    sent: tuple[int, float] = (0, 0.0)
    wrong: int = 0
    samples: "array[float]" = field(default_factory=lambda: array("d"))


class Run:
    """The parts of one run."""

    def __init__(self, options: argparse.Namespace, feed: Feed, directory: Path) -> None:
        self.measured = Measured()
        self.directory = directory
        self._options = options
        self._feed = feed
        settings = settings_of(feed, "stream", tasks=options.partitions)
        self.workers = [
            WorkerProcess(settings, directory, f"worker-{n}") for n in range(options.workers)
        ]

    @property
    def surviving(self) -> list[WorkerProcess]:
        """All workers but the last one, which is killed."""
        return self.workers[:-1] or self.workers

    async def measure(self) -> None:
        """Run once."""
        options, measured = self._options, self.measured
        truth = self.directory / "truth"
        with ExitStack() as running:
            for worker in self.workers:
                running.enter_context(worker)
                await worker.ready()
            await self._shared_out()
            with process(
                "load",
                brokers=self._feed.address,
                topic=self._feed.plain,
                partitions=self._feed.partitions,
                rate=options.rate,
                truth=truth,
            ) as printed:
                await asyncio.sleep(WARM_UP_S)
                await self._phase("no readers", BASELINE_S)
                reading = running.enter_context(self._readers(await self._campaigns()))
                await self._under_load(reading)
            events, seconds = printed[0].split()
            measured.sent = int(events), float(seconds)
            found = read_truth(truth)

            async def all_counted() -> bool:
                return await differing(self.workers[0], found) == 0

            await until(all_counted, COUNTED_WITHIN_S)
            reading.send_signal(signal.SIGUSR1)
            await asyncio.sleep(SETTLED_S)
            reading.terminate()
            await asyncio.to_thread(reading.wait)
            measured.wrong = await differing(self.workers[0], found)
            measured.peaks = [usage(each.process.pid).peak_bytes for each in self.workers]
            for worker in self.workers:
                worker.stop()
        self._collect()

    async def _under_load(self, reading: "subprocess.Popen[str]") -> None:
        """Let readers read, some stop, and a worker die and come back."""
        seconds = self._options.seconds
        line = await asyncio.to_thread(reading.stdout.readline) if reading.stdout else ""
        if not line:
            raise SystemExit("the readers have ended")
        self.measured.attached = float(line)
        await asyncio.sleep(SETTLED_S)
        await self._phase("all read", seconds)
        reading.send_signal(signal.SIGUSR1)
        await asyncio.sleep(SETTLED_S)
        await self._phase("a tenth has stopped", seconds)
        self.workers[-1].kill()
        restart = asyncio.create_task(self._restart())
        await self._phase("a worker is killed", seconds)
        await restart
        await self.workers[-1].ready()
        await asyncio.sleep(SETTLED_S)
        await self._phase("it is back", seconds)

    async def _restart(self) -> None:
        await asyncio.sleep(DOWN_S)
        self.workers[-1].start()

    async def _phase(self, name: str, seconds: float) -> None:
        """Watch for some seconds."""
        began = time.time()
        before = [usage(each.process.pid).cpu_seconds for each in self.surviving]
        while time.time() < began + seconds:
            await asyncio.sleep(1.0)
            most, whole = unsent([each.port for each in self.workers])
            had = self.measured.unsent
            self.measured.unsent = max(had[0], most), max(had[1], whole)
        after = [usage(each.process.pid) for each in self.surviving]
        lasted = time.time() - began
        self.measured.phases.append((name, began, began + lasted))
        self.measured.cpu[name] = [
            (now.cpu_seconds - then) / lasted for now, then in zip(after, before, strict=True)
        ]
        self.measured.resident[name] = [each.resident_bytes for each in after]

    async def _shared_out(self) -> None:
        """Wait until every worker has its share of the tasks."""
        least = self._options.partitions // len(self.workers)

        async def all_have() -> bool:
            for worker in self.workers:
                names = await worker.metrics()
                if sum(name.startswith(WINDOW_CELLS) for name in names) < least:
                    return False
            return True

        await until(all_have)

    async def _campaigns(self) -> Path:
        """Write the ids of all campaigns to a file."""
        path = self.directory / "campaigns"

        async def all_are_there() -> bool:
            answer = await self.workers[0].json("/v1/campaigns?limit=1000")
            names = sorted(row["campaign_id"] for row in answer["campaigns"])
            path.write_bytes(orjson.dumps(names))
            return len(names) == CAMPAIGNS

        await until(all_are_there)
        return path

    @contextmanager
    def _readers(self, campaigns: Path) -> Iterator["subprocess.Popen[str]"]:
        options = {
            "ports": ",".join(str(each.port) for each in self.workers),
            "tasks": self._options.partitions,
            "readers": self._options.readers,
            "campaigns": campaigns,
            "result": self.directory / "readers",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "benchmarks.stream_readers", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603 - our own
            try:
                yield running
            finally:
                running.kill()

    def _collect(self) -> None:
        self.measured.readers = orjson.loads((self.directory / "readers").read_bytes())
        self.measured.samples.frombytes((self.directory / "readers.samples").read_bytes())


def unsent(ports: Sequence[int]) -> tuple[int, int]:
    """Return how many bytes the kernel has of the workers' answers that nobody takes.

    The most of one connection, and of all together.
    """
    sizes = [0]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) in ports:
            sizes.append(int(fields[4].partition(":")[0], 16))
    return max(sizes), sum(sizes)


def _ages(measured: Measured) -> list[list[str]]:
    """Return the table of ages, by phase and kind of reader."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    samples = measured.samples
    for at in range(0, len(samples), 4):
        arrival, age, kind, was_lost = samples[at : at + 4]
        for name, began, ended in measured.phases:
            if began <= arrival < ended:
                found[name, KINDS[int(kind)]].append(age)
                found[name, "lost a connection" if was_lost else "of workers that live"].append(age)
    groups = (*KINDS, "of workers that live", "lost a connection")
    return [
        [name, group, f"{len(ages):,}"]
        + [f"{table.percentile(ages, share):.0f}" for share in (0.5, 0.9, 0.99, 1.0)]
        for name, _, _ in measured.phases
        for group in groups
        if (ages := found[name, group])
    ]


def _facts(measured: Measured) -> Iterator[tuple[str, str]]:
    """Yield what else was found."""
    events, seconds = measured.sent
    found, counters = measured.readers["differences"], measured.readers["counters"]
    yield "events sent, a second", f"{events / seconds:,.0f}"
    yield "counts that are not as sent", f"{measured.wrong:,}"
    yield "readers, of which stop", f"{measured.readers['readers']}, {measured.readers['stuck']}"
    yield "all told of something after, s", f"{measured.attached:.2f}"
    yield "events told", f"{counters['events']:,}"
    yield "bytes told", f"{counters['bytes']:,}"
    yield "windows compared", f"{found['compared']:,}"
    yield "never told", f"{found.get('never told', 0):,}"
    yield "told, but not the last state", f"{found.get('not the last state', 0):,}"
    anew = found.get("readers told to read anew", 0)
    yield "readers told to read anew, not compared", f"{anew:,}"
    refused = {name: n for name, n in counters.items() if name.startswith("refused")}
    yield "refused", f"{sum(refused.values())}"
    away = measured.readers["away"] or [0.0]
    shares = [table.percentile(away, share) for share in (0.5, 0.99, 1.0)]
    yield (
        "from a lost connection to the next event, p50, p99, max s",
        ", ".join(f"{each:.2f}" for each in shares),
    )
    yield "most bytes in the kernel, a connection, all", "{:,}, {:,}".format(*measured.unsent)
    yield "peak memory of the workers, MiB", _mebibytes(measured.peaks)
    none = sum(measured.cpu["no readers"])
    for name, cores in measured.cpu.items():
        yield f"CPU of {len(cores)} workers, {name}, cores", f"{sum(cores):.2f}"
        rate = (sum(cores) - none) / (events / seconds) * 1e6
        yield f"… of it for readers, µs for each event sent, {name}", f"{rate:.1f}"
        yield f"memory, {name}, MiB", _mebibytes(measured.resident[name])


def _mebibytes(sizes: Sequence[int]) -> str:
    return ", ".join(f"{size / 2**20:.0f}" for size in sizes)


def main() -> None:
    """Measure once."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description="Readers.")
    parser.add_argument("--readers", type=int, default=500)
    parser.add_argument("--rate", type=int, default=20_000, help="events per second")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20, help="of each phase")
    options = parser.parse_args()
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        measured = asyncio.run(_measure(broker, options, Path(directory)))
    title = (
        f"{options.readers} readers, {options.workers} workers, {options.rate:,} events a second"
    )
    parameters = vars(options)
    ages = table.Results(f"Age of answers: {title}", HEAD, _ages(measured))
    table.publish("stream", ages, **parameters)
    facts = table.Results(title, ("", "measured"), [list(each) for each in _facts(measured)])
    table.publish("stream-facts", facts, **parameters)
    found = measured.readers["differences"]
    if measured.wrong or found.get("never told") or found.get("not the last state"):
        sys.exit(1)


async def _measure(broker: KafkaBroker, options: argparse.Namespace, directory: Path) -> Measured:
    feed = await fill(broker.address, "stream", (), partitions=options.partitions, keyed=False)
    run = Run(options, feed, directory)
    await run.measure()
    return run.measured


if __name__ == "__main__":
    main()
