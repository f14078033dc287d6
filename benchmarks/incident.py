"""What receivers are told when one channel fails for many campaigns, on a real Kafka.

    python -m benchmarks.incident --campaigns 500

Three workers share 12 lanes. All campaigns are of one app and send by two channels, GCM and EMAIL;
an hour of usual traffic is in the topic first, with its own times. Then, live, nearly all sends by
GCM fail from one moment on, for some minutes, and recover. Two receivers, otherwise with default
settings: `each` is told of every alert (`group_by: none`), `cause` of groups (`group_by: cause`).
The rules and their detector, `spike`, are the default ones.

Rows, by receiver: notifications from the break to the recovery, and from there on until all is
told; when the first one came, after the first send that failed; what it names; and how many
campaigns are found by its link, `/v1/alerts?group_id=…`, as the recovery begins.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from benchmarks import table
from benchmarks.ending import end_on_sigterm
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.mixture import SourceRecord, endpoint, send_event
from tests.support.receiver import SECRET, Arrival, Collector
from tests.support.topics import Sender, create_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

LANES, WORKERS = 12, 3
CHANNELS = {"GCM": 0.7, "EMAIL": 0.3}
BROKEN = "GCM"
USUAL, FAILING = 0.02, 0.97
"""Shares of sends that fail."""
HISTORY_S = 3_600
HISTORY_RATE = 0.2
"""Sends of a campaign in a second, in the history."""
PIECE_S = 0.1
AT_ONCE = 5_000
CALM_S = 75.0
"""Seconds before the break."""
ENDS_WITHIN_S = 1_800.0
QUIET_S = 90.0
"""All is told when nothing fires, and for so many seconds nothing came: more than a
`group_interval`."""
COUNTED_WITHIN_S = 600.0
GROUP = "campaign.group."


class Fleet:
    """Campaigns of one app that send by two channels.

    Args:
        campaigns: how many.

    Attributes:
        is_broken: whether nearly all sends by one channel fail.
        broken_at: when (s, monotonic) the first send failed for that.
    """

    def __init__(self, campaigns: int) -> None:
        self.campaigns = [f"campaign-{number}" for number in range(campaigns)]
        self.is_broken = False
        self.broken_at = 0.0
        self._chance = random.Random(1)  # noqa: S311 - repeatable
        self._contexts = {channel: endpoint(channel) for channel in CHANNELS}

    def record(self, at: int) -> SourceRecord:
        """Return a send of any campaign at a time (ms)."""
        draw = self._chance.random
        campaign = self._chance.choice(self.campaigns)
        channel = "GCM" if draw() < CHANNELS["GCM"] else "EMAIL"
        fails = self.is_broken and channel == BROKEN
        status = "FAILURE" if draw() < (FAILING if fails else USUAL) else "SUCCESS"
        event = send_event(campaign, at, status, context=self._contexts[channel])
        return SourceRecord(int(draw() * LANES), None, orjson.dumps(event))

    def history(self, until_ms: int) -> Iterator[SourceRecord]:
        """Yield the sends of the hour before a time, in the order of their times."""
        count = int(HISTORY_S * HISTORY_RATE * len(self.campaigns))
        for number in range(count):
            yield self.record(until_ms - HISTORY_S * 1000 * (count - number) // count)

    async def go_on(self, sender: Sender, rate: float) -> None:
        """Send as many a second, of now, until cancelled."""
        sent, began = 0, time.monotonic()
        while True:
            due = int((time.monotonic() - began) * rate) - sent
            now = int(time.time() * 1000)
            if self.is_broken and not self.broken_at:
                self.broken_at = time.monotonic()
            await sender.send([self.record(now) for _ in range(min(due, AT_ONCE))])
            sent += due
            await asyncio.sleep(PIECE_S)


class Counted(NamedTuple):
    """Notifications so far, by receiver."""

    each: int
    cause: int


@dataclass(frozen=True)
class Told:
    """What a receiver was told."""

    name: str
    at_break: int
    at_end: int
    found: int = 0
    first_after_s: float = 0.0
    first: str = "nothing"

    def with_first(self, arrivals: list[Arrival], broken_at: float) -> "Told":
        """Add what came first after the break (s, monotonic)."""
        for each in arrivals:
            if each.at >= broken_at:
                after = each.at - broken_at
                return replace(self, first_after_s=after, first=_named(each.value))
        return self

    def row(self) -> list[str]:
        """As a row of the table."""
        counts = [f"{self.at_break:,}", f"{self.at_end:,}"]
        return [self.name, *counts, f"{self.first_after_s:.1f}", self.first, f"{self.found:,}"]


def settings_of(broker: RunningBroker, each: Collector, cause: Collector) -> Settings:
    """Default settings, but for the number of lanes and what a test on one machine needs."""
    settings = settings_for(
        broker,
        "incident",
        topics={"partitions": LANES},
        receivers=[
            {"name": "each", "url": each.url, "secrets": [SECRET], "group_by": "none"},
            {"name": "cause", "url": cause.url, "secrets": [SECRET], "group_by": "cause"},
        ],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
    )
    del settings["rules"]  # the default ones
    del settings["kafka"]["session_timeout"]
    return settings


async def measure(campaigns: int, rate: float, lasts: float, directory: Path) -> list[Told]:
    """Let one channel fail for so many seconds; return what the receivers were told."""
    fleet = Fleet(campaigns)
    async with AsyncExitStack() as stack:
        each = await stack.enter_async_context(Collector())
        cause = await stack.enter_async_context(Collector())
        running = stack.enter_context(ExitStack())
        kafka = running.enter_context(KafkaBroker())
        settings = settings_of(RunningBroker("kafka", kafka.address), each, cause)
        topic = settings["topics"]["source"]
        await create_topic(kafka.address, topic, LANES)
        sender = await stack.enter_async_context(Sender(kafka.address, topic))
        workers = [WorkerProcess(settings, directory, f"w{n}") for n in range(WORKERS)]
        for worker in workers:
            running.enter_context(worker)
            await worker.ready(within=120)
        _say("sending an hour of usual traffic")
        history = fleet.history(int(time.time() * 1000))
        while part := list(itertools.islice(history, AT_ONCE)):
            await sender.send(part)
        sending = asyncio.create_task(fleet.go_on(sender, rate))
        stack.callback(sending.cancel)
        await until(lambda: _is_level(workers), COUNTED_WITHIN_S)
        await asyncio.sleep(CALM_S)
        before = Counted(len(each.arrivals), len(cause.arrivals))
        _say(f"{BROKEN} fails; {before} notifications before that")
        fleet.is_broken = True
        await asyncio.sleep(lasts)
        found = await _found(workers[0], cause)
        fleet.is_broken = False
        broken = Counted(len(each.arrivals), len(cause.arrivals))
        _say(f"{BROKEN} works again; {broken} notifications so far, {found} campaigns found")
        await _all_told(workers[0], cause)
        for told in cause.arrivals[before.cause :]:
            _say(f"{told.at - fleet.broken_at:6.1f} s after it: {told.value['data']['summary']}")
        return [
            Told("each", broken.each - before.each, len(each.arrivals) - broken.each).with_first(
                each.arrivals[before.each :], fleet.broken_at
            ),
            Told(
                "cause", broken.cause - before.cause, len(cause.arrivals) - broken.cause, found
            ).with_first(cause.arrivals[before.cause :], fleet.broken_at),
        ]


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


async def _is_level(workers: list[WorkerProcess]) -> bool:
    """Tell whether the workers are close behind what is sent."""
    lags = [
        value
        for worker in workers
        for name, value in (await worker.metrics()).items()
        if name.startswith("campaign_streams_consumer_lag")
    ]
    return bool(lags) and sum(lags) < AT_ONCE


async def _found(worker: WorkerProcess, cause: Collector) -> int:
    """Return how many campaigns are found by the ids of the groups that a receiver was told of."""
    told = {each.value["data"]["group_id"] for each in cause.arrivals if _is_group(each.value)}
    campaigns: set[str] = set()
    for group_id in told:
        cursor: str | None = ""
        while cursor is not None:
            target = f"/v1/alerts?group_id={group_id}&limit=100"
            answer = await worker.json(target + (f"&cursor={cursor}" if cursor else ""))
            campaigns.update(alert["campaign_id"] for alert in answer["alerts"])
            cursor = answer["next_cursor"]
    return len(campaigns)


async def _all_told(worker: WorkerProcess, cause: Collector) -> None:
    deadline = time.monotonic() + ENDS_WITHIN_S
    while time.monotonic() < deadline:
        await asyncio.sleep(5)
        firing = (await worker.json("/v1/alerts?state=firing&limit=1"))["alerts"]
        newest = cause.arrivals[-1].at if cause.arrivals else 0.0
        if not firing and time.monotonic() - newest > QUIET_S:
            return
    _say("something still fires")


def _is_group(value: Any) -> bool:
    return bool(value["type"].startswith(GROUP))


def _named(value: Any) -> str:
    if not _is_group(value):
        return "one campaign"
    dimensions = value["data"]["cause"]["dimensions"]
    return ", ".join(f"{name} {each}" for name, each in dimensions.items()) or "everything"


def main() -> None:
    """Print the table."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--campaigns", type=int, default=500)
    parser.add_argument("--rate", type=float, default=1_000, help="sends of all, a second")
    parser.add_argument("--lasts", type=float, default=240, help="seconds of the incident")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-streams-incident-") as directory:
        measuring = measure(options.campaigns, options.rate, options.lasts, Path(directory))
        told = asyncio.run(measuring)
    head = ("receiver", "at the break", "at the end", "first after, s", "names", "campaigns found")
    title = "Notifications about one channel that fails and recovers"
    results = table.Results(title, head, [each.row() for each in told])
    table.publish("incident", results, **vars(options))


if __name__ == "__main__":
    main()
