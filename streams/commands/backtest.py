"""`campaign-streams backtest`: what rules would have said of recorded events."""

import contextlib
import gc
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click

from streams.backtest.arrivals import Arrivals, BacktestSettings
from streams.backtest.comparison import compare
from streams.backtest.counted import CountedArrivals
from streams.backtest.counted_lines import read_lines
from streams.backtest.episodes import Episodes
from streams.backtest.events import EventArrivals
from streams.backtest.labels import Label, read_labels
from streams.backtest.recorded import RecordedEvents
from streams.backtest.scoring import Scorer
from streams.backtest.task import Decided
from streams.backtest.topic import SourceTopic
from streams.commands import backtest_output as output
from streams.commands import running
from streams.commands.common import PROGRAM, examples
from streams.commands.configured import with_configuration
from streams.commands.inputs import input_name, opened, position_of, size_of
from streams.commands.progress import progress
from streams.commands.times import Since
from streams.configuration.load import load
from streams.configuration.models import Configuration
from streams.engine.cluster.client import check_broker
from streams.errors import UsageError

Kind: TypeAlias = Literal["counts", "events", "topic"]


@dataclass(frozen=True, slots=True)
class Options:
    """What to read, and what to print.

    Attributes:
        events: files of events.
        counts: files of counts.
        since: time (s, UTC) from which the topic is read; null for files.
        topic: instead of the configured source topic.
        against: another configuration; null for none.
        labels: what is labelled; null for nothing.
        ndjson: print JSON.
    """

    events: tuple[str, ...]
    counts: tuple[str, ...]
    since: float | None
    topic: str | None
    against: Path | None
    labels: Path | None
    ndjson: bool


