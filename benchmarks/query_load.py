"""What answers take, and what they cost counting, at 20,000 campaigns and 20,000 events a second.

    python -m benchmarks.query_load --seconds 10 --rounds 3

One worker is filled with twenty thousand campaigns, some of which have a day of windows; then
events come live, as many in every second, all the time. Questions are asked in every other phase of
some seconds: the mix of dashboards and programs, at a fixed pace, over connections that stay open.
The time of a question runs from when it was due, so a worker that is stuck makes all questions
meanwhile late. CPU time of the worker is taken from the system at the ends of each phase. Then one
client asks questions of some kinds, each alone, one after the other.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import aiohttp
import orjson
import uvloop

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from benchmarks.events import Event, campaign_ids, make
from benchmarks.feed import Feed, fill
from benchmarks.load import SEED
from benchmarks.worker import look, reach, settings_of
from tests.support.brokers import KafkaBroker
from tests.support.ports import LOOPBACK
from tests.support.workers import WorkerProcess

APPS = 5
WINDOW_S = 60
RECENT = 16
"""Windows that every campaign has."""
DAY = 1440
"""Windows of a campaign with a day of them."""
TREATMENTS = 2
OTHERS = ("FAILURE", "THROTTLED")
EACH = 2
"""Events in a past window of a campaign."""
OTHERS_IN = 32
"""Windows of a campaign, in one of which an event did not succeed."""
ORDERS = (
    *("attempts", "failure_rate", "throttled_rate", "failure_lower_bound"),
    *("throttled_lower_bound", "last_window", "campaign_id"),
)
SPANS = ("1m", "5m", "10m", "20m")
DASHBOARD = "list, as the dashboard asks"
SEARCH = "list, by search"
BY_ORDER = "list, by every order"
ACTIVE_WITHIN = "list, active_within"
WINDOW, CAMPAIGN, WINDOWS = "a window", "a campaign", "windows of a day"
ALONE = (DASHBOARD, BY_ORDER, SEARCH, ACTIVE_WITHIN, WINDOW, CAMPAIGN, WINDOWS)
"""Kinds that are asked alone as well."""
NEXT_PAGE = "list, the next page"
"""Goes on where a page of a search has ended."""
SETTLE_S = 5.0
WARM_S = 10.0
BETWEEN_S = 0.02
"""From the answer of a question that is asked alone to the next one."""

HEAD = ("question", "asked", "answered 200", "p50 ms", "p90 ms", "p99 ms", "max ms")
COST_HEAD = ("", "quiet", "asked", "asked ÷ quiet")


class Kind(NamedTuple):
    """One kind of question.

    Attributes:
        name: in the table.
        weight: its share of the mix, in percent.
        targets: the paths and queries, of which one is asked at a time.
    """

    name: str
    weight: int
    targets: tuple[str, ...]


class Scene(NamedTuple):
    """Who there is: all campaigns, and those with a day of windows; the present window (s)."""

    campaigns: list[str]
    daily: list[str]
    present: int


def scene_of(campaigns: int, daily: int) -> Scene:
    """Return the campaigns that the load sends, of which the first have a day of windows."""
    ids = campaign_ids(campaigns, random.Random(SEED))  # noqa: S311 - no secrets here
    return Scene(ids, ids[:daily], int(time.time()) // WINDOW_S * WINDOW_S)


def history(scene: Scene) -> Iterator[Event]:
    """Yield the past: a few events in each window, oldest first."""
    for back in range(DAY - 1, 0, -1):
        at = (scene.present - back * WINDOW_S) * 1000
        present = scene.campaigns if back < RECENT else scene.daily
        for number, campaign in enumerate(present):
            other = OTHERS[number % len(OTHERS)] if (number + back) % OTHERS_IN == 0 else "SUCCESS"
            for n in range(EACH):
                yield make(campaign, at, other if n else "SUCCESS", n % TREATMENTS)


def kinds(scene: Scene) -> tuple[Kind, ...]:
    """Return the mix: of 100 questions 10 are lists, as dashboards ask, the others of programs."""
    starts = [scene.present - back * WINDOW_S for back in range(1, RECENT)]
    some = random.Random(4).sample(scene.campaigns, 400)  # noqa: S311 - no secrets here
    campaigns = [f"/v1/campaigns/{campaign}" for campaign in some]
    daily = [f"/v1/campaigns/{campaign}" for campaign in scene.daily]
    orders = [sign + name for name in ORDERS for sign in ("", "-")]
    texts = [f"{n:02x}" for n in range(0, 256, 16)]
    return (
        Kind(DASHBOARD, 4, (_list("-failure_lower_bound", recent=20),)),
        Kind(BY_ORDER, 2, tuple(map(_list, orders))),
        Kind("list, of an app", 1, tuple(_list(order, app_id=APP) for order in orders)),
        Kind(SEARCH, 1, tuple(_list("-attempts", search=text) for text in texts)),
        Kind(ACTIVE_WITHIN, 1, tuple(_list("-attempts", active_within=t) for t in SPANS)),
        Kind(NEXT_PAGE, 1, ("",)),
        Kind(WINDOW, 45, tuple(f"{c}/windows/{s * 1000}" for c in campaigns for s in starts)),
        Kind(CAMPAIGN, 40, tuple(campaigns)),
        Kind(WINDOWS, 3, tuple(f"{c}/windows" for c in daily)),
        Kind("totals by day", 2, tuple(f"{c}/totals?per=day" for c in daily)),
        Kind("a campaign with a day of windows", 1, tuple(daily)),
    )


APP = "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"
"""That of all events of the benchmarks."""


def _list(sort: str, **parameters: object) -> str:
    return f"/v1/campaigns?{urlencode({'sort': sort, **parameters})}"


class Answers:
    """The milliseconds and the status of each answer, by kind."""

    def __init__(self) -> None:
        self.of: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)

    def rows(self) -> list[list[str]]:
        """Return the rows of the table."""
        return [_row(kind, answers) for kind, answers in sorted(self.of.items())]


class Mix:
    """Asks questions of all kinds at a pace.

    Args:
        session: of the worker.
        mix: what is asked.
        pace: questions a second.
        answers: where the answers go.
    """

    def __init__(
        self, session: aiohttp.ClientSession, mix: tuple[Kind, ...], pace: float, answers: Answers
    ) -> None:
        self._session = session
        self._kinds = mix
        self._pace = pace
        self._answers = answers
        self._choice = random.Random(5)  # noqa: S311 - no secrets here
        self._next_page = _list("-attempts")
        self.asked = 0

    async def run(self, seconds: float) -> None:
        """Ask for so long, and wait for the answers."""
        began, number = time.perf_counter(), 0
        weights = [kind.weight for kind in self._kinds]
        async with asyncio.TaskGroup() as asking:
            while (due := began + number / self._pace) < began + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                (kind,) = self._choice.choices(self._kinds, weights)
                asking.create_task(self._ask(kind, due))
                number += 1
        self.asked += number

    async def _ask(self, kind: Kind, due: float) -> None:
        target = self._choice.choice(kind.targets) or self._next_page
        async with self._session.get(target) as response:
            body = await response.read()
        self._answers.of[kind.name].append(((time.perf_counter() - due) * 1000, response.status))
        if kind.name == SEARCH and response.status == HTTPStatus.OK:
            cursor = orjson.loads(body).get("next_cursor")
            if cursor:
                self._next_page = f"{target}&cursor={cursor}"


async def ask_alone(session: aiohttp.ClientSession, kind: Kind, seconds: float) -> Answers:
    """Ask questions of one kind, one after the other, for so long."""
    answers, choice = Answers(), random.Random(6)  # noqa: S311 - no secrets here
    until = time.perf_counter() + seconds
    while (asked := time.perf_counter()) < until:
        async with session.get(choice.choice(kind.targets)) as response:
            await response.read()
        took = (time.perf_counter() - asked) * 1000
        answers.of[kind.name].append((took, response.status))
        await asyncio.sleep(BETWEEN_S)
    return answers


class Phase(NamedTuple):
    """What counting took in some seconds."""

    events: int
    cpu_seconds: float
    seconds: float
    queries: int

    @property
    def cpu_us(self) -> float:
        """CPU µs of the worker for each event, with what its answers took."""
        return self.cpu_seconds / self.events * 1e6

    @property
    def rate(self) -> float:
        """Events counted a second."""
        return self.events / self.seconds


@contextmanager
def loaded(feed: Feed, rate: int, campaigns: int) -> Iterator[None]:
    """Have a process send events all the time."""
    options = {
        "brokers": feed.address,
        "topic": feed.plain,
        "partitions": feed.partitions,
        "rate": rate,
        "campaigns": campaigns,
    }
    command = [sys.executable, "-m", "benchmarks.load"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own
        try:
            yield
        finally:
            process.terminate()


async def phase(worker: WorkerProcess, seconds: float, mix: Mix | None) -> Phase:
    """Watch a worker for some seconds, in which it is asked or not."""
    before, queries = await look((worker,)), mix.asked if mix else 0
    await (mix.run(seconds) if mix else asyncio.sleep(seconds))
    after = await look((worker,))
    return Phase(
        after.counted - before.counted,
        after.cpu_seconds - before.cpu_seconds,
        after.at - before.at,
        (mix.asked if mix else 0) - queries,
    )


class Measured(NamedTuple):
    """The answers in the mix, those of kinds that were asked alone, and phases: quiet and asked."""

    answers: Answers
    alone: Answers
    phases: list[tuple[Phase, Phase]]


async def measure(
    worker: WorkerProcess, feed: Feed, scene: Scene, options: argparse.Namespace
) -> Measured:
    """Ask, in phases that are quiet and asked in turn, and then alone."""
    answers, alone, phases = Answers(), Answers(), []
    await worker.ready()
    await reach((worker,), feed.events, 1.0)
    base = f"http://{LOOPBACK}:{worker.port}"
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=50)
    with loaded(feed, options.rate, options.campaigns):
        await asyncio.sleep(SETTLE_S)
        async with aiohttp.ClientSession(base, timeout=timeout, connector=connector) as session:
            await Mix(session, kinds(scene), options.pace, Answers()).run(WARM_S)
            mix = Mix(session, kinds(scene), options.pace, answers)
            for _ in range(options.rounds):
                quiet = await phase(worker, options.seconds, None)
                phases.append((quiet, await phase(worker, options.seconds, mix)))
            for kind in kinds(scene):
                if kind.name in ALONE:
                    alone.of |= (await ask_alone(session, kind, options.alone)).of
    return Measured(answers, alone, phases)


def main() -> None:
    """Measure."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.query_load", description="Queries.")
    parser.add_argument("--campaigns", type=int, default=20_000)
    parser.add_argument("--daily", type=int, default=100, help="campaigns with a day of windows")
    parser.add_argument("--rate", type=int, default=20_000, help="events per second")
    parser.add_argument("--pace", type=float, default=200, help="questions per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument("--rounds", type=int, default=5, help="of two phases")
    parser.add_argument("--alone", type=float, default=10.0, help="seconds of each kind alone")
    options = parser.parse_args()
    scene = scene_of(options.campaigns, options.daily)
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as directory:
        feed = asyncio.run(fill(broker.address, "query-load", history(scene), keyed=False))
        settings = settings_of(feed, "query-load")
        with WorkerProcess(settings, Path(directory), "query-load") as worker:
            measured = uvloop.run(measure(worker, feed, scene, options))
            worker.stop()
    pace = f"{options.rate:,} events/s, {options.pace:.0f} questions/s"
    title = f"{options.campaigns:,} campaigns, {pace}"
    table.publish(
        "query-load", table.Results(title, HEAD, measured.answers.rows()), **vars(options)
    )
    cost = table.Results(f"Counting: {title}", COST_HEAD, _cost(measured.phases))
    table.publish("query-load-counting", cost, **vars(options))
    title = f"{options.campaigns:,} campaigns, {options.rate:,} events/s, each kind asked alone"
    alone = table.Results(title, HEAD, measured.alone.rows())
    table.publish("query-load-alone", alone, **vars(options))


def _row(kind: str, answers: Sequence[tuple[float, int]]) -> list[str]:
    times = [ms for ms, _ in answers]
    good = sum(status == HTTPStatus.OK for _, status in answers)
    shares = (table.percentile(times, share) for share in (0.5, 0.9, 0.99, 1.0))
    return [kind, f"{len(times):,}", f"{good:,}", *(f"{ms:.1f}" for ms in shares)]


def _cost(phases: Sequence[tuple[Phase, Phase]]) -> list[list[str]]:
    """Return what counting took in quiet phases and in those with questions: medians."""
    quiet, asked = zip(*phases, strict=True)
    rates = [[each.rate for each in of] for of in (quiet, asked)]
    costs = [[each.cpu_us for each in of] for of in (quiet, asked)]
    of_query = [
        (with_them.cpu_us - without.cpu_us) * with_them.events / with_them.queries
        for without, with_them in phases
    ]
    return [
        ["events/s", *map(table.spread, rates), _quotients(*rates)],
        [
            "CPU µs/event, with answers",
            *(table.spread(c, 2) for c in costs),
            _quotients(*costs),
        ],
        ["CPU µs/question", "", table.spread(of_query), ""],
    ]


def _quotients(quiet: Sequence[float], asked: Sequence[float]) -> str:
    return table.spread((b / a for a, b in zip(quiet, asked, strict=True)), 3)


if __name__ == "__main__":
    main()
