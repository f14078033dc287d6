"""Ours: one worker with everything switched on, as it is shipped."""

import asyncio
from pathlib import Path

from benchmarks.contenders.contender import Contender, ContenderError, Outcome
from benchmarks.feed import Feed, fill
from benchmarks.worker import catch_up, differing, settings_of, start_up_cost
from tests.support.workers import WorkerProcess


def _contender(name: str, title: str, *, keyed: bool) -> Contender:
    def run(feed: Feed, directory: Path, group: str) -> Outcome:
        try:
            return asyncio.run(_run(feed, directory, group, keyed=keyed))
        except AssertionError as error:
            raise ContenderError(str(error)) from error

    return Contender(name, title, "exactly once", keyed, run)


async def _run(feed: Feed, directory: Path, group: str, *, keyed: bool) -> Outcome:
    nothing = await fill(feed.address, f"{group}-none", (), partitions=feed.partitions)
    with _worker(nothing, directory, f"{group}-none", keyed=keyed) as worker:
        start_up = await start_up_cost(worker)
    with _worker(feed, directory, group, keyed=keyed) as worker:
        cost = await catch_up(worker, feed.events, start_up)
        return Outcome(*cost, wrong=await differing(worker, feed.truth))


def _worker(feed: Feed, directory: Path, group: str, *, keyed: bool) -> WorkerProcess:
    return WorkerProcess(settings_of(feed, group, keyed=keyed), directory, group)


CONTENDERS = (
    _contender("ours", "campaign-streams", keyed=False),
    _contender("ours-keyed", "campaign-streams, keyed topic", keyed=True),
)