@click.command(
    "backtest",
    epilog=examples(
        f"{PROGRAM} backtest events.ndjson firehose/*.gz --config rules.yaml",
        f"{PROGRAM} backtest --from 24h --config new.yaml --against old.yaml",
        f"{PROGRAM} backtest --counts counts.ndjson.gz --output ndjson --labels labels.jsonl",
    ),
)
@click.argument(
    "files",
    nargs=-1,
    metavar="[FILE...]",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
@click.option(
    "--counts",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Counts instead of events: NDJSON, gzip or not. Can be repeated.",
)
@click.option(
    "--from",
    "since",
    type=Since(),
    metavar="TIME|DURATION",
    help="The source topic instead of files, from then on: 2026-11-23T10:00:00Z, or 24h ago.",
)
@click.option("--topic", metavar="NAME", help="With --from: instead of the configured topic.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Another configuration: print which of its alerts would be gone, and which are new.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="What is labelled, as simulate writes it: score how much of it the rules find.",
)
@click.option(
    "--output",
    "form",
    type=click.Choice(["table", "ndjson"]),
    default="table",
    show_default=True,
    help="ndjson: transitions on standard output, all else on standard error.",
)
@with_configuration()
def command(
    configuration: Configuration,
    files: tuple[str, ...],
    counts: tuple[str, ...],
    since: float | None,
    topic: str | None,
    against: Path | None,
    labels: Path | None,
    form: str,
) -> int:
    """Say what the rules would have said of recorded events, a topic, or counts.

    Events are read as `produce` reads them. All goes through the code of a worker, in the time in
    which it arrived, as fast as possible. Nothing is written to Kafka, and nobody is notified.
    """
    options = Options(files, counts, since, topic, against, labels, form == "ndjson")
    return Backtest(configuration, options).run()


class Contender:
    """One configuration, and what its rules say.

    Attributes:
        arrivals: on their way through its task.
        episodes: the alerts so far.
    """

    def __init__(self, arrivals: Arrivals[Any]) -> None:
        self.arrivals = arrivals
        self.episodes = Episodes()

    def take(self, block: Any) -> Iterator[Decided]:
        """Let some arrive; yield the transitions that follow."""
        for decided in self.arrivals.add(block):
            self.episodes.add(decided)
            yield decided

    def finish(self) -> Iterator[Decided]:
        """Yield the transitions that are left."""
        for decided in self.arrivals.finish():
            self.episodes.add(decided)
            yield decided


class Backtest:
    """One run of the command.

    Raises:
        UsageError: what to read is not clear.
        UserError: a file of labels cannot be read.
    """

    def __init__(self, configuration: Configuration, options: Options) -> None:
        self._options = options
        self._configuration = configuration
        self._kind = _kind(options)
        configurations = [configuration]
        if options.against is not None:
            configurations.append(load(options.against, os.environ, {}))
        self._settings = [BacktestSettings.of(each) for each in configurations]
        self._contenders: list[Contender] = []
        self._labels: list[Label] = [] if options.labels is None else read_labels(options.labels)
        self._recorded = RecordedEvents()

    def run(self) -> int:
        """Read all there is; print what the rules say; return the exit status."""
        # What is here now stays: the collector need not look at it again. Counts make no cycles.
        gc.freeze()
        gc.set_threshold(100_000, 20, 50)
        if self._kind == "topic":
            running.run(self._run_topic())
        else:
            with running.interruptible():
                self._run_files()
        self._print_results()
        return 1 if self._recorded.problems else 0

    # Read

    def _run_files(self) -> None:
        options = self._options
        self._contend(1)
        with contextlib.ExitStack() as stack:
            names = options.events or options.counts
            streams = [(input_name(name), opened(name, stack)) for name in names]
            sizes = [size_of(stream) for _, stream in streams]
            with progress(sum(sizes) or None, in_bytes=True) as advance:
                for at, (name, stream) in enumerate(streams):
                    for block, arrivals in self._blocks(name, stream):
                        self._take(block)
                        advance(arrivals, sum(sizes[:at]) + position_of(stream))
        self._finish()

    def _blocks(self, name: str, stream: Any) -> Iterator[tuple[Any, int]]:
        if self._kind == "counts":
            return ((lines, len(lines.lines)) for lines in read_lines(name, stream))
        return ((events, len(events)) for events in self._recorded.read(name, stream))

    async def _run_topic(self) -> None:
        await check_broker(self._configuration.kafka)
        options = self._options
        name = options.topic or self._configuration.topics.source
        topic = SourceTopic(self._configuration, name, int((options.since or 0) * 1000))
        self._contend(await topic.partitions())
        with progress(None) as advance:
            async with contextlib.aclosing(topic.read()) as blocks:
                async for block in blocks:
                    self._take(block)
                    advance(len(block), 0)
        self._finish()

    # Decide

    def _contend(self, sources: int) -> None:
        for settings in self._settings:
            of_counts = self._kind == "counts"
            arrivals = CountedArrivals(settings) if of_counts else EventArrivals(settings, sources)
            self._contenders.append(Contender(arrivals))

    def _take(self, block: Any) -> None:
        self._print(self._contenders[0].take(block))
        for other in self._contenders[1:]:
            for _ in other.take(block):
                pass

    def _finish(self) -> None:
        self._print(self._contenders[0].finish())
        for other in self._contenders[1:]:
            for _ in other.finish():
                pass

    # Print

    def _print(self, decided: Iterable[Decided]) -> None:
        """Print transitions; where two configurations are compared, only the difference is told."""
        for each in decided:
            if self._options.against is None:
                output.print_transition(each, ndjson=self._options.ndjson)

    def _print_results(self) -> None:
        first, *others = self._contenders
        ndjson = self._options.ndjson
        for other in others:
            found = compare(other.episodes.all, first.episodes.all)
            output.print_comparison(found, str(self._options.against), ndjson=ndjson)
        output.print_summary(first.episodes, first.arrivals, err=ndjson)
        if self._options.labels is not None:
            self._print_score(first)
        output.print_warnings(first.arrivals)
        output.print_problems(self._recorded)

    def _print_score(self, contender: Contender) -> None:
        arrivals, settings = contender.arrivals, contender.arrivals.settings.partition
        seen = arrivals.seen
        scorer = Scorer(settings.rules, settings.groups, settings.windows.size * 1000)
        span = seen.first_at or 0, seen.last_at
        score = scorer.score(self._labels, contender.episodes.all, span, arrivals.campaign_days)
        output.print_score(score, err=self._options.ndjson)


def _kind(options: Options) -> Kind:
    """Return what is read.

    Raises:
        UsageError: it is nothing, or several.
    """
    given: dict[Kind, bool] = {
        "events": bool(options.events),
        "counts": bool(options.counts),
        "topic": options.since is not None,
    }
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) != 1:
        raise UsageError("expected files of events, or --counts FILE, or --from TIME: one of them")
    if options.topic is not None and kinds != ["topic"]:
        raise UsageError("--topic needs --from TIME: from when on to read it")
    return kinds[0]
