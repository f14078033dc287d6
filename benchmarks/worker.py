"""Our worker: as it is shipped, watched while it catches up on a topic that is already full."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import aiohttp

from benchmarks.events import Truth
from benchmarks.feed import Feed
from benchmarks.measuring import usage
from tests.support.ports import LOOPBACK
from tests.support.workers import Settings, WorkerProcess

POLL_S = 0.1
WATCHED_S = 2.0
"""A worker that catches up is asked what it has counted this often: its answer costs milliseconds,
which are not those of the events. Prometheus asks every 15 s or less often."""
COUNTED = 'campaign_streams_events_total{kind="send",outcome="counted"}'
QUIET_S = 1.0
QUIET_SHARE = 0.2
"""A worker is done when it needs less of a core than this for so long: all is written down."""
WHOLE_WITHIN_S = 30.0
QUESTIONS = 16
"""Under way at once when the counts are compared."""
TOPICS = {
    "repartition": "partial-counts",
    "changelog": "changelog",
    "silences": "silences",
    "groups": "groups",
    "alerts": "alerts",
    "dead_letter": "dead",
}


class Moment(NamedTuple):
    """What was counted and used by then; `at` in s."""

    at: float
    counted: int
    cpu_seconds: float


class CatchUp(NamedTuple):
    """What catching up cost, until all was written down, without the start of the worker."""

    events: int
    seconds: float
    cpu_seconds: float
    second_half_us: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU µs per event."""
        return self.cpu_seconds / self.events * 1e6


def settings_of(
    feed: Feed, group: str, *, keyed: bool = False, tasks: int = 4, **sections: Any
) -> Settings:
    """Configure a worker: everything as shipped but the addresses, the names and `sections`."""
    names = {role: f"{group}-{name}" for role, name in TOPICS.items()}
    return {
        "kafka": {"bootstrap_servers": [feed.address], "group_id": group},
        "topics": {"source": feed.topic(keyed=keyed), "partitions": tasks, **names},
        "source": {"keyed": keyed},
        "http": {"host": LOOPBACK},
        **sections,
    }


async def start_up_cost(worker: WorkerProcess) -> float:
    """Let a worker that has nothing to count start; return the CPU seconds until it is at rest."""
    await worker.ready()
    return (await settled((worker,))).cpu_seconds


async def catch_up(worker: WorkerProcess, expected: int, start_up: float) -> CatchUp:
    """Watch a worker, just started, until it has counted everything; leave it running.

    The time runs from the worker's being ready. The CPU time is all that the process has used,
    less `start_up` (s): what is read before the first commit does not show in its metrics.

    Raises:
        SystemExit: if it counts more.
    """
    await worker.ready()
    began = time.perf_counter()
    moments = [Moment(began, 0, start_up)]
    while moments[-1].counted < expected:
        await asyncio.sleep(WATCHED_S)
        moments.append(await look((worker,)))
    if moments[-1].counted > expected:
        raise SystemExit(f"counted {moments[-1].counted} of {expected} events")
    last = await settled((worker,))
    half = max((m for m in moments if m.counted <= expected // 2), key=lambda m: m.counted)
    return CatchUp(
        events=expected,
        seconds=last.at - began,
        cpu_seconds=last.cpu_seconds - start_up,
        second_half_us=(last.cpu_seconds - half.cpu_seconds) / (expected - half.counted) * 1e6,
        peak_bytes=usage(worker.process.pid).peak_bytes,
    )


async def look(workers: Sequence[WorkerProcess]) -> Moment:
    """Ask workers what they have counted, and the system what they have used, in sum."""
    counted = sum([(await worker.metrics()).get(COUNTED, 0.0) for worker in workers])
    return Moment(time.perf_counter(), int(counted), _cpu(workers))


async def reach(workers: Sequence[WorkerProcess], counted: int, every: float = POLL_S) -> Moment:
    """Wait until workers have counted so many, looking `every` so many seconds."""
    while True:
        moment = await look(workers)
        if moment.counted >= counted:
            return moment
        await asyncio.sleep(every)


async def settled(workers: Sequence[WorkerProcess], within: float = 30.0) -> Moment:
    """Wait until workers have nothing more to do; return the moment when that began.

    What they do is asked of the system, not of them: questions would keep them busy.
    """
    deadline = time.perf_counter() + within
    moments: deque[Moment] = deque(maxlen=round(QUIET_S / POLL_S) + 1)
    while True:
        moments.append(Moment(time.perf_counter(), 0, _cpu(workers)))
        first, last = moments[0], moments[-1]
        used = last.cpu_seconds - first.cpu_seconds
        quiet = len(moments) == moments.maxlen and used < QUIET_SHARE * QUIET_S * len(workers)
        if quiet or last.at > deadline:
            return first
        await asyncio.sleep(POLL_S)


def _cpu(workers: Sequence[WorkerProcess]) -> float:
    return sum(usage(worker.process.pid).cpu_seconds for worker in workers)


async def differing(worker: WorkerProcess, truth: Truth) -> int:
    """Ask a worker for all windows of all campaigns; return how many cells are not as they must."""
    waiting = iter({campaign for campaign, _, _ in truth})
    found = Truth()
    timeout = aiohttp.ClientTimeout(total=60)
    base = f"http://{LOOPBACK}:{worker.port}"
    async with aiohttp.ClientSession(base, timeout=timeout) as session:

        async def ask() -> None:
            for campaign in waiting:
                found.update(_cells(campaign, await _whole(session, campaign)))

        await asyncio.gather(*(ask() for _ in range(QUESTIONS)))
    return sum(truth[cell] != found[cell] for cell in truth | found)


async def _whole(session: aiohttp.ClientSession, campaign: str) -> Mapping[str, Any]:
    """Ask for a campaign's windows until nothing is missing in the answer."""
    async with asyncio.timeout(WHOLE_WITHIN_S):
        while True:
            async with session.get(f"/v1/campaigns/{campaign}/windows") as response:
                answer: Mapping[str, Any] = await response.json()
            if not answer.get("partial"):
                return answer
            await asyncio.sleep(POLL_S)


def _cells(campaign: str, answer: Mapping[str, Any]) -> Truth:
    counts = Truth()
    for window in answer.get("windows", ()):
        start = _seconds(window["start"])
        counts.update({(campaign, start, status): n for status, n in window["counts"].items()})
    return counts


def _seconds(written: str) -> int:
    return int(datetime.fromisoformat(written).timestamp())
